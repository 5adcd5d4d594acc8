"""Is it alive, may it serve, what does it count, what does it offer."""

from flagserver.services import Services
from flagserver.views.route import Call, Reply, Route, Served, json_reply
from rampgate.machine.state import Deadline

READY_WITHIN = 10.0
"""Seconds without a word from the store, or without a look at the deadlines, after which it says that it is not."""


def _healthz(_services: Services, _call: Call) -> Reply:
    return json_reply({"status": "alive"})


def _readyz(services: Services, _call: Call) -> Reply:
    live, age, silence = services.live, services.live.age(), services.steward.silence
    unwritten = services.store.unwritten_for()
    status = "ready"
    if age > READY_WITHIN:
        status = "the database has not answered for too long"
    elif silence > READY_WITHIN:
        status = "deadlines are not looked after"
    elif unwritten > READY_WITHIN:
        status = "the database takes no change"
    document = {
        "status": status,
        "store_age": round(min(age, 1e9), 3),
        "deadlines_age": round(silence, 3),
        "cut_off": live.cut_off,
        "trouble": services.store.unwritten,
        "aborts_not_recorded": services.aborts.waiting,
        "environments": {name: one.version for name, one in live.environments.items()},
    }
    return json_reply(document, 200 if status == "ready" else 503)


def _metrics(services: Services, _call: Call) -> Reply:
    meters, now = services.meters, services.store.now()
    meters.store_age.set(min(services.live.age(), 1e9))
    meters.aborts.set(services.aborts.waiting)
    meters.leads.set(services.watch.leads)
    meters.share.clear()
    meters.lease.clear()
    for record, served in services.live.ramping():
        labels = (record.plan.environment, record.plan.flag, record.id)
        meters.share.labels(*labels).set(served / 100_000)
        lease = record.state.deadlines.get(Deadline.LEASE)
        if lease is not None:
            meters.lease.labels(*labels).set(lease.at - now)
    return Reply(200, meters.text(), type="text/plain; version=0.0.4; charset=utf-8")


ROUTES = (
    Route(
        method="GET",
        path="/healthz",
        role=None,
        answer=_healthz,
        served=Served.LOOP,
        summary="The loop runs",
        gives={"type": "object"},
    ),
    Route(
        method="GET",
        path="/readyz",
        role=None,
        answer=_readyz,
        served=Served.LOOP,
        made={503: "Not ready"},
        gives={"type": "object", "required": ["status", "store_age", "deadlines_age", "cut_off", "trouble"]},
        summary="The store was read lately, and what is served",
    ),
    Route(
        method="GET", path="/metrics", role=None, answer=_metrics, served=Served.LOOP, summary="Prometheus' metrics",
        gives={"type": "string"}, media="text/plain",
    ),
)  # fmt: skip
