"""The environment as a document that flagd syncs from over HTTP. What ramps in it expires by itself.

flagd keeps its last document for as long as it cannot reach us. So the targeting of a flag in a rollout compares
flagd's own clock with a moment that each reading moves on; from there on the flag says stable.
"""

from collections.abc import Mapping
from hashlib import blake2b
from math import ceil, floor
from typing import Any

from flagserver.auth import Role
from flagserver.publish import Published, served_share
from flagserver.services import Services
from flagserver.store.rollouts import RolloutRecord
from flagserver.views.route import Call, Reply, Route, Served
from flagserver.views.snapshot import matches
from flagserver.wire import encode

SCHEMA = "https://flagd.dev/schema/v0/flags.json"

_NOW = {"var": "$flagd.timestamp"}
_MADE = ""
"""Under which the document made last is kept: no flag's key is empty."""


def _sync(services: Services, call: Call) -> Reply:
    published = services.live.current(call.params["environment"])
    ends = _ends(services, published)
    made = published.kept.get(_MADE)
    if not isinstance(made, tuple) or made[0] != ends:
        body = encode(document(published, ends))
        made = published.kept[_MADE] = (ends, body, f'"{blake2b(body, digest_size=12).hexdigest()}"')
    _, body, etag = made
    headers = (
        ("ETag", etag),
        ("Rampgate-Age", f"{min(services.live.age(), 1e9):.3f}"),
        ("Cache-Control", "no-cache"),
    )
    if matches(call.headers.get("if-none-match"), etag):
        return Reply(304, b"", headers)
    return Reply(200, body, headers)


def document(published: Published, ends: Mapping[str, int]) -> Mapping[str, Any]:
    """The environment for flagd.

    Args:
        published: the snapshot.
        ends: by flag in a rollout, until when it may ramp, in seconds since the epoch.
    """
    flags = {
        key: expiring(flag, str(published.rollouts[key]["stable"]), ends[key]) if key in ends else flag
        for key, flag in published.flags.items()
    }
    return {"$schema": SCHEMA, "flags": flags, "metadata": {"flagSetId": published.environment}}


def expiring(flag: Mapping[str, Any], stable: str, end: int) -> Mapping[str, Any]:
    """The flag as it is until ``end``, in seconds since the epoch on the reader's clock; stable from there on, and
    where the reader does not tell the time."""
    targeting = flag.get("targeting")
    if not targeting and flag.get("defaultVariant") == stable:
        return flag
    in_time = {"and": [_NOW, {"<": [_NOW, end]}]}
    until = targeting or flag.get("defaultVariant")
    # A user whom the ramp says nothing about gets the default, which is then what it was before this wrap.
    default = {} if targeting else {"defaultVariant": stable}
    return {**flag, **default, "targeting": {"if": [in_time, until, stable]}}


def end_of(record: RolloutRecord, read_at: float) -> int:
    """Until when a reader that never hears from us again may ramp, in seconds since the epoch.

    That is ``staleAfter`` from when the store was last read, and no later than when a deadline takes users back. Both
    fall on a grid of half of ``staleAfter``, so that the document changes only as often as that: the first is rounded
    down, since reverted slots are kept up for that long, the other up.

    Args:
        record: the rollout.
        read_at: when the store was last read, in seconds since the epoch.
    """
    grid = record.plan.stale_after / 2
    end = floor((read_at + record.plan.stale_after) / grid) * grid
    served = served_share(record, read_at)
    for due in sorted(one.at for one in record.state.deadlines.values() if one.at > read_at):
        if served_share(record, due) < served:
            end = min(end, ceil(due / grid) * grid)
            break
    return floor(end)


def _ends(services: Services, published: Published) -> dict[str, int]:
    read_at = services.store.now() - min(services.live.age(), 1e9)
    return {
        record.plan.flag: end_of(record, read_at)
        for record, _ in services.live.ramping()
        if record.plan.environment == published.environment and record.plan.flag in published.rollouts
    }


ROUTES = (
    Route(
        method="GET", path="/flagd/v1/{environment}.json", role=Role.SDK, answer=_sync, served=Served.LOOP,
        gives={
            "type": "object", "required": ["flags", "metadata"],
            "properties": {"flags": {"type": "object", "additionalProperties": {"type": "object"}}},
        },
        made={304: "Nothing changed"}, summary="The flags of an environment as flagd's HTTP sync reads them",
    ),
)  # fmt: skip
