"""``feed`` and ``token``, and what is below them."""

from __future__ import annotations

import pytest

from bus.supervision.arguments import make_parser


@pytest.mark.parametrize(
    "words", [["feed", "add"], ["feed", "remove"], ["feed", "list"], ["token", "key"]]
)
def test_every_action_has_an_example(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        make_parser("mdbus", words[0]).parse_args([*words, "--help"])
    assert f"\n  mdbus {' '.join(words)} " in capsys.readouterr().out


def test_options_before_the_action_hold() -> None:
    parser = make_parser("mdbus", "feed")
    arguments = parser.parse_args(["feed", "--run-dir", "/x", "add", "binance", "XRP-USDT"])
    assert (arguments.run_dir, arguments.what, arguments.symbols) == ("/x", "add", ["XRP-USDT"])
