"""Where apps send what they counted."""

from flagserver import wire
from flagserver.auth import Role
from flagserver.services import Services
from flagserver.store.minutes import Span
from flagserver.telemetry import BATCH
from flagserver.views.rollouts import read_one
from flagserver.views.route import LAST_MOMENT, Call, Reply, Route, json_reply, page, up_to


def _post(services: Services, call: Call) -> Reply:
    applied = services.counting.apply(call.environment(), wire.parse(BATCH, call.body))
    services.meters.batches.labels(str(applied).lower()).inc()
    return json_reply({"applied": applied})


def _of_flag(services: Services, call: Call) -> Reply:
    if call.caller.grant is not None:
        call.caller.grant.check_flag(call.params["key"])
    return _minutes(services, call, call.params["environment"], call.params["key"], call.query.get("rollout"))


def _of_rollout(services: Services, call: Call) -> Reply:
    rollout = read_one(services.rollouts, call)
    return _minutes(services, call, rollout.plan.environment, rollout.plan.flag, rollout.id)


def _minutes(services: Services, call: Call, environment: str, flag: str, rollout: str | None) -> Reply:
    since, until = call.moment("since"), call.moment("until")
    span = Span(
        environment=environment, flag=flag, rollout=rollout, since=since or 0.0,
        until=LAST_MOMENT if until is None else until,
    )  # fmt: skip
    found, following = services.counting.minutes(span, call.number("limit", 1440, 1, 10_080))
    return page(call, "minutes", found, following)


ROUTES = (
    Route(
        method="POST", path="/v1/telemetry", role=Role.SDK, answer=_post, takes=BATCH, query=("environment",),
        gives={"type": "object", "required": ["applied"], "properties": {"applied": {"type": "boolean"}}},
        summary="Add a batch of counts, once",
    ),
    Route(
        method="GET", path="/v1/{environment}/flags/{key}/telemetry", role=Role.OPERATOR, answer=_of_flag,
        query=("since", "until", "rollout", "limit"), asks=up_to(10_080), gives=wire.MINUTES, lines=True,
        refuses=(404,), sessions=True, forecast=True,
        summary="What apps counted of a flag, by whole minute and variant, oldest first",
    ),
    Route(
        method="GET", path="/v1/rollouts/{id}/telemetry/minutes", role=Role.OPERATOR, answer=_of_rollout,
        query=("since", "until", "limit"), asks=up_to(10_080), gives=wire.MINUTES, lines=True,
        refuses=(404,), sessions=True,
        summary="What apps counted of a rollout, by whole minute and arm, oldest first",
    ),
)  # fmt: skip
