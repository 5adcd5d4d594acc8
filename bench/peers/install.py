"""Makes build/bench: the environment with the other SDKs, pinned and hashed. What cannot be installed is named.

python bench/peers/install.py
"""

import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACE = ROOT / "build" / "bench"
LOCK = ROOT / "bench" / "requirements.txt"


def install(lock: Path, *options: str) -> bool:
    pip = [str(PLACE / "bin" / "python"), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    return subprocess.run([*pip, "--require-hashes", *options, "-r", str(lock)], check=False).returncode == 0


def main() -> int:
    venv.create(PLACE, clear=True, with_pip=True)
    if install(LOCK):
        return 0
    print("Not all of them install together: one by one.")
    for entry in re.split(r"^(?=[A-Za-z])", LOCK.read_text(), flags=re.MULTILINE)[1:]:
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as one:
            one.write(entry)
            one.flush()
            if not install(Path(one.name), "--no-deps"):
                print(f"cannot be installed here: {entry.split()[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
