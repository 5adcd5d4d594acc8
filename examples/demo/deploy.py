"""What `deploy.sh` does: each slot is one process on a port of its own, remembered by a file in the demo's folder.

Exit codes of `status`: 0 the slot is up (and its version is printed), 1 it is not, 2 nobody knows.
"""

import fcntl
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(os.environ["DEMO_FOLDER"])
PORTS = json.loads(os.environ["DEMO_PORTS"])
FAILS = json.loads(os.environ["DEMO_FAILS"])


def running(slot: str) -> str | None:
    """The version that answers in this slot."""
    connection = http.client.HTTPConnection("127.0.0.1", PORTS[slot], timeout=2)
    try:
        connection.request("GET", "/healthz")
        return str(json.loads(connection.getresponse().read())["version"])
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def ensure(slot: str, version: str) -> None:
    if running(slot) == version:
        print(f"{version} runs in {slot} already")
        return
    retire(slot)
    command = [sys.executable, "-m", "examples.demo.slot", f"--port={PORTS[slot]}", f"--version={version}"]
    command.append(f"--fails={FAILS[version]}")
    with (FOLDER / f"{slot}.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
    (FOLDER / f"{slot}.pid").write_text(str(process.pid))
    for _ in range(200):
        if running(slot) == version:
            print(f"{version} is up in {slot}")
            return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    sys.exit(f"{version} did not come up in {slot}; see {slot}.log")


def retire(slot: str) -> None:
    file = FOLDER / f"{slot}.pid"
    if not file.exists():
        return
    try:
        pid = int(file.read_text())
        os.kill(pid, signal.SIGTERM)
        for _ in range(100):
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                break
            time.sleep(0.05)
    except (ProcessLookupError, FileNotFoundError):
        pass
    file.unlink(missing_ok=True)
    print(f"{slot} is empty")


def main() -> None:
    action, slot = os.environ["RAMPGATE_ACTION"], os.environ["RAMPGATE_SLOT"]
    if action == "status":
        version = running(slot)
        print(version or f"nothing answers in {slot}")
        sys.exit(0 if version == os.environ["RAMPGATE_VERSION"] else 1)
    with (FOLDER / "fence").open("a+") as file:
        # A hook of a gate that has lost its lease must not undo what a later one did.
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        seen, mine = int(file.read() or 0), int(os.environ["RAMPGATE_FENCE"])
        if mine < seen:
            sys.exit(f"fence {mine} is older than {seen}: another gate has taken over")
        file.truncate(0)
        file.write(str(mine))
        file.flush()
        if action == "ensure":
            ensure(slot, os.environ["RAMPGATE_VERSION"])
        elif action == "retire":
            retire(slot)
        else:
            sys.exit(f"RAMPGATE_ACTION {action!r} is not one of ensure, retire, status")


if __name__ == "__main__":
    main()
