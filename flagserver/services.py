"""Everything that runs inside one server, put together once. Routes get it as a value; nothing is global."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flagserver.aborts import Aborts
from flagserver.auth import Issuer, Keyring, Logins, Sessions, SlowDown, Trust
from flagserver.cohorts import Cohorts
from flagserver.deadlines import Steward
from flagserver.documents import Documents
from flagserver.flags import Flags
from flagserver.hub import Hub
from flagserver.journal import Journal
from flagserver.live import Live
from flagserver.locks import Locks
from flagserver.meters import Meters
from flagserver.notices import Notices
from flagserver.refusals import Refusals
from flagserver.retention import Retention
from flagserver.rollouts import Rollouts
from flagserver.settings import Settings, origin_of
from flagserver.store import Store
from flagserver.store.watch import Watch
from flagserver.telemetry import Counting

ENDING = 3.0
"""Seconds that an ending process goes on trying to record aborts that only it knows of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The parts of a running server."""

    settings: Settings
    store: Store
    hub: Hub
    live: Live
    keyring: Keyring
    logins: Logins
    slow_down: SlowDown
    trust: Trust
    sessions: Sessions
    flags: Flags
    cohorts: Cohorts
    documents: Documents
    rollouts: Rollouts
    aborts: Aborts
    locks: Locks
    refusals: Refusals
    counting: Counting
    steward: Steward
    watch: Watch
    notices: Notices
    meters: Meters

    def start(self) -> None:
        """Act on what lapsed while no server ran, then keep the clock."""
        self.keyring.refresh()
        self.steward.turn()
        self.steward.start()
        self.watch.start()

    def stop(self) -> None:
        self.watch.stop()
        self.steward.stop()
        self.aborts.end(ENDING)
        self.store.close()


def assemble(settings: Settings, *, clock: Callable[[], float] | None = None) -> Services:
    """Put a server together: the database is migrated and read, nothing runs yet.

    Args:
        settings: how it runs.
        clock: seconds since the epoch, for tests.

    Raises:
        SettingsError: the settings name no usable database or admin key.
        StoreGoneError: the database cannot be reached.
    """
    # One connection for each thread that answers, and some for the threads that keep memory and clock.
    store = Store(settings.database_url, clock=clock, connections=settings.threads + 8)
    store.migrate()
    store.set_clock()
    listeners = Hub()
    meters = Meters()
    live = Live(store, listeners)
    rollouts = Rollouts(store, live, listeners, meters)
    keyring = Keyring(store, settings.admin_key)
    audience = origin_of(settings.public_url) if settings.public_url else None
    counting = Counting(store)
    aborts = Aborts(store, live, rollouts, Journal(_state_dir(settings, store)))

    flags, cohorts = Flags(store, live), Cohorts(store, live)

    def heard() -> None:
        live.refresh()
        keyring.refresh()

    watch = Watch(store, heard)
    steward = Steward(
        store, live, rollouts, listeners,
        first=(aborts.record, store.probe), also=(keyring.turn,), chores=(Retention(store, settings.keep).sweep,),
        leads=lambda: watch.leads,
    )  # fmt: skip
    return Services(
        settings=settings, store=store, hub=listeners, live=live, keyring=keyring, rollouts=rollouts, aborts=aborts,
        flags=flags, cohorts=cohorts, documents=Documents(store, flags, cohorts), locks=Locks(store, rollouts),
        refusals=Refusals(store),
        slow_down=SlowDown(settings.trusted_proxies), logins=Logins(store, keyring),
        trust=Trust(store, keyring), sessions=Sessions(store, keyring, Issuer(settings.oidc_issuer), audience),
        counting=counting, steward=steward, watch=watch, meters=meters,
        notices=Notices(keyring, now=store.now, most=settings.max_page_streams),
    )  # fmt: skip


def _state_dir(settings: Settings, store: Store) -> Path | None:
    """Where what the database could not take is kept: beside a database file, unless said otherwise."""
    if settings.state_dir is not None:
        return Path(settings.state_dir)
    return None if store.is_postgres else Path(store.url.database or "").absolute().parent
