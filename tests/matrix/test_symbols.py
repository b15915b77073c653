"""Many symbols through one feed, real processes: sharding, the REST budget, one symbol's fault."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.e2e.running_bus import ROOT


def test_one_symbols_fault_costs_the_fifty_nine_others_nothing() -> None:
    words = ["--symbols", "60", "--hold-s", "1", "--streams-per-connection", "100", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "bench.symbols", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["wrong"] == []
    assert (result["connections"], result["streams"]) == (3, 240)
    assert result["rest_refused"] == 0
    assert 0 < result["weight_most"] <= 6_000, "60 snapshots of weight 5; a minute may begin"
    assert result["absorbed"] == 0
    assert result["trades_compared"] > 60
    assert result["deltas_compared"] > 600
    assert "60 live" in done.stdout
