"""What the server answers: one table of routes, each a plain function from a call to a reply."""

from flagserver.views import (
    audit,
    cohorts,
    cors,
    edge,
    flagd,
    flags,
    followers,
    health,
    keys,
    locks,
    looks,
    ofrep,
    openapi,
    queue,
    refusals,
    rollouts,
    session,
    snapshot,
    telemetry,
    trust,
    watching,
)
from flagserver.views.route import Route

_OTHERS: tuple[Route, ...] = (
    # First: its `/v1/rollouts/stream` would also be the stream of an environment called rollouts.
    *watching.ROUTES,
    *health.ROUTES,
    *snapshot.ROUTES,
    *ofrep.ROUTES,
    *edge.ROUTES,
    *flagd.ROUTES,
    *telemetry.ROUTES,
    *rollouts.ROUTES,
    *flags.ROUTES,
    *cohorts.ROUTES,
    *keys.ROUTES,
    *session.ROUTES,
    *trust.ROUTES,
    *audit.ROUTES,
    *locks.ROUTES,
    *queue.ROUTES,
    *followers.ROUTES,
    *looks.ROUTES,
    *refusals.ROUTES,
)

_ASKED: tuple[Route, ...] = (*_OTHERS, *cors.preflights(_OTHERS))

ROUTES: tuple[Route, ...] = (*_ASKED, openapi.route(_ASKED))
"""Every route. Flask, the loop in front of it, the guard and the OpenAPI description all read this table."""
