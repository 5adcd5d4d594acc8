"""The one client of this process."""

from rampgate import FlagClient

client = FlagClient.from_env()
