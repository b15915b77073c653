"""The schema is that of what is sent, and the AsyncAPI document refers to nothing that is not."""

from __future__ import annotations

from typing import Any

from bus.wsbridge.messages.requests import REQUEST_TYPES
from bus.wsbridge.messages.schema import asyncapi, json_schema
from tests.wsbridge.schema import faults


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if "$ref" in value else set()
        return own.union(*map(references, value.values()))
    if isinstance(value, list):
        return set().union(*map(references, value))
    return set()


def found(document: Any, reference: str) -> Any:
    for part in reference.removeprefix("#/").split("/"):
        document = document[part]
    return document


def test_every_reference_leads_somewhere() -> None:
    for document in (json_schema(), asyncapi()):
        assert references(document)
        for reference in references(document):
            assert found(document, reference) is not None


def test_every_action_is_a_request_with_its_name() -> None:
    definitions = json_schema()["$defs"]
    actions = {
        found(json_schema(), one["$ref"])["properties"]["action"]["const"]
        for one in definitions["ClientRequest"]["anyOf"]
    }
    assert actions == set(REQUEST_TYPES)


def test_the_schema_refuses_what_is_wrong() -> None:
    pong = {"type": "pong", "server_us": 1, "timestamp": "t"}
    schema = {"$ref": "#/$defs/Pong"}
    assert faults(pong, schema, "pong") == []
    assert faults({**pong, "server_us": "1"}, schema, "pong")
    assert faults({**pong, "nobody": 1}, schema, "pong")
    assert faults({"type": "pong"}, schema, "pong")
