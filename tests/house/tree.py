"""The tree as the house tests read it: what is tracked or about to be, and what stands in it."""

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("rampgate", "gate", "flagserver")


@cache
def files(*patterns: str) -> tuple[Path, ...]:
    """All files of the repository that match a git pathspec, new ones too, ignored ones and links not."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = (ROOT / name for name in sorted(set(listed.split("\0"))) if name)
    return tuple(path for path in paths if path.is_file() and not path.is_symlink())


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def sources(*folders: str) -> Iterator[tuple[str, ast.Module]]:
    """Every Python file in these folders, by its path from the root, parsed."""
    for folder in folders:
        for path in files(f"{folder}/*.py"):
            yield named(path), ast.parse(path.read_text())


def words(name: str) -> list[str]:
    """``words("FlagStore")`` and ``words("flag_store")`` are both ``["flag", "store"]``."""
    return re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower())


def mapping(module: ast.Module, name: str) -> dict[str, ast.expr] | None:
    """The keys and values of the dict that a module binds to ``name``; None when it binds none."""
    for node in module.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        bound = any(isinstance(target, ast.Name) and target.id == name for target in targets)
        value = getattr(node, "value", None)
        if bound and isinstance(value, ast.Call) and value.args:
            value = value.args[0]
        if bound and isinstance(value, ast.Dict):
            pairs = zip(value.keys, value.values, strict=True)
            return {key.value: item for key, item in pairs if isinstance(key, ast.Constant)}
    return None
