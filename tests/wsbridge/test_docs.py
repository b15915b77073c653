"""docs/websocket.md says what the code does: examples, errors, close codes, capabilities."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest

from bus.wsbridge.actions import Refusal, parse_request
from bus.wsbridge.inquiries import CAPABILITIES
from bus.wsbridge.messages import (
    CLOSE_REASONS,
    ERRORS,
    Error,
    encode,
)
from tests.wsbridge.schema import check_message

TEXT = (Path(__file__).resolve().parent.parent.parent / "docs" / "websocket.md").read_text()
EXAMPLES = [json.loads(block) for block in re.findall(r"```json\n(.*?)\n```", TEXT, re.DOTALL)]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.get("type") or e["action"])
def test_every_example_is_a_message_of_ours(example: dict[str, object]) -> None:
    text = json.dumps(example).encode()
    if "type" not in example:
        assert not isinstance(parse_request(text, max_depth=20, max_history=1000), Refusal)
        return
    check_message(example)  # no field is unknown, none is missing


def test_every_type_of_message_has_an_example() -> None:
    shown = {str(example.get("type")) for example in EXAMPLES}
    assert shown >= {
        "price", "orderbook", "connection", "subscription", "status", "heartbeat", "gap", "reset",
        "error",
    }  # fmt: skip


def test_encoding_is_what_the_examples_show() -> None:
    error = msgspec.json.decode(json.dumps(EXAMPLES[-1]), type=Error)
    assert json.loads(encode(error)) == EXAMPLES[-1]


def test_every_error_code_is_in_the_table_with_its_status() -> None:
    for kind in ERRORS.values():
        row = next(line for line in TEXT.splitlines() if f"| `{kind.code}`" in line
                   or f", `{kind.code}`" in line)  # fmt: skip
        assert f"| {kind.status} | {'yes' if kind.retryable else 'no'} |" in row


def test_every_close_code_is_in_the_table_with_its_reason() -> None:
    for code, reason in CLOSE_REASONS.items():
        assert f"| {int(code)} | `{reason}` |" in TEXT


def test_the_capabilities_are_those_announced() -> None:
    assert json.dumps(CAPABILITIES, separators=(",", ":")) in TEXT
