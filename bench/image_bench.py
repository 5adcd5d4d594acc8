"""What the gate's image takes from its start to its first call, told apart from what the container engine takes.

    make bench, or: PYTHONPATH=. python bench/image_bench.py

The engine's part is the same image, run the same way, in which a shell calls at once. The bound is on what
is left: of the second that a start may take, a quarter is the engine's.
"""

import shutil
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from socket import create_server, socket
from statistics import median
from time import perf_counter

from bench.gate_bench import forget, word
from tests.container.engine import ENGINE, build, engine
from tests.container.runner import GitHubRunner

STARTS = 9
BOUND = 0.75
PLAN = """\
flag: shop
environment: production
deploy: {none: true}
metrics: [{errors: flagserver}]
"""


def called(runner: GitHubRunner, image: str, listener: socket, *arguments: str, entrypoint: str | None = None) -> float:
    """Seconds from the engine's start to the first byte that something in the image sends."""
    forget(listener)
    began = perf_counter()
    with runner.start(image, *arguments, entrypoint=entrypoint) as step:
        try:
            caller, _ = listener.accept()
            with caller:
                caller.recv(1)
                return perf_counter() - began
        except TimeoutError:
            step.process.kill()
            said = step.process.communicate()[0]
            raise SystemExit(f"the image calls nobody:\n{said}") from None


def main() -> int:
    if shutil.which(ENGINE) is None or engine("info").returncode != 0:
        print(f"The image is not measured: no container engine ({ENGINE}) answers.")
        return 0
    image = build("gate").tag
    with tempfile.TemporaryDirectory() as name, closing(create_server(("127.0.0.1", 0), backlog=64)) as listener:
        listener.settimeout(30)
        port = listener.getsockname()[1]
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "workspace/.github").mkdir(parents=True)
        (folder / "workspace/.github/rampgate.yml").write_text(PLAN)
        given = {"flag-server-url": f"http://127.0.0.1:{port}", "flag-server-key": "rg_operator_abcdefgh_" + "s" * 43}
        runner = GitHubRunner(folder=folder, inputs=given)
        shell = ("-c", f"echo >/dev/tcp/127.0.0.1/{port}")
        bare, gate = [], []
        for _ in range(STARTS):
            bare.append(called(runner, image, listener, *shell, entrypoint="/bin/bash"))
            gate.append(called(runner, image, listener))
    ours = min(gate) - min(bare)
    print(f"From `{ENGINE} run` to the first call, best and median of {STARTS}")
    print(f"  the engine, and a shell   {min(bare):7.3f} s{median(bare):8.3f} s")
    print(f"  the engine, and the gate  {min(gate):7.3f} s{median(gate):8.3f} s")
    print(f"  what is ours              {ours:7.3f} s           bound {BOUND} s  {word(ours <= BOUND)}")
    return 0 if ours <= BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
