"""Other versions of the product than the one in this tree, to run beside it."""

import re
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path
from shutil import copytree, ignore_patterns

from flagserver.store.schema import HEAD

ROOT = Path(__file__).parents[2]
PACKAGES = ("rampgate", "flagserver")
_RELEASE = re.compile(r"v\d+\.\d+\.\d+")

_MIGRATION = '''"""What the next version needs."""

import sqlalchemy as sa
from alembic import op

revision = "{new}"
down_revision = "{old}"


def upgrade() -> None:
    op.create_table("weather", sa.Column("day", sa.String(length=10), primary_key=True))
    op.add_column("rollouts", sa.Column("colour", sa.String(length=40), server_default="grey", nullable=False))
    op.create_index("ix_rollouts_colour", "rollouts", ["colour"])
'''


def next_version(folder: Path) -> Path:
    """This tree as its next version may be: a migration more, and a field more in every structure of the wire and of
    what is kept; returns where it lies."""
    for name in PACKAGES:
        copytree(ROOT / name, folder / name, ignore=ignore_patterns("__pycache__"))
    new = after(HEAD)
    versions = folder / "flagserver/store/migrations/versions"
    (versions / f"{new}_next.py").write_text(_MIGRATION.format(new=new, old=HEAD))
    _rewrite(folder / "flagserver/store/schema.py", f'HEAD = "{HEAD}"', f'HEAD = "{new}"')
    column = 'Column("colour", String(40), server_default="grey", nullable=False)'
    _rewrite(folder / "flagserver/store/tables.py", r'("rollouts",\s+metadata,)', rf"\1 {column},")
    for file in (folder / "rampgate").rglob("*.py"):
        text = file.read_text()
        more = re.sub(r"(    __pydantic_config__ = STRICT\n)", r'\1    forecast: str = "fair"\n', text)
        file.write_text(more)
    assert "forecast" in (folder / "rampgate/machine/state.py").read_text()
    return folder


def after(migration: str) -> str:
    """The number of the migration after this one."""
    return f"{int(migration) + 1:04}"


def last_release() -> str | None:
    """The newest release's tag, in a clone that has tags; ``None`` before the first release."""
    command = ["git", "tag", "--list", "--sort=-version:refname", "v*"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return next(filter(_RELEASE.fullmatch, done.stdout.split()), None)


def released(tag: str, folder: Path) -> Path:
    """The tree of a release; returns where it lies."""
    command = ["git", "archive", tag, *PACKAGES]
    archive = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=BytesIO(archive)) as opened:
        opened.extractall(folder, filter="data")
    return folder


def _rewrite(file: Path, pattern: str, by: str) -> None:
    text, count = re.subn(pattern, by, file.read_text())
    assert count == 1, f"{file} is not as it was when this was written"
    file.write_text(text)
