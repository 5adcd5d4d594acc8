"""Texts that were agreed on, in `tests/golden`."""

import os
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden"


def hold_to(name: str, text: str) -> None:
    """The text equals the golden file of this name; with `RAMPGATE_UPDATE_GOLDEN` set, that file is made anew."""
    path = GOLDEN / name
    if os.environ.get("RAMPGATE_UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()
