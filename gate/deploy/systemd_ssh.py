"""The deployer for systemd units on hosts that the system's own ``ssh`` reaches: a template unit for each slot.

What is done on a host is one script, below; each value reaches it as an argument of its own, quoted, never as code.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from gate.deploy import ssh
from gate.deploy.command import ending, values
from gate.deploy.compose import is_plain
from gate.deploy.deployer import DeployAction, Deployer, Deployment, Done, Failed, NotUp, Stopped, Work, Workplace
from gate.deploy.holes import filled, unknown
from gate.deploy.hook import Ending, Ran, run_hook
from gate.deploy.webhook import found
from gate.foreign import cut, harmless
from gate.keys import As, Key
from rampgate.problem import Problem

_HOST = re.compile(r"(?:[\w.-]+@)?[A-Za-z0-9][\w.-]*(?::\d{1,5})?", re.ASCII)
_UNIT = re.compile(r"[\w:.@{} -]+", re.ASCII)
_PATH = re.compile(r"/[\w./{}@ -]*", re.ASCII)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_SIGN = "rampgate:"
_NOT_UP, _OLDER = 3, 75

SCRIPT = r"""
set -eu
action=$1 unit=$2 file=$3 name=$4 version=$5 fence=$6 health=$7 state=$8
mkdir -p "$state"
key=$(printf %s "$unit" | tr -c 'A-Za-z0-9@._-' _)
refuse_older() {
  exec 9>>"$state/$key.lock"
  flock -w 120 9
  seen=$(cat "$state/$key.fence" 2>/dev/null || echo 0)
  if [ "$fence" -lt "$seen" ]; then
    echo "a newer gate (fence $seen) has taken over from fence $fence" >&2
    exit 75
  fi
  put "$state/$key.fence" "$fence"
}
put() { # whole or not at all
  printf '%s\n' "$2" >"$1.new"
  sync "$1.new" 2>/dev/null || true
  mv -f "$1.new" "$1"
}
is_up() {
  systemctl is-active --quiet "$unit" || return 1
  [ -z "$health" ] || curl -fsS --max-time 5 -o /dev/null "$health" 9>&-
}
runs() { cat "$state/$key.runs" 2>/dev/null || true; }
case $action in
  ensure)
    refuse_older
    if [ "$(runs)" = "$version" ] && is_up; then exit 0; fi
    rm -f "$state/$key.runs" # nobody knows what runs, until the unit has been restarted
    mkdir -p "$(dirname "$file")"
    { grep -v "^$name=" "$file" 2>/dev/null || true; } >"$file.new"
    printf '%s=%s\n' "$name" "$version" >>"$file.new"
    mv -f "$file.new" "$file"
    systemctl restart "$unit" 9>&-
    tries=0
    until is_up; do
      tries=$((tries + 1))
      if [ "$tries" -ge 60 ] || ! systemctl is-active --quiet "$unit"; then
        systemctl status --no-pager --lines=20 "$unit" 2>&1 || true
        exit 1
      fi
      sleep 1
    done
    put "$state/$key.runs" "$version"
    ;;
  retire)
    refuse_older
    if systemctl is-active --quiet "$unit"; then systemctl stop "$unit" 9>&-; fi
    rm -f "$state/$key.runs"
    ! systemctl is-active --quiet "$unit"
    ;;
  status)
    is_up || exit 3
    echo "rampgate:$(runs)"
    ;;
