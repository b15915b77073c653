"""Records of every kind, made up by hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from bus.capture import (
    MAGIC,
    Again,
    BlockEncoder,
    Closed,
    Decoder,
    Exchange,
    Frame,
    Head,
    Hole,
    Opened,
    Record,
    Sent,
)
from bus.capture.records import encode

times = st.integers(0, 2**62)
connections = st.integers(0, 2**32 - 1)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
tables = st.dictionaries(texts, texts, max_size=3)
bodies = st.binary(max_size=300)

records: st.SearchStrategy[Record] = st.one_of(
    st.builds(Frame, times, connections, bodies),
    st.builds(Sent, times, connections, bodies),
    st.builds(Again, times, connections, bodies),
    st.builds(Opened, times, connections, texts, texts, st.booleans(), st.booleans()),
    st.builds(Closed, times, connections, st.integers(0, 4999), texts, texts),
    st.builds(Exchange, times, connections, texts, tables, st.integers(0, 599), tables, bodies),
    st.builds(Hole, times, connections, st.integers(0, 10**9), st.integers(0, 10**12), texts),
    st.builds(
        Head,
        times,
        connections,
        texts,
        texts,
        times,
        st.integers(1, 10**6),
        st.booleans(),
        st.lists(texts, max_size=3).map(tuple),
        st.dictionaries(texts, st.one_of(texts, st.integers(-(2**53), 2**53)), max_size=3),
    ),
)
blocks = st.lists(st.lists(records, min_size=1, max_size=6), min_size=1, max_size=6)


def write(content: list[list[Record]]) -> tuple[bytes, list[int]]:
    """A file with one block for each list, and where each block ends."""
    encoder = BlockEncoder()
    data, ends = MAGIC, []
    for block in content:
        data += encoder.block(b"".join(map(encode, block)))
        ends.append(len(data))
    return data, ends


def read(data: bytes, portion: int = 1 << 20) -> tuple[list[Record], Decoder]:
    """Every record of a file, read in portions of that many bytes."""
    decoder = Decoder()
    found = [
        record
        for start in range(0, len(data), portion)
        for record in decoder.feed(data[start : start + portion])
    ]
    return found + list(decoder.finish()), decoder
