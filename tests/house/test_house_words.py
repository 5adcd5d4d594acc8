"""One word for one thing: the words that the product uses, and those it never uses."""

import ast
import re
from pathlib import PurePath

from tests.house.tree import PACKAGES, files, named, sources, words

SAY_NOTHING = "manager|handler|helpers?|utils?|common|core|base|impl|factory|processor"
STAGE = re.compile(r"\bstage[sd]?\b", re.IGNORECASE)
JSON_LINES = re.compile(r'"stages?"')
MARKDOWN_CODE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)


def says_nothing(name: str) -> bool:
    return any(re.fullmatch(SAY_NOTHING, word) for word in words(name))


def test_no_file_or_folder_has_a_word_that_says_nothing() -> None:
    for path in files("*.py"):
        for part in PurePath(named(path)).with_suffix("").parts:
            assert not says_nothing(part), named(path)


def test_no_class_has_a_word_that_says_nothing() -> None:
    for name, module in sources(*PACKAGES, "tests", "bench"):
        for node in ast.walk(module):
            if isinstance(node, ast.ClassDef):
                assert not says_nothing(node.name), f"{name}:{node.lineno} {node.name}"


def test_a_step_is_never_called_a_stage() -> None:
    """The judge's JSON lines are the one exception, and the glossary must name what it forbids."""
    for path in files(*(f"{package}/*" for package in PACKAGES), "docs/*.md", "*.md", "action.yml"):
        name = named(path)
        if (
            name.startswith("gate/judge/")
            or name == "docs/glossary.md"
            or path.suffix not in {".py", ".md", ".yml", ".html"}
        ):
            continue
        text = path.read_text()
        text = MARKDOWN_CODE.sub("", text) if path.suffix == ".md" else text
        found = STAGE.search(JSON_LINES.sub("", text))
        assert found is None, f"{name}: {found and found[0]!r}; the word is step"


def test_no_test_replaces_parts_by_mocks_or_waits_by_sleeping() -> None:
    for name, module in sources("tests"):
        for node in ast.walk(module):
            if isinstance(node, ast.Import | ast.ImportFrom):
                imported = {getattr(node, "module", None), *(alias.name for alias in node.names)}
                assert not {"unittest.mock", "mock"} & imported, f"{name}:{node.lineno}"
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"time.sleep", "sleep"}:
                raise AssertionError(f"{name}:{node.lineno} sleeps; wait for an event instead")
