"""Hostile bytes against a running bridge: ``python -m bench.fuzz --frames 5000000``.

Seeded sessions, many at once: each opens a connection, sends some thousand harmless frames (pings,
pongs, empty fragments, lengths written longer than needed) and then one thing that is wrong, whose
close code is known: bad masks and opcodes, broken fragmentation, control frames too long, bad
UTF-8, messages too large at once or by fragments, compressed bombs, requests that are no JSON, no
object, or an object of the wrong shape. Others break the handshake, or vanish in the middle of a
frame. Many frames go in one write and at random cuts.

Checked: the process lives and logs no failure of its own, every close code is the right one, its
memory after the first tenth grows by no more than a bound, and a well-behaved client beside it is
answered all the time. A failure names the seed and the session; ``--seed`` and ``--only`` repeat
it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from bench.rig import (
    cpu_s,
    end_on_sigterm,
    machine,
    process,
    pss_bytes,
    wait_for_line,
    wait_in_log,
    wait_until_ready,
    write_config,
)

CLOSED_WITHOUT_CODE = 1006
MAX_MESSAGE_BYTES = 65_536
AT_ONCE = 32
SESSION_S = 30.0
LONG_SHARE = 0.12
LONG_FRAMES = 8_000
CANARY_EVERY_S = 0.25
GROWTH_BYTES = 48_000_000
"""What the bridge may hold more at the end than after the first tenth: its allocator's slack."""

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10

# ---------------------------------------------------------------------- frames


