"""The container engine as the tests use it: build an image, run it, ask about it.

`CONTAINER_ENGINE` names it (docker, podman), `PYTHON_IMAGE` the image to build on, and `CONTAINER_BUILD_FLAGS` what
this machine's engine needs besides.
"""

import json
import os
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ENGINE = os.environ.get("CONTAINER_ENGINE", "docker")


def engine(*arguments: str, env: dict[str, str] | None = None, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run the engine. Raises nothing when it fails: look at ``returncode`` and ``stderr``."""
    command = [ENGINE, *arguments]
    return subprocess.run(
        command, env=env, timeout=timeout, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


def ask(*arguments: str, timeout: float = 60) -> str:
    """What the engine prints. Raises AssertionError with its own words when it fails."""
    done = engine(*arguments, timeout=timeout)
    assert done.returncode == 0, f"{ENGINE} {shlex.join(arguments)}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A built image; ``base`` is the one it stands on."""

    tag: str
    base: str

    @property
    def config(self) -> dict[str, Any]:
        settings: dict[str, Any] = json.loads(ask("image", "inspect", self.tag))[0]
        return settings

    def own_layers(self) -> list[str]:
        """The layers that the base does not have."""
        below = json.loads(ask("image", "inspect", self.base))[0]["RootFS"]["Layers"]
        layers: list[str] = self.config["RootFS"]["Layers"]
        return [layer for layer in layers if layer not in below]


def build(target: str) -> Image:
    """Build one of the Dockerfile's images, as anyone would, on `PYTHON_IMAGE`."""
    base = os.environ.get("PYTHON_IMAGE", "python:3.12-slim")
    flags = shlex.split(os.environ.get("CONTAINER_BUILD_FLAGS", ""))
    tag = f"rampgate-test-{target}"
    ask("build", *flags, "--build-arg", f"PYTHON_IMAGE={base}", "--target", target, "-t", tag, str(ROOT), timeout=500)
    return Image(tag=tag, base=base)


def compiled_at_start(image: Image, *modules: str) -> str:
    """The modules, one a line, that Python would have to compile to import these in the image; empty where none."""
    code = (
        f"import os, sys, {', '.join(modules)}\n"
        "for name, one in sorted(sys.modules.items()):\n"
        "    cached = getattr(one, '__cached__', None)\n"
        "    if cached and name != '__main__' and not os.path.exists(cached): print(name)\n"
    )
    python = ("--entrypoint", "/opt/rampgate/bin/python", image.tag, "-IB", "-c", code)
    return ask("run", "--rm", "--network", "host", *python)
