"""Recorded Binance traffic on disk: read line by line, every frame kept byte for byte.

A recording is one or more gzip files of lines ``<receive time ns> <raw JSON>``, in order. A line
whose JSON starts with ``lastUpdateId`` is a REST depth reply at the moment it arrived; every other
line is a WebSocket frame in the combined form, ``{"stream":…,"data":…}``.

Nothing is held in memory but the index and the REST replies, so a recording may be of any length.
"""

from __future__ import annotations

import gzip
import zlib
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec

from bus.errors import ConfigError
from bus.simulator.events import Trade
from bus.simulator.instruments import E8

_STREAM_PREFIX = b'{"stream":"'
_SNAPSHOT_PREFIX = b'{"lastUpdateId"'
_DATA_KEY = b'"data":'
NS_PER_MS: Final = 1_000_000
MAX_SNAPSHOTS = 64
"""REST replies kept; of a recording with more, the first ones."""
SETTING = "simulator.playback_files"


class DepthReply(msgspec.Struct):
    """A REST depth reply; prices and sizes stay the texts they were."""

    lastUpdateId: int  # noqa: N815 - the venue's key
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


class _Diff(msgspec.Struct):
    U: int
    u: int
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]


class _DiffFrame(msgspec.Struct):
    data: _Diff


_encode = msgspec.json.Encoder().encode
_decode_reply = msgspec.json.Decoder(DepthReply).decode
_decode_diff = msgspec.json.Decoder(_DiffFrame).decode


class _Trade(msgspec.Struct):
    t: int
    p: Decimal
    q: Decimal
    T: int
    m: bool


class _TradeFrame(msgspec.Struct):
    data: _Trade


_decode_trade = msgspec.json.Decoder(_TradeFrame).decode


