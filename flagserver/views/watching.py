"""Streams of rollouts: one, or an environment's."""

from flagserver.auth import Role
from flagserver.services import Services
from flagserver.views.route import Call, Reply, Route, Served
from flagserver.views.snapshot import NoStreamsError


def _stream(_services: Services, _call: Call) -> Reply:
    raise NoStreamsError("This server runs without its event loop and has no streams: ask for the rollout instead.")


ROUTES = (
    Route(
        method="GET", path="/v1/rollouts/stream", role=Role.OPERATOR, answer=_stream, served=Served.STREAM,
        query=("environment",), refuses=(501,), sessions=True,
        summary="An environment's unfinished rollouts as server-sent events, each as it now stands",
    ),
    Route(
        method="GET", path="/v1/rollouts/{id}/stream", role=Role.OPERATOR, answer=_stream, served=Served.STREAM,
        refuses=(404, 501), sessions=True, summary="One rollout as server-sent events, as it now stands",
    ),
)  # fmt: skip
