"""The import contracts hold, and a violation of each really fails the check."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin", "TERM": "dumb", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def copy_of_project(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "bus", tmp_path / "bus", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_contracts_hold(copy_of_project: Path) -> None:
    done = lint_imports(copy_of_project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("bus/feeds/__main__.py", "bus.broker"),
        ("bus/wsbridge/__main__.py", "bus.feeds"),
        ("bus/client/__init__.py", "bus.wsbridge"),
        ("bus/transport/__init__.py", "bus.runtime"),
        ("bus/wire/codec.py", "zmq"),
        ("bus/book/__init__.py", "asyncio"),
        ("bus/model/tick.py", "bus.wire"),
    ],
)
def test_a_forbidden_import_breaks_them(copy_of_project: Path, module: str, forbidden: str) -> None:
    path = copy_of_project / module
    path.write_text(f"{path.read_text()}\nimport {forbidden}\n")
    done = lint_imports(copy_of_project)
    assert done.returncode != 0, done.stdout
    assert "1 broken" in done.stdout
