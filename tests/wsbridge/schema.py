"""Hold messages of the bridge against its own JSON Schema, strictly: no field it does not know."""

from __future__ import annotations

from functools import cache
from typing import Any

from bus.wsbridge.messages.schema import json_schema


@cache
def definitions() -> dict[str, Any]:
    """The schemas by name."""
    found: dict[str, Any] = json_schema()["$defs"]
    return found


_BY_TYPE = {
    "price": "PriceMessage", "quote": "QuoteMessage", "orderbook": "OrderbookMessage",
    "trade": "TradeMessage", "ticker": "TickerMessage", "news": "NewsMessage",
    "connection": "Connection", "subscription": "Subscription", "list": "List", "pong": "Pong",
    "snapshot_end": "SnapshotEnd", "gap": "Gap", "reset": "Reset", "heartbeat": "Heartbeat",
    "error": "Error",
}  # fmt: skip
_BY_SCOPE = {"feed": "FeedStatus", "topic": "TopicStatus", "connection": "ConnectionStatus"}


def check_message(message: Any) -> None:
    """Fails unless ``message`` (or each of an array) is one of the schema's server messages."""
    for one in message if isinstance(message, list) else [message]:
        kind = one["type"]
        name = _BY_SCOPE[one["scope"]] if kind == "status" else _BY_TYPE[kind]
        problems = list(faults(one, {"$ref": f"#/$defs/{name}"}, kind))
        assert not problems, f"{problems} in {one}"


def faults(value: Any, schema: dict[str, Any], where: str) -> list[str]:
    """What is wrong with a value; fields that the schema does not name are wrong, too."""
    if "$ref" in schema:
        return faults(value, definitions()[schema["$ref"].rpartition("/")[2]], where)
    if "anyOf" in schema:
        tries = [faults(value, one, where) for one in schema["anyOf"]]
        return [] if [] in tries else min(tries, key=len)
    if "const" in schema:
        return [] if value == schema["const"] else [f"{where} is not {schema['const']!r}"]
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{where}: {value!r} is none of the choices"]
    kind = schema.get("type")
    if kind is None:
        return []
    if not _is_a(value, kind):
        return [f"{where} is no {kind}: {value!r}"]
    if kind == "object":
        return _object_faults(value, schema, where)
    if kind == "array":
        kinds = schema.get("prefixItems")
        if kinds is not None and len(value) != len(kinds):
            return [f"{where} has {len(value)} items"]
        items = kinds or [schema.get("items", {})] * len(value)
        return [
            fault
            for index, (one, inner) in enumerate(zip(value, items, strict=True))
            for fault in faults(one, inner, f"{where}[{index}]")
        ]
    return []


def _object_faults(value: dict[str, Any], schema: dict[str, Any], where: str) -> list[str]:
    known = schema.get("properties")
    if known is None:
        inner = schema.get("additionalProperties", {})
        return [f for key, one in value.items() for f in faults(one, inner, f"{where}.{key}")]
    found = [
        f"{where}.{name} is missing" for name in schema.get("required", ()) if name not in value
    ]
    for key, one in value.items():
        if key in known:
            found += faults(one, known[key], f"{where}.{key}")
        else:
            found.append(f"{where}.{key} is not in the schema")
    return found


def _is_a(value: Any, kind: str) -> bool:
    if kind in ("integer", "number"):
        numbers = int if kind == "integer" else (int, float)
        return isinstance(value, numbers) and not isinstance(value, bool)
    types = {"string": str, "boolean": bool, "null": type(None), "array": list, "object": dict}
    return isinstance(value, types[kind])
