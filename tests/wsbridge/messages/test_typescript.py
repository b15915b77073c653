"""The TypeScript types name every message and every field of the schema."""

from __future__ import annotations

import re

from bus.wsbridge.messages.schema import json_schema
from bus.wsbridge.messages.typescript import typescript


def test_every_definition_is_a_type_with_its_fields() -> None:
    text = typescript()
    for name, schema in json_schema()["$defs"].items():
        body = re.search(rf"export (?:interface|type) {name}\b(.*?)\n(?:\n|$)", text, re.DOTALL)
        assert body, name
        for field in schema.get("properties", {}):
            assert re.search(rf"^  {field}\??: ", body[1], re.MULTILINE), (name, field)


def test_types_are_those_of_the_fields() -> None:
    text = typescript()
    assert "bids: [number | string, number | string][];" in text
    assert 'type: "gap";' in text
    assert "price: number | string;" in text
    assert "change: number | string | null;" in text
    assert "feeds: Record<string, FeedPulse>;" in text
    assert "  from: number;" in text
    assert text.count("{") == text.count("}")
