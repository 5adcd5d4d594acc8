"""Programs that stand in for others in the deployers' tests: shell scripts on a PATH of their own."""

import os
import threading
import time
from pathlib import Path

from tests.gate.deploy.contract import SECRET, Manner

PREAMBLE = f"""#!/bin/sh
root={{root}}
manner=$(cat "$root/manner")
act() {{{{ # what a program does before it changes anything
  case $manner in
    FAILS) echo no space left >&2; exit 1 ;;
    HANGS) echo $$ >"$root/begun"; exec sleep 600 ;;
    TELLS) echo "token {SECRET}"; echo "token {SECRET}" >&2 ;;
    LIES) exit 0 ;;
  esac
}}}}
"""


class Programs:
    """A folder of programs, and what stands in the files beside them."""

    def __init__(self, folder: Path, scripts: dict[str, str]) -> None:
        self.root = folder / "world"
        programs = self.root / "bin"
        programs.mkdir(parents=True)
        for name, script in scripts.items():
            (programs / name).write_text(PREAMBLE.format(root=self.root) + script)
            (programs / name).chmod(0o755)
        self.environ = {"PATH": f"{programs}:{os.environ['PATH']}"}
        self.behave(Manner.WELL)

    def behave(self, manner: Manner) -> None:
        (self.root / "manner").write_text(manner.name)

    def begun(self) -> bool:
        begun = self.root / "begun"
        return begun.exists() and begun.read_text().endswith("\n")

    def quiet(self) -> bool:
        """Whether no process of theirs hangs."""
        if not self.begun():
            return True
        stat = Path("/proc", (self.root / "begun").read_text().strip(), "stat")
        try:
            return stat.read_bytes().rpartition(b")")[2].split()[0] in (b"Z", b"X")
        except OSError:
            return True

    def file(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


SSH = """
for last; do :; done
printf '%s\\n' "$*" | head -1 >>"$root/asked"
while [ $# -gt 1 ]; do
  case $1 in
    -i) cat "$2" >"$root/key"; stat -c %a "$2" >"$root/mode" ;;
    --) echo "$2" >>"$root/hosts"; case $2 in *web-9*) exit 255 ;; esac ;;
  esac
  shift
done
cd "$root"
exec /bin/sh -c "$last"
"""
"""An ssh to hosts that are all this machine; web-9 cannot be reached."""


class FarPrograms(Programs):
    """Programs on a host. They are ended there once the connection is gone, so a little after it."""

    PATIENCE = 30.0

    def quiet(self) -> bool:
        ends = time.monotonic() + self.PATIENCE
        while not super().quiet() and time.monotonic() < ends:
            threading.Event().wait(0.02)
        return super().quiet()
