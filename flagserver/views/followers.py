"""Followers: registered, kept by saying so again, listed, gone."""

from flagserver import wire
from flagserver.auth import Role
from flagserver.errors import ConflictError, InvalidError
from flagserver.services import Services
from flagserver.store import audit, followers
from flagserver.store.followers import FollowerRecord
from flagserver.views.route import Call, Reply, Route, reply_with
from rampgate.problem import Problem

MOST_FLAGS = 500
LONGEST = {"name": 100, "instance": 100, "flag": 200}
"""Characters."""


def _keep(services: Services, call: Call) -> Reply:
    said, name = wire.parse(wire.FOLLOWING, call.body), call.params["name"]
    environment = _environment(call)
    texts = [("name", "name", name), ("instance", "instance", said.instance)]
    texts += [(f"flags[{number}]", "flag", flag) for number, flag in enumerate(said.flags)]
    problems = [
        Problem(path, repr(text[:80]), f"1 to {LONGEST[kind]} printable characters")
        for path, kind, text in texts
        if not (0 < len(text) <= LONGEST[kind] and text.isprintable())
    ]
    if len(said.flags) > MOST_FLAGS:
        problems.append(Problem("flags", f"{len(said.flags)} flags", f"at most {MOST_FLAGS}"))
    if problems:
        raise InvalidError(problems=tuple(problems))
    with services.store.write() as tx:
        before = followers.load(tx, environment, name)
        if before is not None and before.instance != said.instance:
            text = f"Another follower runs as {name} in {environment}: give this one another --name."
            raise ConflictError(text, code="follower_exists")
        record = FollowerRecord(
            environment=environment, name=name, instance=said.instance, flags=said.flags,
            since=before.since if before else tx.now, seen_at=tx.now,
        )  # fmt: skip
        followers.save(tx, record)
        if before is None or before.flags != said.flags:
            audit.record(
                tx, actor=call.caller.name, action="follower.came", subject=name, environment=environment,
                after={"flags": list(said.flags)},
            )  # fmt: skip
    return reply_with(wire.FOLLOWER, record.shown())


def _list(services: Services, call: Call) -> Reply:
    environment = call.query.get("environment")
    call.own(environment)
    with services.store.read() as tx:
        found = followers.there(tx, environment or call.caller.environment, call.query.get("flag"))
    return reply_with(wire.FOLLOWERS, wire.Followers(followers=tuple(one.shown() for one in found)))


def _leave(services: Services, call: Call) -> Reply:
    environment, name = _environment(call), call.params["name"]
    with services.store.write() as tx:
        before = followers.load(tx, environment, name)
        followers.leave(tx, environment, name)
        if before is not None:
            audit.record(
                tx, actor=call.caller.name, action="follower.left", subject=name, environment=environment,
                before={"flags": list(before.flags)},
            )  # fmt: skip
    return Reply(204)


def _environment(call: Call) -> str:
    call.own(call.query.get("environment"))
    return call.environment()


_ONE = "/v1/followers/{name}"

ROUTES = (
    Route(
        method="PUT", path=_ONE, role=Role.OPERATOR, answer=_keep, takes=wire.FOLLOWING, gives=wire.FOLLOWER,
        query=("environment",), refuses=(409,), summary="Say that a follower is there; it lapses after 10 s",
    ),
    Route(
        method="GET", path="/v1/followers", role=Role.OPERATOR, answer=_list, gives=wire.FOLLOWERS, sessions=True,
        query=("environment", "flag"), summary="The followers that are there",
    ),
    Route(
        method="DELETE", path=_ONE, role=Role.OPERATOR, answer=_leave, status=204, query=("environment",),
        summary="Say that a follower is gone",
    ),
)  # fmt: skip
