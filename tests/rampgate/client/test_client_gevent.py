"""In gevent's worker processes: patched from the start, or, as with gunicorn's `--preload`, after a fork."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rampgate.client.scripted import Scripted, plain, ramp

ROOT = Path(__file__).parents[3]

APP = """
import json, os, sys, time, warnings
warnings.simplefilter("ignore")  # a fork with threads, and patching after an import, is what is tried here
patched = sys.argv[2] == "from the start"
if patched:
    from gevent import monkey
    monkey.patch_all()
from rampgate import FlagClient
client = FlagClient(sys.argv[1], "rg_sdk_a_b")
if not patched:
    assert client.ready(20)
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        sys.exit()
    from gevent import monkey
    monkey.patch_all()
import gevent

def say(*words): print(json.dumps(words), flush=True)

turns = 0
def others():
    global turns
    while True:
        turns += 1
        gevent.sleep(0.001)
gevent.spawn(others)

def request(number):
    user = f"user-{number}"
    with client.observe("shop", user) as assignment:
        gevent.sleep(0.002)  # others run here: each keeps its own
        assert client.string("shop", "", user) == assignment.value

gevent.joinall([gevent.spawn(client.boolean, "new", False, "u") for _ in range(20)], raise_error=True)
say("ready", client.ready(20))
before = turns
gevent.joinall([gevent.spawn(request, number) for number in range(100)], raise_error=True)
say("flushed", client.flush(), turns > before)
before = turns
while client.boolean("new", True, "u"): gevent.sleep(0.005)
say("heard", turns > before)
gevent.joinall([gevent.spawn(request, number) for number in range(50)], raise_error=True)
began = time.monotonic()
client.close()
say("closed", time.monotonic() - began < 2)
os._exit(0)
"""


@pytest.mark.parametrize("patched", ["from the start", "after a fork"])
def test_requests_are_served_counted_and_handed_in_and_nobody_waits_for_us(server: Scripted, patched: str) -> None:
    server.snapshot["rollouts"]["shop"] = ramp(poll=3600.0)
    command = [sys.executable, "-c", APP, server.url, patched]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as app:
        assert app.stdout is not None
        heard = map(json.loads, app.stdout)
        assert next(heard) == ["ready", True]
        assert next(heard) == ["flushed", True, True]
        assert server.counted("requests") == 100
        server.send("changed", server.change("v2", {"new": plain(False)}))
        assert next(heard) == ["heard", True]
        assert next(heard) == ["closed", True]
        assert app.wait(20) == 0
    assert server.counted("requests") == 150
