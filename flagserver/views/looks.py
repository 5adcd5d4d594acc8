"""A rollout's looks: paged for people and programs, and as the record that `rampgate replay` reads."""

from flagserver import wire
from flagserver.auth import Role
from flagserver.services import Services
from flagserver.store import looks
from flagserver.views.rollouts import read_one
from flagserver.views.route import LINES, Call, Reply, Route, reply_with, up_to
from flagserver.wire import encode


def _looks(services: Services, call: Call) -> Reply:
    rollout = read_one(services.rollouts, call)
    after, limit = call.number("after", 0, 0, 2**31), call.number("limit", 500, 1, 10_000)
    with services.store.read() as tx:
        found = looks.of_rollout(tx, rollout.id, after, limit)
        attempts = looks.attempts(tx, rollout)
    following = found[-1].number if len(found) == limit else None
    whole = wire.Looks(
        rollout=rollout.id, plan=rollout.plan, plan_hash=rollout.plan_hash, attempts=attempts, looks=found,
        next=following,
    )  # fmt: skip
    if not call.wants_lines:
        return reply_with(wire.LOOKS, whole)
    head = {
        "rollout": rollout.id, "plan_hash": rollout.plan_hash, "plan": rollout.plan, "attempts": attempts,
    }  # fmt: skip
    lines = [encode(one) for one in (*([head] if after == 0 else []), *found)]
    headers = () if following is None else (("Rampgate-Next", str(following)),)
    return Reply(200, b"".join(line + b"\n" for line in lines), headers, LINES)


ROUTES = (
    Route(
        method="GET", path="/v1/rollouts/{id}/looks", role=Role.OPERATOR, answer=_looks, gives=wire.LOOKS, lines=True,
        query=("after", "limit"), asks=up_to(10_000), refuses=(404,), sessions=True,
        summary="Every look that was accepted: counts, evidence and verdict, oldest first",
    ),
)  # fmt: skip
