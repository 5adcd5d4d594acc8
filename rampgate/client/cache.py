"""The last good snapshot on disk, for a start without the flag server, and the bootstrap file that an app ships.

What comes from a file has not been heard from a server: flags in a rollout serve stable until the first contact.
"""

import json
import logging
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

from rampgate.bucketing import BUCKETING
from rampgate.client.snapshot import Clock, Snapshot, UnreadableSnapshotError
from rampgate.client.workshop import Workshop

log = logging.getLogger("rampgate.client")

FORMAT = 1
MAX_FILE = 64 << 20
"""Bytes of a file that is read at all."""

SAVE_EVERY = 1.0
"""Seconds between two writings, however often flags change."""

NEVER = float("-inf")


class Cache:
    """One environment's last good snapshot in a folder. Only one thread writes; any number of processes may.

    Args:
        folder: where; made when needed. The file's name tells server and environment apart.
        url: the flag server.
        environment: the environment.
        clock: the monotonic clock, in seconds.
    """

    def __init__(self, folder: str | os.PathLike[str], url: str, environment: str, clock: Clock) -> None:
        self._of = f"{url.rstrip('/')} {environment}"
        name = blake2b(self._of.encode(), digest_size=8).hexdigest()
        self.path = Path(folder) / f"rampgate-{name}.json"
        self._clock = clock
        self._saved_at = NEVER
        self._saved: Snapshot | None = None
        self._told = False

    def load(self, workshop: Workshop, last: Snapshot) -> Snapshot | None:
        """What was last saved; ``None``, and a line in the log where there is a file, when it cannot be trusted."""
        try:
            if self.path.stat().st_size > MAX_FILE:
                raise UnreadableSnapshotError("it is too large")
            body = json.loads(self.path.read_bytes())
            if not isinstance(body, dict) or body.get("format") != FORMAT or body.get("of") != self._of:
                raise UnreadableSnapshotError("it is of another server, environment or version")
            document = body.get("snapshot")
            if not isinstance(document, str) or body.get("digest") != _digest(document):
                raise UnreadableSnapshotError("it was damaged")
            return workshop.from_document(json.loads(document), NEVER, last)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            log.warning("rampgate: the flags saved in %s are not used: %s", self.path, error)
            return None

    def save(self, snapshot: Snapshot, *, now: bool = False) -> None:
        """Write the snapshot if it is new, whole or not at all; at most once a second unless ``now``."""
        if snapshot is self._saved or snapshot.version is None or not snapshot.contacted:
            return
        if not now and self._clock() - self._saved_at < SAVE_EVERY:
            return
        self._saved, self._saved_at = snapshot, self._clock()
        try:
            self._write(document(snapshot))
        except OSError as error:
            if not self._told:
                log.warning("rampgate: the flags cannot be saved in %s: %s", self.path, error)
            self._told = True

    def _write(self, text: str) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        body = {"format": FORMAT, "of": self._of, "digest": _digest(text), "snapshot": text}
        handle, name = tempfile.mkstemp(prefix=f".{self.path.stem}-", dir=self.path.parent)
        try:
            with os.fdopen(handle, "w") as file:
                json.dump(body, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self.path)
        except BaseException:
            with suppress(OSError):
                os.unlink(name)
            raise


def document(snapshot: Snapshot) -> str:
    """The snapshot as the server would write it, without what was forced here."""
    flags = {key: entry for key, entry in snapshot.entries.items() if not entry.forced}
    head = {
        "version": snapshot.version,
        "bucketing": BUCKETING,
        "rollouts": {key: ramp.written() for key, ramp in snapshot.ramps.items()},
        **snapshot.shared.document({}),
    }
    del head["flags"]
    members = ",".join(f"{json.dumps(key)}:{entry.raw}" for key, entry in flags.items())
    return f'{json.dumps(head)[:-1]},"flags":{{{members}}}}}'


def bootstrap(source: str | os.PathLike[str] | Mapping[str, object], workshop: Workshop, last: Snapshot) -> Snapshot:
    """The flags that an app ships: a flagd document or a server's snapshot, as a mapping or a file of JSON.

    One that cannot be read is told in the log, and changes nothing.
    """
    try:
        body = source if isinstance(source, Mapping) else json.loads(Path(source).read_bytes())
        if not isinstance(body, Mapping):
            raise UnreadableSnapshotError("it is no object")
        return workshop.from_document({"version": "", **body}, NEVER, last)
    except (OSError, ValueError, RecursionError) as error:
        log.error("rampgate: the bootstrap flags are not used: %s", error)
        return last


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()
