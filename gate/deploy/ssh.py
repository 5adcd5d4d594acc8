"""Programs on a host that the system's own ``ssh`` reaches. Keys are files only while it runs; values arrive quoted.

What runs there is ended when the connection goes: when the gate stops it, when it is late, when the gate is killed.
"""

import base64
import os
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import ceil
from pathlib import Path

LOST = 255
"""The exit code of ssh itself: it could not reach the host, or lost it."""

_SCRIPT = r"""
set -eu
limit=$1 folder=$2 files=$3 usual=$(umask); shift 3
umask 077
mkdir -p -- "$folder"; cd -- "$folder"
while [ "$files" -gt 0 ]; do
  IFS= read -r line
  printf %s "$line" | base64 -d >"$1.new"
  mv -f -- "$1.new" "$1"
  shift; files=$((files - 1))
done
umask "$usual"
exec 3<&0
setsid timeout -k 10 "$limit" "$@" </dev/null 3<&- &
work=$!
setsid sh -c 'cat; kill -s TERM -- "-$1"; sleep 10; kill -s KILL -- "-$1"' sh "$work" <&3 >/dev/null 2>&1 &
watch=$!
exec 3<&-
code=0
wait "$work" || code=$?
kill -s TERM -- "$watch" "-$watch" 2>/dev/null || true
exit "$code"
"""
"""For a POSIX shell: takes the files from its standard input, runs a program, and ends it when that input ends."""


class KeyMissingError(Exception):
    """A variable that should hold a key is empty; its text says which. Never leaves a deployer."""


@contextmanager
def program(environ: Mapping[str, str], *, key: str | None, known_hosts: str | None) -> Iterator[tuple[str, ...]]:
    """``ssh`` and its options. ``key`` and ``known_hosts`` name variables of ``environ``: their values are files until
    the block ends. Raises ``KeyMissingError``.
    """
    options = ["BatchMode=yes", "ConnectTimeout=10", "StrictHostKeyChecking=yes", "ServerAliveInterval=15"]
    with tempfile.TemporaryDirectory(prefix="rampgate-") as folder:
        identity: tuple[str, ...] = ()
        if known_hosts is not None:
            options.append(f"UserKnownHostsFile={_file(folder, 'hosts', known_hosts, environ)}")
        if key is not None:
            options.append("IdentitiesOnly=yes")
            identity = ("-i", _file(folder, "key", key, environ))
        yield ("ssh", "-T", *(part for one in options for part in ("-o", one)), *identity)


def remote(
    argv: tuple[str, ...],
    values: Mapping[str, str],
    *,
    seconds: float,
    folder: str = ".",
    names: tuple[str, ...] = (),
    sudo: bool = False,
) -> str:
    """What the host's shell is told, to run a program there for at most ``seconds``, in ``folder`` of the login's home.

    ``values`` are its environment. The files of these names are put into the folder first: ``carried`` makes what ssh
    reads on its standard input, which must stay open as long as the program may run.
    """
    told = (f"{name}={value}" for name, value in values.items())
    first = ("sudo", "-n", "/bin/sh") if sudo else ("/bin/sh",)
    limit = str(max(1, ceil(seconds)))
    return shlex.join((*first, "-c", _SCRIPT, "rampgate", limit, folder, str(len(names)), *names, "env", *told, *argv))


def carried(contents: tuple[bytes, ...]) -> bytes:
    """Files as the host reads them, a line each: nobody sees them there in a list of processes."""
    return b"".join(base64.b64encode(one) + b"\n" for one in contents)


def _file(folder: str, name: str, variable: str, environ: Mapping[str, str]) -> str:
    value = environ.get(variable, "").strip().replace("\r\n", "\n")
    if not value:
        raise KeyMissingError(f"the environment variable {variable} is not set: the hosts cannot be reached")
    path = Path(folder, name)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(value + "\n")
    return str(path)
