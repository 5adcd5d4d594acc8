"""Where apps send what they counted."""

from flagserver import wire
from flagserver.auth import Role
from flagserver.services import Services
from flagserver.telemetry import BATCH
from flagserver.views.route import Call, Reply, Route, json_reply


def _post(services: Services, call: Call) -> Reply:
    applied = services.counting.apply(call.environment(), wire.parse(BATCH, call.body))
    services.meters.batches.labels(str(applied).lower()).inc()
    return json_reply({"applied": applied})


ROUTES = (
    Route(
        method="POST", path="/v1/telemetry", role=Role.SDK, answer=_post, takes=BATCH, query=("environment",),
        gives={"type": "object", "required": ["applied"], "properties": {"applied": {"type": "boolean"}}},
        summary="Add a batch of counts, once",
    ),
)  # fmt: skip
