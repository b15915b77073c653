"""The code of the README runs as it stands, against a running bus."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bus.config import load
from tests.e2e.running_bus import ROOT, RunningBus

README = (ROOT / "README.md").read_text(encoding="utf-8")
ENDPOINT = "ipc:///tmp/mdbus-1000/"
PAGE = "ws://127.0.0.1:8000/"
LINES = 5


def blocks(language: str) -> list[str]:
    """The fenced code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def adapted(code: str, bus: RunningBus) -> str:
    """The code with this bus's addresses in place of the documented defaults."""
    return code.replace(ENDPOINT, f"ipc://{bus.run_dir}/").replace(
        PAGE, f"ws://127.0.0.1:{bus.port}/"
    )


def first_lines(command: list[str], cwd: Path) -> list[str]:
    """The first lines an endless program prints."""
    with subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        lines = [program.stdout.readline().rstrip("\n") for _ in range(LINES)]
        program.kill()
        assert all(lines), program.stderr.read()
    return lines


@pytest.fixture(scope="session")
def node_packages(node: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the npm packages the README's consumer needs."""
    folder = tmp_path_factory.mktemp("node")
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    done = subprocess.run(
        [npm, "install", "--no-audit", "--no-fund", "zeromq", "@msgpack/msgpack"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"npm could not install zeromq: {done.stderr.strip()[-300:]}")
    return folder


def test_the_plain_python_consumer(bus: RunningBus, tmp_path: Path) -> None:
    code = next(block for block in blocks("python") if "import msgpack, zmq" in block)
    assert len(code.splitlines()) <= 10
    script = tmp_path / "consumer.py"
    script.write_text(adapted(code, bus))
    lines = first_lines([sys.executable, "-u", str(script)], ROOT)
    assert all(re.match(r"md/trades/sim/BTC-USDT/ \d+ (buy|sell) [\d.]+ ", line) for line in lines)


def test_the_client_library_consumer(bus: RunningBus, tmp_path: Path) -> None:
    code = next(block for block in blocks("python") if "bus.client" in block)
    script = tmp_path / "client.py"
    script.write_text(adapted(code, bus))
    lines = first_lines([sys.executable, "-u", str(script)], ROOT)
    assert all(
        re.match(r"(snapshot|live|replay) md/trades/sim/[A-Z-]+/ \d+ [\d.]+ ", line)
        for line in lines
    )


@pytest.mark.node
def test_the_node_consumer(bus: RunningBus, node: list[str], node_packages: Path) -> None:
    code = next(block for block in blocks("js") if "zeromq" in block)
    (node_packages / "consumer.mjs").write_text(adapted(code, bus))
    lines = first_lines([*node, "consumer.mjs"], node_packages)
    assert all(re.match(r"md/trades/sim/BTC-USDT/ \d+ (buy|sell) [\d.]+ ", line) for line in lines)


@pytest.mark.node
def test_the_browser_client(bus: RunningBus, node: list[str], tmp_path: Path) -> None:
    code = next(block for block in blocks("js") if "new WebSocket" in block)
    script = tmp_path / "browser.js"
    script.write_text(adapted(code, bus))
    lines = first_lines([*node, str(script)], tmp_path)
    assert all(re.match(r"(BTC|ETH|SOL) [\d.]+ sim", line) for line in lines)


def test_the_configuration_it_shows_is_accepted(tmp_path: Path) -> None:
    for block in blocks("toml"):
        path = tmp_path / "mdbus.toml"
        path.write_text(block)
        load(path)


def test_every_page_it_names_exists() -> None:
    for page, section in re.findall(r"\]\((docs/[^)#]+)(?:#([^)]+))?\)", README):
        assert (ROOT / page).exists(), page
        titles = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
        anchors = {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}
        assert not section or section in anchors, (page, section)


def test_every_dependency_has_its_reason() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    named = set(re.findall(r'^\s*"([a-z-]+)>=', project, re.MULTILINE)) - {"hatchling"}
    table = README.partition("## Dependencies")[2]
    missing = {name for name in named if not re.search(rf"\b{name}\b", table)}
    assert not missing