@dataclass(frozen=True, slots=True)
class Line:
    """One recorded message: its number from 0, receive time, stream (``None``: a REST reply)."""

    position: int
    recv_ns: int
    stream: str | None
    raw: bytes

    @property
    def payload(self) -> bytes:
        """The frame without its combined wrapper, as a raw stream would carry it."""
        return self.raw[self.raw.index(_DATA_KEY) + len(_DATA_KEY) : -1]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A recorded REST depth reply and the place in the recording where it arrived."""

    position: int
    raw: bytes
    depth: DepthReply

    def cut(self, limit: int) -> bytes:
        """The reply for ``limit``: byte for byte as recorded unless fewer levels are asked for."""
        return self.raw if limit >= len(self.depth.bids) else cut(self.depth, limit)


def cut(depth: DepthReply, limit: int) -> bytes:
    """A depth reply with at most ``limit`` levels a side."""
    return _encode(DepthReply(depth.lastUpdateId, depth.bids[:limit], depth.asks[:limit]))


class Recording:
    """An indexed recording. Made by :meth:`open`; :meth:`lines` may run many times at once."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = tuple(files)
        self.streams: Counter[str] = Counter()
        self.snapshots: list[Snapshot] = []
        self.total = 0
        self.first_ns = self.last_ns = 0

    @classmethod
    def open(cls, files: Sequence[str | Path]) -> Recording:
        """Read all files once, check every line and index them.

        Raises :class:`ConfigError` naming file and line of whatever cannot be used.
        """
        if not files:
            raise ConfigError.of(SETTING, "no recording is named", hint="source is playback")
        recording = cls([Path(name) for name in files])
        for line in recording.lines():
            if line.position == 0:
                recording.first_ns = line.recv_ns
            recording.total = line.position + 1
            recording.last_ns = line.recv_ns
            if line.stream is not None:
                recording.streams[line.stream] += 1
            elif len(recording.snapshots) < MAX_SNAPSHOTS:
                recording.snapshots.append(Snapshot(line.position, line.raw, _reply(line)))
        if not recording.streams:
            raise ConfigError.of(SETTING, "the recording holds no WebSocket frame")
        if recording.snapshots and len(recording.symbols) > 1:
            raise ConfigError.of(
                SETTING,
                "the recording holds depth replies and several symbols "
                f"({', '.join(recording.symbols)}): a reply does not tell its symbol",
            )
        return recording

    @property
    def symbols(self) -> list[str]:
        """Symbols of the recorded streams, upper case, in order of appearance."""
        names = (stream.partition("@")[0].upper() for stream in self.streams)
        return list(dict.fromkeys(name for name in names if not name.startswith("!")))

    def lines(self) -> Iterator[Line]:
        """Every line in order. Raises :class:`ConfigError` as :meth:`open` does."""
        position = 0
        for path in self._files:
            try:
                with gzip.open(path, "rb") as file:
                    for number, text in enumerate(file, 1):
                        try:
                            yield _parse(text, position)
                        except ValueError as error:
                            raise ConfigError.of(
                                SETTING, f"line {number}: {error}", where=str(path)
                            ) from None
                        position += 1
            except (OSError, EOFError, zlib.error) as error:
                why = getattr(error, "strerror", None) or str(error)
                raise ConfigError.of(SETTING, f"cannot be read: {why}", where=str(path)) from error

    def book_at(self, position: int) -> DepthReply | None:
        """The book as the lines before ``position`` make it, or ``None`` before the first reply.

        Levels outside the recorded reply are known only as far as diffs have named them. Takes
        time in proportion to ``position``: not for an event loop.
        """
        past = [snapshot for snapshot in self.snapshots if snapshot.position < position]
        if not past:
            return None
        base = past[0].depth
        bids, asks = dict(base.bids), dict(base.asks)
        update_id = base.lastUpdateId
        for line in self.lines():
            if line.position >= position:
                break
            if line.stream is None or not line.stream.endswith("@depth@100ms"):
                continue
            diff = _decode_diff(line.raw).data
            if diff.u <= base.lastUpdateId:
                continue
            for side, changes in ((bids, diff.b), (asks, diff.a)):
                for price, size in changes:
                    if float(size) == 0:
                        side.pop(price, None)
                    else:
                        side[price] = size
            update_id = max(update_id, diff.u)
        return DepthReply(
            update_id,
            sorted(bids.items(), key=lambda level: -float(level[0])),
            sorted(asks.items(), key=lambda level: float(level[0])),
        )

    def trades_at(self, symbol: str, position: int, limit: int) -> list[Trade]:
        """The last ``limit`` trades of a symbol that the lines before ``position`` tell, in order.

        Takes time in proportion to ``position``: not for an event loop.
        """
        stream = f"{symbol.lower()}@trade"
        last: deque[Line] = deque(maxlen=limit)
        for line in self.lines():
            if line.position >= position:
                break
            if line.stream == stream:
                last.append(line)
        return [_trade(line) for line in last]


def _trade(line: Line) -> Trade:
    """Raises ConfigError."""
    try:
        told = _decode_trade(line.raw).data
    except msgspec.MsgspecError as error:
        where = f"message {line.position + 1} of the recording"
        raise ConfigError.of(SETTING, f"is no trade: {error}", where=where) from None
    return Trade(told.t, int(told.p * E8), int(told.q * E8), told.T * NS_PER_MS, told.m)


def _reply(line: Line) -> DepthReply:
    try:
        return _decode_reply(line.raw)
    except msgspec.MsgspecError as error:
        where = f"message {line.position + 1} of the recording"
        raise ConfigError.of(SETTING, f"is no depth reply: {error}", where=where) from None


def _parse(text: bytes, position: int) -> Line:
    stamp, space, raw = text.rstrip(b"\r\n").partition(b" ")
    if not space or not stamp.isdigit():
        raise ValueError("not of the form <receive time ns> <raw json>")
    if raw.startswith(_STREAM_PREFIX):
        end = raw.index(b'"', len(_STREAM_PREFIX))
        stream = raw[len(_STREAM_PREFIX) : end].decode()
        if not raw.startswith(b'",' + _DATA_KEY, end):
            raise ValueError('a frame must be {"stream":…,"data":…} without spaces')
        return Line(position, int(stamp), stream, raw)
    if raw.startswith(_SNAPSHOT_PREFIX):
        return Line(position, int(stamp), None, raw)
    raise ValueError("neither a combined WebSocket frame nor a REST depth reply")
