"""The repository names no machine of ours and no package registry: it works wherever it is cloned."""

import re

import pytest

from tests.house.tree import ROOT, files, named

# Some letters stand in brackets, so that this file holds none of what it looks for.
FORBIDDEN = {
    "a package registry": re.compile(r"\bpypi[.]org|python[h]osted|npmjs[.]org|deb[.]debian"),
    "a registry option": re.compile(r"--(extra-)?index[-]url|--find[-]links"),
    "a folder of one machine": re.compile(r"(?<![\w./-])/(work|root|home/[a-z]+)/[\w.]"),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_names(what: str) -> None:
    found = []
    for path in files():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{named(path)}: {match[0]}" for match in FORBIDDEN[what].finditer(text)]
    assert found == []


def test_only_ci_looks_beside_the_repository() -> None:
    beside = re.compile(r"\.\./[s]hared")
    texts = (
        (named(path), path) for path in files("*.py", "*.sh", "*.yml", "*.md", "Makefile", "Dockerfile", "scripts/*")
    )
    assert [name for name, path in texts if beside.search(path.read_text())] == []
    assert beside.search((ROOT / ".ci/run").read_text())
