"""The venue in docs/venues.md, dropped into a folder on the path: it runs as a feed process."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import zmq

from bus.model import Trade
from bus.testing import wait_until
from bus.wire.codec import decode_frame
from tests.conftest import ROOT

(VENUE,) = re.findall(
    r"^```python\n(# venue: demo\n.*?)^```$",
    (ROOT / "docs" / "venues.md").read_text(encoding="utf-8"),
    re.DOTALL | re.MULTILINE,
)
START = """
import sys
import bus.feeds
bus.feeds.__path__.append(sys.argv.pop(1))
from bus.feeds.process import main
sys.exit(main())
"""


def test_a_dropped_in_venue_publishes_under_its_own_name(run_dir: Path, tmp_path: Path) -> None:
    package = tmp_path / "demovenue"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "venue.py").write_text(VENUE)
    config = run_dir / "mdbus.toml"
    config.write_text(
        f'run_dir = "{run_dir}"\nmode = "live"\n'
        '[feeds.demo]\nvenue = "demovenue"\nsymbols = ["ABC-XYZ"]\n'
    )
    context = zmq.Context()
    broker = context.socket(zmq.SUB)  # stands where the broker takes publishers
    broker.linger = 0
    broker.bind(f"ipc://{run_dir}/publish.sock")
    broker.setsockopt(zmq.SUBSCRIBE, b"")
    command = [sys.executable, "-c", START, str(tmp_path), "--config", str(config)]
    process = subprocess.Popen(
        [*command, "--name", "feed.demo"], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    heard: dict[str, object] = {}

    def all_said() -> bool:
        while broker.poll(0):
            tick = decode_frame(broker.recv())
            heard[tick.topic.name] = tick.body
        return "sys/status/demo/ABC-XYZ/" in heard

    try:
        wait_until(all_said, 20)
        assert heard["md/trades/demovenue/ABC-XYZ/"] == Trade(42.5, 1.0, "buy", 7)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.communicate()
        broker.close()
        context.term()


def test_each_of_our_own_venues_is_nothing_but_its_folders() -> None:
    """Outside them, their names stand only where their ports do."""
    for venue in ("coinbase", "kraken"):
        named = [
            path.relative_to(ROOT / "bus")
            for path in (ROOT / "bus").rglob("*.py")
            if venue not in path.parts and f"bus.feeds.{venue}" in path.read_text()
        ]
        named += [
            path.relative_to(ROOT / "bus")
            for path in (ROOT / "bus").rglob("*.py")
            if venue not in path.parts and f"bus.simulator.{venue}" in path.read_text()
        ]
        assert not named
