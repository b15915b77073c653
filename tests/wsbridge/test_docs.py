"""docs/websocket.md says what the code does: examples, errors, close codes, capabilities."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from bus.wsbridge.actions import Refusal, parse_request
from bus.wsbridge.inquiries import CAPABILITIES
from bus.wsbridge.messages import CLOSE_REASONS, ERRORS, encode
from bus.wsbridge.messages.control import (
    Connection,
    Error,
    Gap,
    Heartbeat,
    Pong,
    Reset,
    SnapshotEnd,
)
from bus.wsbridge.messages.requests import REQUEST_TYPES
from bus.wsbridge.routes import Options
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


def test_every_kind_of_message_and_every_action_has_an_example() -> None:
    shown = {str(example.get("type")) for example in EXAMPLES} - {"None"}
    assert shown == {
        "price", "quote", "orderbook", "trade", "ticker", "news", "connection", "subscription",
        "list", "pong", "snapshot_end", "status", "gap", "reset", "heartbeat", "error",
    }  # fmt: skip
    assert {one["action"] for one in EXAMPLES if "type" not in one} == set(REQUEST_TYPES)
    scopes = {one["scope"] for one in EXAMPLES if one.get("type") == "status"}
    assert scopes == {"feed", "topic", "connection"}
    statuses = {one["status"] for one in EXAMPLES if one.get("type") == "connection"}
    (field,) = (f for f in msgspec.structs.fields(Connection) if f.name == "status")
    assert statuses == set(get_args(field.type))
    actions = {one["action"] for one in EXAMPLES if one.get("type") == "subscription"}
    assert actions == {"subscribed", "unsubscribed"}


def test_every_option_of_the_url_is_in_the_table() -> None:
    for option in {one.name for one in dataclasses.fields(Options)} - {"problems"}:
        assert f"| `{option}=" in TEXT, option


@pytest.mark.parametrize("kind", [Error, Gap, Heartbeat, Pong, SnapshotEnd, Reset])
def test_encoding_is_what_the_examples_show(kind: type[Any]) -> None:
    name = kind.__struct_config__.tag
    example = next(one for one in EXAMPLES if one.get("type") == name)
    message = msgspec.json.decode(json.dumps(example), type=kind)
    assert json.loads(encode(message)) == example


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
