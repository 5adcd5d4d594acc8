"""wrk as a steady load that is ended when the story ends, and what it counted."""

import re
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

LONGEST = 60
"""Seconds after which wrk ends by itself, should nobody end it."""

# Thousands of users, by header and by cookie: the proxies read the one, the shop's own front door the other.
SCRIPT = """
local number = math.random(1000)
wrk.method, wrk.body = "METHOD", BODY
request = function()
  number = number + 1
  local user = "user-" .. number % 4000
  return wrk.format(nil, "/", {["X-User-Id"] = user, ["Cookie"] = "user=" .. user})
end
done = function(summary, latency, _)
  local errors = summary.errors
  io.write(string.format("COUNTED %d %d %d %d %d %d %d %d %d\\n", summary.requests, errors.status, errors.connect,
    errors.read, errors.write, errors.timeout, latency:percentile(99), latency.max, summary.duration))
end
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """``failed``: answers of 400 and above, connections refused or broken, answers that did not come. Times in ms."""

    requests: int
    failed: int
    p99: float
    longest: float
    rate: float


class Load:
    """with Load(url, folder, "GET") as load: …; load.counted"""

    def __init__(self, url: str, folder: Path, method: str, connections: int = 16) -> None:
        script = folder / f"{method}.lua"
        script.write_text(SCRIPT.replace("METHOD", method).replace("BODY", '"order"' if method == "POST" else "nil"))
        program = shutil.which("wrk")
        assert program, "wrk is not installed: apt-get install wrk"
        self._command = [program, "-t1", f"-c{connections}", f"-d{LONGEST}s", "--timeout=10s", "-s", str(script), url]

    def __enter__(self) -> "Load":
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGINT)
        self.said, _ = self._process.communicate(timeout=LONGEST)

    @property
    def counted(self) -> Counted:
        found = re.search(r"COUNTED ([\d ]+)", self.said)
        assert found, self.said
        requests, *errors, p99, longest, duration = (int(one) for one in found[1].split())
        return Counted(
            requests=requests,
            failed=sum(errors),
            p99=p99 / 1000,
            longest=longest / 1000,
            rate=requests / duration * 1e6,
        )
