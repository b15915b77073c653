"""token new and key: what an operator makes is what the bridge accepts."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from pathlib import Path

import pytest

from bus.clock import now_ns
from bus.config import load
from bus.supervision.cli import main
from bus.supervision.token_verb import seconds_of
from bus.tokens import TokenRefused, Verifier, load_keyring


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A settings file with a key that ``token key`` has written."""
    key = tmp_path / "jwt.key"
    assert main(["token", "key", str(key)]) == 0
    assert key.stat().st_mode & 0o777 == 0o600
    path = tmp_path / "mdbus.toml"
    path.write_text(
        f'[bridge]\nauth = "jwt"\n[bridge.access]\naudience = ["desk"]\n'
        f'[bridge.access.keys]\nold = "{key}"\n'
    )
    return path


def checked(config: Path, token: str, *, ticket: bool = False) -> dict[str, object]:
    access = load(config).bridge.access
    claims = Verifier(access, load_keyring(access)).check(token, now_ns(), ticket=ticket)
    return {"sub": claims.subject, "tier": claims.tier, "topics": claims.topics,
            "left_s": claims.expires_s - now_ns() / 1e9, "jti": claims.token_id}  # fmt: skip


def test_a_new_token_is_accepted(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    words = ["token", "new", "--config", str(config), "--sub", "alice", "--tier", "pro",
             "--ttl", "8h", "--topics", "price.*,trades.BTC"]  # fmt: skip
    assert main(words) == 0
    found = checked(config, capsys.readouterr().out.strip())
    assert (found["sub"], found["tier"]) == ("alice", "pro")
    assert found["topics"] == ("price.*", "trades.BTC")
    left_s = found["left_s"]
    assert isinstance(left_s, float)
    assert 8 * 3600 - 60 < left_s <= 8 * 3600
    assert found["jti"], "it can be revoked"


def test_a_ticket_is_a_ticket_only(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    words = ["token", "new", "--config", str(config), "--sub", "page", "--ticket", "--json"]
    assert main(words) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["sub"], made["tier"]) == ("page", "free")
    assert 0 < made["expires_at_s"] - now_ns() / 1e9 <= 60
    assert checked(config, made["token"], ticket=True)["jti"] == made["jti"]
    with pytest.raises(TokenRefused):
        checked(config, made["token"])


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--tier", "emperor"], "emperor"),
        (["--kid", "new"], "there is no key 'new'"),
        (["--ticket", "--ttl", "1h"], "--ttl"),
        (["--set", "bridge.access.keys.old=env:NO_SUCH_KEY"], "NO_SUCH_KEY"),
    ],
)
def test_what_cannot_be_made_is_told_in_one_line(
    config: Path, capsys: pytest.CaptureFixture[str], words: list[str], named: str
) -> None:
    capsys.readouterr()
    assert main(["token", "new", "--config", str(config), "--sub", "a", *words]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert named in output.err
    assert len(output.err.splitlines()) == 1


def test_topics_that_are_none_are_refused_before_a_token_is_made(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["token", "new", "--config", str(config), "--sub", "a", "--topics", "price.*, price"])
    assert ended.value.code == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert "'price' means no topics; patterns are e.g. price.*" in output.err


def test_a_key_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "key"
    path.write_text("precious")
    assert main(["token", "key", str(path)]) == 1
    assert path.read_text() == "precious"
    assert "exists already" in capsys.readouterr().err


def test_times_are_read_with_their_unit() -> None:
    assert [seconds_of(text) for text in ("90", "90s", "15m", "8h", "30d")] == [
        90, 90, 900, 28_800, 2_592_000,
    ]  # fmt: skip
    for text in ("", "0", "-1", "1w", "1.5h", "h"):
        with pytest.raises(ArgumentTypeError):
            seconds_of(text)