esac
"""
"""For a POSIX shell. Needs flock and systemctl, and curl where a health address is set."""


class SystemdSshDeployer:
    """Does the same on each host, one after the other."""

    def __init__(self, options: "SystemdSshOptions", workplace: Workplace) -> None:
        self._options = options
        self._workplace = workplace

    def run(self, work: Work, keep_going: Callable[[], bool]) -> Deployment:
        if not keep_going():
            return Stopped(text=f"{work.action} of slot {work.slot} was stopped before it began")
        if not is_plain(work):
            shown = cut(harmless(work.version), 60)
            return Failed(text=f"the version {shown!r} cannot stand in a file: only letters, digits and ._-:@/+~ can")
        hosts = [host for host in self._options.hosts if work.target in (None, host, _machine(host))]
        if not hosts:
            return Failed(text=f"no host is called {cut(harmless(work.target or ''), 80)}")
        until = time.monotonic() + work.seconds
        said: list[Done] = []
        options, environ = self._options, self._workplace.environ
        try:
            with ssh.program(environ, key=options.key, known_hosts=options.known_hosts) as program:
                for host in hosts:
                    answer = self._on(host, program, work, until, keep_going)
                    if not isinstance(answer, Done):
                        return answer
                    said.append(answer)
        except ssh.KeyMissingError as error:
            return Failed(text=str(error))
        return Done(text="; ".join(one.text for one in said), version=said[-1].version)

    def _on(
        self, host: str, program: tuple[str, ...], work: Work, until: float, keep_going: Callable[[], bool]
    ) -> Deployment:
        lines: list[str] = []

        def say(line: str) -> None:
            lines.append(line)
            if not line.startswith(_SIGN):
                self._workplace.say(line)

        name, _, port = host.partition(":")
        left = max(0.0, until - time.monotonic())
        script = ("/bin/sh", "-c", SCRIPT, "rampgate", *self._arguments(work))
        argv = (*program, *(("-p", port) if port else ()), "--", name)
        argv += (ssh.remote(script, {}, seconds=left, sudo=self._options.sudo),)
        workplace = replace(self._workplace, say=say)
        ran = run_hook(argv, values(work), workplace, seconds=left, keep_going=keep_going, given=b"")
        what = f"{work.action} of slot {work.slot} on {_machine(host)}"
        if ran.ending is Ending.STOPPED:
            return Stopped(text=f"{what} was stopped", tail=ran.tail)
        if ran.ending is Ending.EXITED and ran.code == 0:
            if work.action is not DeployAction.STATUS:
                return Done(text=f"{what} took {ran.seconds:.1f} s")
            runs = [line.removeprefix(_SIGN).strip() for line in lines if line.startswith(_SIGN)]
            return found(work, runs[-1] if runs else "", f"says {_machine(host)}")
        if ran.ending is Ending.EXITED and ran.code == _NOT_UP and work.action is DeployAction.STATUS:
            return NotUp(text=f"slot {work.slot} is not up, says {_machine(host)}")
        return Failed(text=f"{what} failed: {_why(ran, work.seconds)}", tail=ran.tail)

    def _arguments(self, work: Work) -> tuple[str, ...]:
        options, known = self._options, {"slot": work.slot}
        health = options.health if isinstance(options.health, str | None) else options.health.get(work.slot)
        return (
            str(work.action),
            filled(options.unit, known),
            filled(options.file, known),
            options.variable,
            "" if work.action is DeployAction.RETIRE else work.version,
            str(work.fence),
            filled(health or "", known),
            options.state,
        )


def _machine(host: str) -> str:
    return host.rpartition("@")[2].partition(":")[0]


def _why(ran: Ran, limit: float) -> str:
    if ran.ending is Ending.EXITED and ran.code == _OLDER:
        return "a newer gate has taken over"
    if ran.ending is Ending.EXITED and ran.code == ssh.LOST:
        return "ssh could not reach it, or lost it"
    return ending(ran, limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemdSshOptions:
    """Systemd units on hosts that are reached by SSH."""

    hosts: Annotated[tuple[str, ...], Key(As.TEXTS, "The hosts, such as [deploy@web-1, deploy@web-2:2222].")]
    unit: Annotated[str, Key(As.TEXT, "The unit of a slot, such as shop@{{slot}}.")]
    file: Annotated[str, Key(As.TEXT, "The unit's EnvironmentFile, such as /etc/shop/{{slot}}.env.")]
    variable: Annotated[str, Key(As.TEXT, "The name in that file that gets the version.")] = "VERSION"
    health: Annotated[
        str | Mapping[str, str] | None,
        Key(As.SLOT_ADDRESS, "An address that curl must reach on the host, with {{slot}}, or one for each slot."),
    ] = None
    key: Annotated[
        str | None, Key(As.VARIABLE, "The variable that holds the private key; left out, the agent's or ssh's own.")
    ] = None
    known_hosts: Annotated[
        str | None, Key(As.VARIABLE, "The variable that holds the hosts' keys, as ssh-keyscan prints them.")
    ] = None
    sudo: Annotated[bool, Key(As.YES, "Whether it is done there by `sudo -n`.")] = False
    state: Annotated[str, Key(As.TEXT, "The folder on the host for fences and versions.")] = "/var/lib/rampgate"

    def __post_init__(self) -> None:
        object.__setattr__(self, "hosts", tuple(self.hosts))

    def problems(self, path: str, *, targets: Sequence[str] | None) -> Iterator[Problem]:
        slots = targets is None
        if not self.hosts:
            yield Problem(f"{path}.hosts", "an empty list", "at least one host")
        for index, host in enumerate(self.hosts):
            if not _HOST.fullmatch(host):
                yield Problem(
                    f"{path}.hosts[{index}]", repr(cut(host, 60)), "a host such as deploy@web-1 or web-1:2222"
                )
        known = {name for host in self.hosts for name in (host, _machine(host))}
        if self.hosts and (strange := [one for one in targets or () if one not in known]):
            yield Problem(f"{path}.hosts", f"no host {cut(strange[0], 60)}", "every target among them")
        for name, text, pattern, allowed in (
            ("unit", self.unit, _UNIT, "a unit with {{slot}} in it, such as shop@{{slot}}"),
            ("file", self.file, _PATH, "a path with {{slot}} in it, such as /etc/shop/{{slot}}.env"),
        ):
            if not pattern.fullmatch(text) or slots is not ("{{" in text) or unknown(text, ("slot",)):
                in_place = "no {{slot}} in it: a target is replaced in its place"
                yield Problem(f"{path}.{name}", repr(cut(text, 60)), allowed if slots else in_place)
        if not _NAME.fullmatch(self.variable):
            yield Problem(f"{path}.variable", repr(cut(self.variable, 60)), "a name such as VERSION")
        if not _PATH.fullmatch(self.state):
            yield Problem(f"{path}.state", repr(cut(self.state, 60)), "a path such as /var/lib/rampgate")

    def credentials(self) -> tuple[str, ...]:
        return () if self.key is None else (self.key,)

    def deployer(self, workplace: Workplace) -> Deployer:
        return SystemdSshDeployer(self, workplace)
