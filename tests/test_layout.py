"""The shape of the project: module sizes, mirrored tests, nothing at the top that has no place."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted((ROOT / "bus").rglob("*.py"))
MAX_LINES = 400
TOP_LEVEL = {
    ".ci",
    ".gitignore",
    "CHANGELOG.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "bench",
    "bus",
    "docs",
    "pyproject.toml",
    "supervisor.py",
    "tests",
}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_stays_small_and_says_what_it_is(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_LINES
    assert text.startswith('"""'), "a module begins with its docstring"


def test_the_door_is_thin() -> None:
    assert len((ROOT / "supervisor.py").read_text().splitlines()) <= 15


def test_nothing_else_stands_at_the_top() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: what is tracked cannot be told")
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert {line.split("/")[0] for line in tracked.splitlines()} <= TOP_LEVEL


def test_every_module_has_its_mirrored_test() -> None:
    """``bus/x/y.py`` has ``tests/x/test_y.py``; doors and tables of values need none."""
    missing = []
    for path in MODULES:
        inside = path.relative_to(ROOT / "bus")
        if inside.name in {"__init__.py", "__main__.py"} or "def " not in path.read_text():
            continue
        mirror = ROOT / "tests" / inside.parent / f"test_{inside.name}"
        if not mirror.exists():
            missing.append(str(inside))
    assert not missing, f"modules without a test of their own: {', '.join(missing)}"


def test_no_test_sleeps() -> None:
    """A sleep in a test hides a race: wait for the condition instead."""
    words = ("time." + "sleep(", "asyncio." + "sleep(")
    guilty = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").rglob("*.py")
        if any(word in path.read_text(encoding="utf-8") for word in words)
    ]
    assert not guilty
