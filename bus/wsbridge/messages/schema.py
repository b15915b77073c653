"""The messages as JSON Schema and as an AsyncAPI 3 document: made from the structs, never by hand.

Pure. ``/ws/schema.json`` and ``/ws/asyncapi.json`` are these texts. Objects are open, because
clients must ignore what they do not know; the test-suite closes them and holds every message it
sees against them.
"""

from __future__ import annotations

import typing
from functools import cache
from typing import Any, Literal

import msgspec

from bus.wsbridge.messages.control import (
    Connection,
    ConnectionStatus,
    Error,
    FeedStatus,
    Gap,
    Heartbeat,
    List,
    Pong,
    Reset,
    SnapshotEnd,
    Subscription,
    TopicStatus,
)
from bus.wsbridge.messages.data import (
    DataMessage,
    NewsData,
    OrderBookData,
    PriceData,
    QuoteData,
    TickerData,
    TradeData,
)
from bus.wsbridge.messages.requests import REQUEST_TYPES
from bus.wsbridge.messages.tables import ERRORS

PROTOCOL_VERSION = "1"

_PAYLOADS: dict[str, Any] = {
    "price": PriceData,
    "quote": QuoteData,
    "orderbook": OrderBookData,
    "trade": TradeData,
    "ticker": TickerData,
    "news": NewsData,
}

CONTROL_TYPES: tuple[Any, ...] = (
    Connection, Subscription, List, Pong, SnapshotEnd, FeedStatus, TopicStatus, ConnectionStatus,
    Gap, Reset, Heartbeat, Error,
)  # fmt: skip

_NOT_PROMISED: dict[str, tuple[str, ...]] = {
    **{payload.__name__: ("recv_us",) for payload in _PAYLOADS.values()},
    "Limits": ("buffered_bytes", "max_history", "wildcard_cost"),
}
"""Fields that this server always sends and the protocol does not ask of every server."""

_REF = "#/$defs/{name}"


def _data_types() -> list[Any]:
    """One struct for each type of data message, with its payload."""
    hints = typing.get_type_hints(DataMessage)
    made: list[Any] = []
    for name, payload in _PAYLOADS.items():
        fields: list[Any] = []
        for field in msgspec.structs.fields(DataMessage):
            kind = {"type": Literal[name], "data": payload}.get(field.name, hints[field.name])
            if field.required:
                fields.append((field.name, kind))
            else:
                fields.append((field.name, kind, field.default))
        title = f"{name.capitalize()}Message"
        doc = {"__doc__": f"One message of type ``{name}``."}
        made.append(msgspec.defstruct(title, fields, kw_only=True, namespace=doc))
    return made


@cache
def _definitions() -> tuple[dict[str, Any], list[str], list[str]]:
    """All schemas by name, the names of the server's messages and of the client's requests."""
    types = [*_data_types(), *CONTROL_TYPES]
    requests = list(REQUEST_TYPES.values())
    schemas, definitions = msgspec.json.schema_components([*types, *requests], ref_template=_REF)
    names = [schema["$ref"].rpartition("/")[2] for schema in schemas]
    server, client = names[: len(types)], names[len(types) :]
    for action, name in zip(REQUEST_TYPES, client, strict=True):
        request = definitions[name]
        request["properties"] = {"action": {"const": action}, **request["properties"]}
        request["required"] = ["action", *request.get("required", ())]
    definitions["Error"]["properties"]["code"] = {"enum": list(ERRORS)}
    for name, fields in _NOT_PROMISED.items():
        required = definitions[name]["required"]
        definitions[name]["required"] = [one for one in required if one not in fields]
    for definition in definitions.values():
        definition.pop("title", None)
        if "description" in definition:
            definition["description"] = " ".join(definition["description"].split())
    return definitions, server, client


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of every message: ``ServerMessage`` and ``ClientRequest``."""
    definitions, server, client = _definitions()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mdbus WebSocket messages",
        "description": f"Protocol version {PROTOCOL_VERSION}. Unknown fields are ignored.",
        "anyOf": [{"$ref": "#/$defs/ServerMessage"}, {"$ref": "#/$defs/ClientRequest"}],
        "$defs": {
            "ServerMessage": {"anyOf": [{"$ref": _REF.format(name=name)} for name in server]},
            "ClientRequest": {"anyOf": [{"$ref": _REF.format(name=name)} for name in client]},
            **dict(sorted(definitions.items())),
        },
    }


_CHANNELS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "multi": ("/ws/v1/", "Any number of topics, by actions.", ()),
    "legacyMulti": ("/ws/market-multi/", "The same under its legacy name.", ()),
    "market": (
        "/ws/market/{symbol}/{stream_type}/",
        "One fixed topic, subscribed at once.",
        ("symbol", "stream_type"),
    ),
    "news": ("/ws/news/{category}/", "The news of one category.", ("category",)),
}


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3 document of the endpoints and their messages."""
    definitions, server, client = _definitions()
    messages = {
        name: {
            "name": name,
            "contentType": "application/json",
            "payload": {"$ref": f"#/components/schemas/{name}"},
        }
        for name in (*server, *client)
    }
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    for name, (address, text, parameters) in _CHANNELS.items():
        channels[name] = {
            "address": address,
            "description": text,
            "messages": {one: {"$ref": f"#/components/messages/{one}"} for one in messages},
        }
        if parameters:
            channels[name]["parameters"] = {one: {} for one in parameters}
        for verb, names in (("send", server), ("receive", client)):
            operations[f"{verb}_{name}"] = {
                "action": verb,
                "channel": {"$ref": f"#/channels/{name}"},
                "messages": [{"$ref": f"#/channels/{name}/messages/{one}"} for one in names],
            }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "mdbus WebSocket API",
            "version": PROTOCOL_VERSION,
            "description": "Market data to browsers. Subprotocols: mdbus.v1.json, "
            "mdbus.v1.msgpack; without one, the legacy messages.",
        },
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": _relocated(definitions)},
    }


def _relocated(value: Any) -> Any:
    """The same schemas with references into ``#/components/schemas``."""
    if isinstance(value, dict):
        return {
            key: one.replace("#/$defs/", "#/components/schemas/")
            if key == "$ref"
            else _relocated(one)
            for key, one in value.items()
        }
    if isinstance(value, list):
        return [_relocated(one) for one in value]
    return value
