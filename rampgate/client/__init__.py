"""The client that an app imports to ask Rampgate's flag server."""

from rampgate.client.answers import Details, User
from rampgate.client.assignment import Assignment
from rampgate.client.flag_client import FlagClient
from rampgate.evaluation import ErrorCode, Reason

__all__ = ["Assignment", "Details", "ErrorCode", "FlagClient", "Reason", "User"]
