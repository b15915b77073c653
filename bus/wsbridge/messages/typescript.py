"""The messages as TypeScript types, made from the JSON Schema. ``/ws/mdbus.d.ts`` is this text."""

from __future__ import annotations

import json
from typing import Any

from bus.wsbridge.messages.schema import json_schema

_CLIENT = """\
/** Ends what was begun. */
export type Stop = () => void;

export interface Options {
  /** Offered to the server; default mdbus.v1.json. This client reads JSON only. */
  subprotocol?: string | string[];
  /** A token, or a function that gives one (it may be asynchronous) for each connection. */
  token?: string | (() => string | Promise<string>);
  /** The first delay before coming back, in ms; default 500. */
  minDelayMs?: number;
  /** The longest delay, in ms; default 30000. */
  maxDelayMs?: number;
  /** For tests, and where there is no global WebSocket. */
  WebSocket?: typeof WebSocket;
}

/** Said by the client itself, when nobody could recover what came while it was away. */
export interface Missed {
  type: "gap";
  topic: string;
  epoch: string;
  from: number;
  to: number;
  count: number;
  reason: "reconnect";
  timestamp: string;
}

/**
 * A connection that comes back by itself, subscribes again and recovers what was missed. A server
 * that is about to leave is left before it does: each message is shown once, in order.
 */
export declare class Mdbus {
  constructor(url: string, options?: Options);
  /** Want topics such as "price.BTC" or "price.*"; the options are those of `subscribe`. */
  subscribe(topics: string | string[], options?: Partial<Subscribe>): void;
  unsubscribe(topics: string | string[]): void;
  /** Listen to a message type, to "message" (all) or to "state". */
  on(kind: "state", listener: (state: "open" | "waiting" | "closed") => void): Stop;
  on(kind: string, listener: (message: ServerMessage | Missed) => void): Stop;
  send(request: ClientRequest): void;
  close(): void;
}
"""


def typescript() -> str:
    """All types, and the declaration of the client in ``mdbus.js``."""
    definitions: dict[str, Any] = json_schema()["$defs"]
    parts = ["// Made from the message definitions of mdbus. Unknown fields are to be ignored.\n"]
    for name, schema in definitions.items():
        if "description" in schema:
            parts.append(f"/** {schema['description'].replace('``', '`')} */")
        if schema.get("type") == "object":
            parts.append(f"export interface {name} {_object(schema)}\n")
        else:
            parts.append(f"export type {name} = {_type(schema)};\n")
    return "\n".join([*parts, _CLIENT])


def _object(schema: dict[str, Any], indent: str = "") -> str:
    required = set(schema.get("required", ()))
    lines = [
        f"{indent}  {json.dumps(name) if not name.isidentifier() else name}"
        f"{'' if name in required else '?'}: {_type(one, indent + '  ')};"
        for name, one in schema.get("properties", {}).items()
    ]
    return "{\n" + "\n".join(lines) + f"\n{indent}}}"


def _type(schema: dict[str, Any], indent: str = "") -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " | ".join(json.dumps(one) for one in schema["enum"])
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(_type(one, indent) for one in schema["anyOf"]))
    match schema.get("type"):
        case "string":
            return "string"
        case "integer" | "number":
            return "number"
        case "boolean":
            return "boolean"
        case "null":
            return "null"
        case "array":
            return _array(schema, indent)
        case "object":
            if "properties" in schema:
                return _object(schema, indent)
            inner = schema.get("additionalProperties", {})
            return f"Record<string, {_type(inner, indent) if inner else 'unknown'}>"
    return "unknown"


def _array(schema: dict[str, Any], indent: str) -> str:
    if "prefixItems" in schema:
        return "[" + ", ".join(_type(one, indent) for one in schema["prefixItems"]) + "]"
    inner = _type(schema.get("items", {}), indent)
    is_union = " | " in inner and not inner.startswith("[")
    return f"({inner})[]" if is_union else f"{inner}[]"