def frame(
    payload: bytes,
    opcode: int = TEXT,
    *,
    fin: bool = True,
    rsv: int = 0,
    masked: bool = True,
    mask: bytes = b"\x5a\x01\xff\x80",
    claimed: int | None = None,
    width: int = 0,
) -> bytes:
    """A client's frame. ``claimed`` lies about the length, ``width`` (2 or 8 bytes) widens it."""
    length = len(payload) if claimed is None else claimed
    head = bytes((fin << 7 | rsv << 4 | opcode,))
    bit = masked << 7
    if width == 8 or length > 0xFFFF:
        head += bytes((bit | 127,)) + length.to_bytes(8, "big")
    elif width == 2 or length > 125:
        head += bytes((bit | 126,)) + length.to_bytes(2, "big")
    else:
        head += bytes((bit | length,))
    if not masked:
        return head + payload
    key = int.from_bytes((mask * (len(payload) // 4 + 1))[: len(payload)], "big")
    return head + mask + (int.from_bytes(payload, "big") ^ key).to_bytes(len(payload), "big")


def deflated(payload: bytes) -> bytes:
    """As permessage-deflate sends it: a raw stream without its last four bytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


HARMLESS = (
    *(frame(b"\xff" * size, PING) for size in (0, 1, 4, 125)),
    *(frame(b"\x00" * size, PONG) for size in (0, 1, 125)),
    frame(b"late", PONG, width=8),
    frame(b"", PING, width=2),
    frame(b"0123", PING, mask=b"\0\0\0\0"),
)
"""Frames that any client may send at any time, also between fragments."""

# ---------------------------------------------------------------------- sessions


@dataclass(frozen=True, slots=True)
class Session:
    """What one connection sends, and how it may end."""

    name: str
    request: bytes
    data: bytes
    frames: int
    codes: frozenset[int]
    vanishes: bool = False
    """Cut off by us: nothing is expected."""


def request_of(path: str = "/ws/v1/", *more: str) -> bytes:
    """A good handshake."""
    lines = (
        f"GET {path} HTTP/1.1",
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        *more,
    )
    return "\r\n".join((*lines, "", "")).encode("latin-1")


DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"
Wrong = tuple[str, bytes, set[int], int]
"""A name, the bytes, the close codes that are right, and how many frames they are."""


def _mask_or_opcode(rng: random.Random) -> Wrong:
    kind = rng.randrange(4)
    if kind == 0:
        return "unmasked", frame(b'{"action":"ping"}', masked=False), {1002}, 1
    if kind == 1:
        opcode = rng.choice((3, 4, 5, 6, 7, 11, 12, 13, 14, 15))
        return f"opcode {opcode}", frame(b"x", opcode), {1002}, 1
    if kind == 2:
        return "reserved bits", frame(b"x", rsv=rng.choice((1, 2, 3))), {1002}, 1
    return "binary", frame(rng.randbytes(9), BINARY), {1003}, 1


def _control(rng: random.Random) -> Wrong:
    kind = rng.randrange(6)
    if kind == 0:
        return "fragmented control", frame(b"", rng.choice((PING, CLOSE)), fin=False), {1002}, 1
    if kind == 1:
        return "long control", frame(b"x" * 126, rng.choice((PING, PONG, CLOSE))), {1002}, 1
    if kind == 2:
        return "one-byte close", frame(b"\x03", CLOSE), {1002}, 1
    if kind == 3:
        code = rng.choice((0, 999, 1004, 1005, 1006, 1015, 2_999, 5_000, 65_535))
        return f"close {code}", frame(code.to_bytes(2, "big"), CLOSE), {1002}, 1
    if kind == 4:
        return "close, bad UTF-8", frame(b"\x03\xe8\xff\xfe", CLOSE), {1002, 1007}, 1
    return "close 1000", frame(b"\x03\xe8", CLOSE), {1000}, 1


def _fragments(rng: random.Random) -> Wrong:
    kind = rng.randrange(3)
    if kind == 0:
        return "continues nothing", frame(b"x", 0), {1002}, 1
    empty = [frame(b"", 0, fin=False) for _ in range(rng.randrange(1, 200))]
    if kind == 1:
        parts = [frame(b'{"act', fin=False), *empty, frame(b'ion":1}', TEXT)]
        return "text between fragments", b"".join(parts), {1002}, len(parts)
    parts = [frame(b'{"action":', fin=False), *empty, rng.choice(HARMLESS), frame(b'"ping"}', 0)]
    done = frame(b"\x03\xe8", CLOSE)
    return "good fragments", b"".join((*parts, done)), {1000}, len(parts) + 1


def _size(rng: random.Random) -> Wrong:
    kind = rng.randrange(4)
    if kind == 0:
        return "64 KiB + 1", frame(b" " * (MAX_MESSAGE_BYTES + 1)), {1009}, 1
    if kind == 1:
        claimed = rng.choice((MAX_MESSAGE_BYTES + 1, 1 << 31, (1 << 63) - 1))
        return "claims too much", frame(b"abc", claimed=claimed), {1009}, 1
    if kind == 2:
        return "claims 2^63", frame(b"abc", claimed=1 << 63), {1002, 1009}, 1
    piece = frame(b" " * 16_000, 0, fin=False)
    return "too large by fragments", frame(b"[", fin=False) + piece * 5, {1009}, 6


def _utf8(rng: random.Random) -> Wrong:
    bad = rng.choice((b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"))
    text = b'{"action":"' + bad + b'"}'
    if rng.random() < 0.5:
        cut = rng.randrange(1, len(text))
        parts = frame(text[:cut], fin=False) + frame(text[cut:], 0)
        return "bad UTF-8 in fragments", parts, {1007}, 2
    return "bad UTF-8", frame(text), {1007}, 1


def _no_json(rng: random.Random) -> Wrong:
    texts = (
        b"",
        b"{",
        b"[" * 20_000,
        b'{"a":' * 8_000,
        b"null",
        b"1e999",
        b"NaN",
        b'"text"',
        b'{"action":}',
        b"\x00",
        b'{"action":"ping"}}',
        b"9" * 5_000,
        b'"\\ud800"',
        b'{"action":null}',
        b'{"action":["subscribe"]}',
    )
    parts = [frame(rng.choice(texts)) for _ in range(12)]
    return "no requests", b"".join(parts), {4500}, len(parts)


_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1 << 53, 1 << 63, 1 << 70, 0.5, 1e308, "", "x" * 1_000, "price.BTC",
    "price.*", "*", "*.*", "BTC", "BTC@binance", "@", "#", ".", "price.", ".BTC", "orderbook.BTC",
    "orderbook.BTC#delta", "\x00", "\u2028", "é" * 90, "\ud800", [], {}, [[]], [{}], ["BTC"] * 100,
    ["price.BTC", "price.BTC"], {"price.BTC": {"epoch": "x", "seq": 1}}, {"": []}, 1_000, 250,
)  # fmt: skip
_FIELDS = (
    "symbols", "symbol", "stream_type", "topics", "snapshot", "conflate_ms", "depth", "book",
    "history", "since", "on_slow", "numbers", "allow_pending", "id", "ts", "all", "feeds",
    "batch_ms", "heartbeat_ms", "events", "token", "unknown",
)  # fmt: skip
_ACTIONS = ("subscribe", "unsubscribe", "list", "ping", "snapshot", "status", "set", "replay", "x")


def _requests(rng: random.Random) -> Wrong:
    parts = []
    for _ in range(8):
        request = {"action": rng.choice(_ACTIONS)}
        for name in rng.sample(_FIELDS, rng.randrange(5)):
            request[name] = rng.choice(_VALUES)
        text = bytearray(json.dumps(request).encode())
        if rng.random() < 0.2:
            text[rng.randrange(len(text))] = rng.randrange(128)
        parts.append(frame(bytes(text)))
    done = frame(b"\x03\xe8", CLOSE)
    return "shapes of requests", b"".join((*parts, done)), {1000, 4500, 4501}, len(parts) + 1


def _compressed(rng: random.Random) -> Wrong:
    kind = rng.randrange(4)
    if kind == 0:
        bomb = deflated(b" " * rng.choice((MAX_MESSAGE_BYTES + 1, 1 << 20, 1 << 24)))
        return "bomb", frame(bomb[:MAX_MESSAGE_BYTES], rsv=4), {1009}, 1
    if kind == 1:
        return "bad stream", frame(b"\xff" * 40, rsv=4), {1002, 1007}, 1
    if kind == 2:
        return "compressed control", frame(b"", PING, rsv=4), {1002}, 1
    whole = deflated(b'{"action":"ping"}')
    parts = frame(whole[:3], fin=False, rsv=4) + frame(whole[3:], 0, rsv=4)
    return "compressed continuation", parts, {1002}, 2


WRONGS: tuple[Callable[[random.Random], Wrong], ...] = (
    _mask_or_opcode,
    _control,
    _fragments,
    _size,
    _utf8,
    _no_json,
    _requests,
    _compressed,
)


def _handshake(rng: random.Random) -> Session:
    good = request_of()
    kind = rng.randrange(10)
    broken = (
        rng.randbytes(rng.randrange(1, 2_000)) + b"\r\n\r\n",
        good.replace(b"13", b"12"),
        good.replace(b"AAAAAAAAAAAAAAAAAAAAAA==", b"c2hvcnQ="),
        good.replace(b"GET", b"POST"),
        good.replace(b"HTTP/1.1", b"HTTP/1.0"),
        good.replace(b"Upgrade: websocket\r\n", b""),
        request_of("/" + "x" * 20_000),
        request_of("/ws/v1/", "X: " + "y" * 20_000),
        request_of("/ws/v1/", *[f"X-{number}: y" for number in range(400)]),
        bytes(byte ^ (rng.random() < 0.02) for byte in good[:-4]) + b"\r\n\r\n",
    )[kind]
    codes = frozenset({CLOSED_WITHOUT_CODE, 1000, *range(400, 432), 505})
    return Session(f"handshake {kind}", broken, frame(b"\x03\xe8", CLOSE), 1, codes)


def session_of(seed: int, number: int, long_frames: int = LONG_FRAMES) -> Session:
    """The session ``number`` of a seed: the same whenever it is asked for.

    One in eight has up to ``long_frames`` harmless frames before its fault.
    """
    rng = random.Random(f"{seed}/{number}")
    if rng.random() < 0.06:
        return _handshake(rng)
    make = rng.choice(WRONGS)
    name, wrong, codes, frames = make(rng)
    more: list[str] = [DEFLATE] if make is _compressed else []
    count = rng.randrange(long_frames) if rng.random() < LONG_SHARE else rng.randrange(20)
    data = b"".join(rng.choices(HARMLESS, k=count)) + wrong
    if make is _compressed:
        codes = codes | {1002}  # where compression is off, its bit is a reserved one
    if rng.random() < 0.05:
        cut = data[: rng.randrange(len(data) + 1)]
        return Session("vanishes", request_of(), cut, count, frozenset(), vanishes=True)
    if codes <= {1002, 1009} and rng.random() < 0.3:
        # Nothing behind such a fault matters. What a request ends with is decided later than the
        # frames of the same read are parsed: there a fault behind it would come first.
        data += rng.randbytes(rng.randrange(400))
    return Session(name, request_of("/ws/v1/", *more), data, count + frames, frozenset(codes))


# ---------------------------------------------------------------------- the driver


@dataclass(slots=True)
class Outcome:
    """What all sessions came to."""

    frames: int = 0
    sessions: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    slowest_answer_s: float = 0.0


async def _end_of(reader: asyncio.StreamReader) -> int:
    """The HTTP status that refused the handshake, the close code, or 1006."""
    rest = b""
    is_open = False
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1 << 18):
            rest += data
            if not is_open:
                head, end, after = rest.partition(b"\r\n\r\n")
                if not end:
                    continue
                status = int(head.split(b" ", 2)[1])
                if status != 101:
                    return status
                is_open, rest = True, after
            at, size = 0, len(rest)
            while size - at >= 2:
                length, head_size = rest[at + 1], 2
                if length == 126:
                    length, head_size = int.from_bytes(rest[at + 2 : at + 4], "big"), 4
                elif length == 127:
                    length, head_size = int.from_bytes(rest[at + 2 : at + 10], "big"), 10
                if size - at < head_size + length:
                    break
                if rest[at] & 15 == CLOSE:
                    body = rest[at + head_size : at + head_size + 2]
                    return int.from_bytes(body, "big") if body else 1005
                at += head_size + length
            rest = rest[at:]
    return CLOSED_WITHOUT_CODE


async def _play(session: Session, port: int, rng: random.Random) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        cut = rng.randrange(len(session.data) + 1)
        writer.write(session.request + session.data[:cut])
        writer.write(session.data[cut:])
        if session.vanishes:
            with contextlib.suppress(ConnectionError):
                await writer.drain()
            return 0
        return await _end_of(reader)
    finally:
        raw = writer.get_extra_info("socket")
        if raw is not None and rng.random() < 0.5:  # half leave with a reset
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()


async def _canary(port: int, outcome: Outcome) -> None:
    """A well-behaved client: it must be answered, whatever the others do."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    subscribe = b'{"action":"subscribe","symbols":["BTC"]}'
    writer.write(request_of() + frame(subscribe))
    try:
        await reader.readuntil(b"\r\n\r\n")
        rest, number = b"", 0
        while True:
            number += 1
            asked = time.monotonic()
            # A pong nobody asked for answers the keepalive, whenever it asks.
            question = json.dumps({"action": "ping", "ts": number}).encode()
            writer.write(frame(b"", PONG) + frame(question))
            word = f'"ts":{number},'.encode()
            while word not in rest:
                data = await reader.read(65_536)
                if not data:
                    outcome.wrong.append("the well-behaved client was cut off")
                    return
                rest = rest[-64:] + data
            outcome.slowest_answer_s = max(outcome.slowest_answer_s, time.monotonic() - asked)
            await asyncio.sleep(CANARY_EVERY_S)
    finally:
        writer.transport.abort()


async def fuzz(
    port: int,
    *,
    seed: int,
    frames: int,
    at_once: int = AT_ONCE,
    long_frames: int = LONG_FRAMES,
    on_progress: Callable[[Outcome], None] = lambda outcome: None,
) -> Outcome:
    """Play sessions of ``seed`` until ``frames`` were sent. Stops early at the 20th wrong end."""
    outcome = Outcome()
    numbers = iter(range(1 << 62))
    canary = asyncio.create_task(_canary(port, outcome))

    async def worker() -> None:
        while outcome.frames < frames and len(outcome.wrong) < 20:
            number = next(numbers)
            session = session_of(seed, number, long_frames)
            rng = random.Random(f"{seed}/{number}/cuts")
            where = f"seed {seed}, session {number} ({session.name})"
            outcome.frames += session.frames
            outcome.sessions += 1
            try:
                code = await asyncio.wait_for(_play(session, port, rng), SESSION_S)
            except TimeoutError:
                outcome.wrong.append(f"{where}: no end after {SESSION_S:g} s")
                continue
            except OSError as error:
                outcome.wrong.append(f"{where}: {error}")
                return
            outcome.ends[f"{session.name}: {code}" if code else session.name] += 1
            if not session.vanishes and code not in session.codes:
                expected = "/".join(map(str, sorted(session.codes)[:4]))
                outcome.wrong.append(f"{where}: ended with {code}, not {expected}")
            on_progress(outcome)

    await asyncio.gather(*(worker() for _ in range(at_once)))
    if canary.done():
        outcome.wrong.append("the well-behaved client was not served to the end")
    canary.cancel()
    await asyncio.gather(canary, return_exceptions=True)
    return outcome


# ---------------------------------------------------------------------- the program


def main(argv: Sequence[str] | None = None) -> int:
    """Run against a bridge of its own; 1 when anything was not as it should be."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--frames", type=int, default=200_000, help="frames to send (200,000)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the sessions (1)")
    parser.add_argument("--only", type=int, help="play this session of the seed and show it")
    given = parser.parse_args(argv)
    end_on_sigterm()
    print(machine(("uvloop", "websockets")))
    with contextlib.ExitStack() as stack:
        run_dir = stack.enter_context(tempfile.TemporaryDirectory(prefix="mdb-"))
        config = write_config(run_dir, 4, 'compression = "on"')
        settings = ["--config", str(config), "--name"]
        log = stack.enter_context((Path(run_dir) / "log.txt").open("w+"))
        broker = stack.enter_context(
            process("bus.broker", *settings, "broker", stderr=subprocess.PIPE)
        )
        wait_for_line(broker.stderr, " ready ")
        bridge = stack.enter_context(
            process("bus.wsbridge", *settings, "bridge.1", stderr=log.fileno())
        )
        pattern = r"ready http=http://[^:]+:(\d+)\s"
        port = int(wait_in_log(Path(log.name), pattern, bridge)[1])
        wait_until_ready(str(port))
        if given.only is not None:
            session = session_of(given.seed, given.only)
            rng = random.Random(f"{given.seed}/{given.only}/cuts")
            code = uvloop.run(_play(session, port, rng))
            print(session.name, "right:", sorted(session.codes), "ended with:", code)
            return int(code not in session.codes)
        memory: list[int] = []
        shown_s = time.monotonic()

        def on_progress(outcome: Outcome) -> None:
            nonlocal shown_s
            if not memory and outcome.frames >= given.frames // 10:
                memory.append(pss_bytes(bridge.pid))
            if time.monotonic() - shown_s > 10:
                shown_s = time.monotonic()
                print(f"  {outcome.frames:,} frames, {pss_bytes(bridge.pid) / 1e6:.0f} MB")

        began, before = time.monotonic(), cpu_s(bridge.pid)
        outcome = uvloop.run(
            fuzz(port, seed=given.seed, frames=given.frames, on_progress=on_progress)
        )
        took_s = time.monotonic() - began
        if bridge.poll() is None:
            used_s = cpu_s(bridge.pid) - before
            wait_until_ready(str(port))
            grown = pss_bytes(bridge.pid) - (memory or [0])[0]
            print(
                f"{outcome.frames:,} frames in {outcome.sessions:,} sessions, {took_s:.0f} s, "
                f"{used_s / outcome.frames * 1e6:.1f} µs of the bridge's CPU a frame; "
                f"the other client waited {outcome.slowest_answer_s * 1000:.0f} ms at most; "
                f"{(memory or [0])[0] / 1e6:.0f} MB after a tenth, {grown / 1e6:+.1f} MB at the end"
            )
            if grown > GROWTH_BYTES:
                outcome.wrong.append(f"memory grew by {grown:,} bytes")
        else:
            outcome.wrong.append(f"the bridge ended with exit code {bridge.returncode}")
        failures = [
            line
            for line in Path(log.name).read_text().splitlines()
            if "request failed" in line or "Traceback" in line or " ERROR " in line
        ]
        outcome.wrong += [f"the bridge logged: {line[:300]}" for line in failures[:5]]
    for end, times in sorted(outcome.ends.items()):
        print(f"  {times:8,} {end}")
    for line in outcome.wrong[:20]:
        print(f"WRONG: {line}")
    print("everything ended as it should" if not outcome.wrong else "see WRONG above")
    return int(bool(outcome.wrong))


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main())
