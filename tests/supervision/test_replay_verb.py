"""replay: recorded traffic as `up` with other settings; what cannot be played is said at once."""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path

import pytest

from bus.capture import MAGIC, BlockEncoder, Head
from bus.capture.records import encode
from bus.supervision import replay_verb
from bus.supervision.cli import main
from bus.supervision.locate import settings_for
from bus.supervision.replay_verb import checked_speed

LINE = b'1723075200000000000 {"stream":"btcusdt@trade","data":{}}\n'


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"garbage", "it is neither a gzip file nor a capture (.mdcap)"),
        (gzip.compress(LINE)[:12], "it is neither a gzip file nor a capture (.mdcap)"),
        (
            gzip.compress(LINE)[:10] + b"\xff" * 40,
            "it is neither a gzip file nor a capture (.mdcap)",
        ),
        (gzip.compress(b""), "line 1 is not <receive time ns> <JSON>"),
        (gzip.compress(b"some text\n"), "line 1 is not <receive time ns> <JSON>"),
        (gzip.compress(b"12 {broken\n"), "line 1 is not <receive time ns> <JSON>"),
        (gzip.compress(b"12 " + b"[" * 100_000), "line 1 is not <receive time ns> <JSON>"),
    ],
    ids=["no-gzip", "cut-head", "damaged", "empty", "no-time", "broken-json", "deep-json"],
)
def test_what_is_no_recording_is_one_line_and_nothing_starts(
    run_dir: Path, content: bytes, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run_dir / "a.gz"
    path.write_bytes(content)
    assert main(["replay", str(path), "--run-dir", str(run_dir / "run")]) == 2
    assert capsys.readouterr().err == f"mdbus: {path}: cannot be played: {why}\n"
    assert not (run_dir / "run").exists()


def test_the_recordings_at_hand_pass(
    recorded_dir: Path, monkeypatch: pytest.MonkeyPatch, run_dir: Path
) -> None:
    monkeypatch.setattr(replay_verb, "run_up", lambda _: 0)
    files = [str(path) for path in recorded_dir.glob("*.gz")]
    assert main(["replay", *files, "--run-dir", str(run_dir)]) == 0


@pytest.mark.parametrize(
    ("text", "speed"),
    [("1", "1"), ("20", "20"), ("0.5", "0.5"), ("20x", "20"), ("max", "max"), ("1e2", "100")]
    + [(bad, None) for bad in ("", "0", "-1", "nan", "inf", "fast", "max1")],
)
def test_a_speed_is_a_factor_or_max(text: str, speed: str | None) -> None:
    assert checked_speed(text) == speed


def test_it_is_up_with_other_settings(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[argparse.Namespace] = []

    def pretended_up(arguments: argparse.Namespace) -> int:
        seen.append(arguments)
        return 0

    monkeypatch.setattr(replay_verb, "run_up", pretended_up)
    monkeypatch.chdir(run_dir)
    for name in ("a.gz", 'b "x".gz'):
        (run_dir / name).write_bytes(gzip.compress(LINE))
    words = [
        "replay",
        "a.gz",
        'b "x".gz',
        "--speed",
        "20",
        "--set",
        "bridge.port=0",
        "--workers",
        "1",
    ]
    assert main(words) == 0
    settings = settings_for(seen[0])
    assert settings.mode == "embedded"
    assert settings.bridge.port == 0
    simulator = settings.simulator
    assert (simulator.source, simulator.playback_speed) == ("playback", "20")
    assert simulator.playback_files == (str(run_dir / "a.gz"), str(run_dir / 'b "x".gz'))
    assert "playing 2 files at speed 20" in capsys.readouterr().out


def test_everything_wrong_is_said_before_anything_starts(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run_dir / "empty.gz").touch()
    files = [str(run_dir / name) for name in ("missing.gz", "empty.gz", "")]
    assert main(["replay", *files, "--speed", "fast", "--run-dir", str(run_dir / "run")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.rpartition(": ")[2] for line in lines[:3]] == [
        "no such file",
        "is empty",
        "is not a file",
    ]
    assert "'fast' is no speed" in lines[3]
    assert not (run_dir / "run").exists()


def test_a_capture_says_which_feeds_run_and_how(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[argparse.Namespace] = []

    def pretended_up(arguments: argparse.Namespace) -> int:
        seen.append(arguments)
        return 0

    monkeypatch.setattr(replay_verb, "run_up", pretended_up)
    head = Head(1, 0, "finnhub", "finnhub", 1, 1, False, ("TSLA",), {"orderbook_levels": 7})
    path = run_dir / "a.mdcap"
    path.write_bytes(MAGIC + BlockEncoder().block(encode(head)))
    assert main(["replay", str(path), "--set", "feeds.finnhub.orderbook_levels=9"]) == 0
    settings = settings_for(seen[0])
    assert [name for name, feed in settings.feeds.items() if feed.enabled] == ["finnhub"]
    assert settings.feeds["finnhub"].symbols == ("TSLA",)
    assert settings.feeds["finnhub"].orderbook_levels == 9, "--set has the last word"


def test_what_is_no_capture_is_refused_by_name(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run_dir / "a.mdcap"
    path.write_bytes(b"something else")
    assert main(["replay", str(path)]) == 2
    assert f"{path}: cannot be played: it is no capture file" in capsys.readouterr().err
