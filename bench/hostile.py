"""What hostile clients cost everybody else: ``python -m bench.hostile``.

A hundred well-behaved clients follow 20 topics of trades through a real broker and a real bridge
while others misbehave, one kind at a time: some never read, some read a byte a second, 800 open a
handshake and finish none, 2,000 reconnect in the same moment and ask for what they missed. For each
kind: the delay of the well-behaved ones (due time to client read), messages they missed, how long a
newcomer's handshake takes, and the bridge's memory before and at its worst.

The bridge has one core, everything else the other, so figures are what one bridge process does;
on a machine whose cores are busy they are worse.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from websockets.sync.client import connect

from bench.fanout.native import compiled
from bench.fanout.servers import TOPICS, Server, Stage, bridge
from bench.fanout.talk import await_ready, cpu_s, run, say, start
from bench.fuzz import frame, request_of
from bench.peers.rivals import NotHere
from bench.rig import allow_files, end_on_sigterm, machine, pss_bytes, symbols_of, two_sides

WATCH_EVERY_S = 0.1
STORM_TOPICS = 5
RECEIVE_BUFFER_BYTES = 4_096
NAMES = [f"trades.{name}" for name in symbols_of(TOPICS)]


Hostile = Callable[[int, "Given"], contextlib.AbstractContextManager[None]]
"""Misbehaves while the block runs."""


@dataclass(frozen=True, slots=True)
class Given:
    """The sizes of the run."""

    clients: int
    ticks_per_s: int
    seconds: int
    slow: int
    half_open: int
    storm: int


@dataclass(slots=True)
class Seen:
    """What the watching thread saw while a phase ran."""

    most_bytes: int = 0
    handshakes_ms: tuple[float, ...] = ()
    refused: int = 0


# ---------------------------------------------------------------------- the hostile ones


def joined(port: int) -> socket.socket:
    """A client with a small receive buffer that has asked for everything."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    client.connect(("127.0.0.1", port))
    client.sendall(request_of())
    head = b""
    while b"\r\n\r\n" not in head:
        more = client.recv(1)
        if not more:
            raise NotHere("the bridge refused a client")
        head += more
    client.sendall(frame(json.dumps({"action": "subscribe", "topics": NAMES}).encode()))
    return client


@contextlib.contextmanager
def never_read(port: int, given: Given) -> Iterator[None]:
    """Clients that subscribe and never read."""
    clients = [joined(port) for _ in range(given.slow)]
    try:
        yield
    finally:
        for client in clients:
            client.close()


@contextlib.contextmanager
def trickle(port: int, given: Given) -> Iterator[None]:
    """Clients that read one byte a second."""
    clients = [joined(port) for _ in range(given.slow)]
    over = threading.Event()

    def read() -> None:
        while not over.wait(1.0):
            for client in clients:
                with contextlib.suppress(OSError):
                    client.recv(1, socket.MSG_DONTWAIT)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        for client in clients:
            client.close()


@contextlib.contextmanager
def half_open(port: int, given: Given) -> Iterator[None]:
    """Handshakes that come a byte in half a second; who is cut off begins again."""
    request = request_of()
    over = threading.Event()
    places: list[tuple[socket.socket, int]] = []

    def drip() -> None:
        while not over.wait(0.5):
            for number, (client, sent) in enumerate(places):
                try:
                    client.send(request[sent : sent + 1])
                    places[number] = (client, min(sent + 1, len(request) - 5))
                except OSError:
                    client.close()
                    places[number] = (_open(port), 0)

    places += [(_open(port), 0) for _ in range(given.half_open)]
    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        for client, _ in places:
            client.close()


def _open(port: int) -> socket.socket:
    client = socket.socket()
    client.connect(("127.0.0.1", port))
    client.setblocking(False)
    return client


@contextlib.contextmanager
def nobody(port: int, given: Given) -> Iterator[None]:
    """Nothing hostile: the figures to compare with."""
    yield


# ---------------------------------------------------------------------- watching


@contextlib.contextmanager
def watched(server: Server) -> Iterator[Seen]:
    """Look at the bridge's memory and try handshakes while the block runs."""
    seen = Seen()
    over = threading.Event()
    took_ms: list[float] = []

    def watch() -> None:
        while not over.wait(WATCH_EVERY_S):
            seen.most_bytes = max(seen.most_bytes, pss_bytes(server.pid))
            began = time.monotonic()
            try:
                with socket.create_connection(("127.0.0.1", int(server.port)), 10) as client:
                    client.sendall(request_of())
                    if b" 101 " not in client.recv(4_096):
                        seen.refused += 1
                        continue
            except OSError:
                seen.refused += 1
                continue
            took_ms.append((time.monotonic() - began) * 1e3)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
        seen.handshakes_ms = tuple(took_ms)


def positions(port: int) -> dict[str, dict[str, object]]:
    """Where each topic stands, as a client that is about to lose its connection knows it."""
    with connect(f"ws://127.0.0.1:{port}/ws/v1/") as client:
        client.send(json.dumps({"action": "subscribe", "topics": NAMES[:STORM_TOPICS]}))
        while True:
            message = json.loads(client.recv(10))
            if message["type"] == "subscription":
                break
    return {
        entry["topic"]: {"epoch": entry["epoch"], "seq": entry["seq"]}
        for entry in message["topics"]
    }


def storm(stage: Stage, server: Server, given: Given, told: list[str]) -> None:
    """Everybody at once, with ``since``; appends how it went."""
    known = positions(int(server.port))
    time.sleep(1.0)  # what they miss
    join = Path(stage.run_dir) / "storm.json"
    request = {"action": "subscribe", "topics": list(known), "since": known}
    join.write_text(json.dumps(request))
    began = time.monotonic()
    command = [str(compiled("client")), "-p", server.port, "-n", str(given.storm)]
    command += ["-k", str(given.storm), "-u", "/ws/v1/", "-j", str(join), "-t", "trade"]
    with contextlib.ExitStack() as stack:
        own = Stage(stack, stage.run_dir, False, 0, stage.cores)
        client = start(own, command)
        try:
            await_ready(client, own)
            took_s = time.monotonic() - began
            counts = say(client, "read")
            told.append(
                f"all had joined after {took_s:.1f} s, {counts['messages']:,} messages by then"
            )
        except NotHere as why:
            told.append(str(why))


# ---------------------------------------------------------------------- the run


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 1 when well-behaved clients missed a message or were cut off."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.hostile",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--clients", type=int, default=100, help="well-behaved ones (100)")
    parser.add_argument("--ticks-per-s", type=int, default=1_000, help="trades in (1,000)")
    parser.add_argument("--seconds", type=int, default=8, help="length of each phase (8)")
    parser.add_argument("--slow", type=int, default=1, help="clients that hardly read (1)")
    parser.add_argument("--half-open", type=int, default=800, help="unfinished handshakes (800)")
    parser.add_argument("--storm", type=int, default=2_000, help="clients that reconnect (2,000)")
    given = Given(**vars(parser.parse_args(argv)))
    allow_files(given.clients + given.half_open + given.storm + 1_000)
    end_on_sigterm()
    print(machine(("uvloop", "websockets", "pyzmq", "msgspec")))
    print(
        f"load:    {given.ticks_per_s:,} trades/s over {TOPICS} topics to {given.clients} clients "
        f"that follow all of them; {given.seconds} s a phase"
    )
    with contextlib.ExitStack() as stack:
        run_dir = stack.enter_context(tempfile.TemporaryDirectory(prefix="mdb-"))
        stage = Stage(stack, run_dir, False, 20_000, two_sides())
        server = bridge(stage, stream="trades")
        command = [str(compiled("client")), "-p", server.port, "-n", str(given.clients)]
        client = start(stage, [*command, *server.client, "-t", "trade"])
        await_ready(client, stage)
        module = [sys.executable, "-m", "bench.fanout.publisher"]
        publisher = start(stage, [*module, *server.publish, str(TOPICS), "trades"])
        await_ready(publisher, stage)
        order = {"ticks_per_s": given.ticks_per_s, "burst": 1, "topics": TOPICS}
        run(client, publisher, {**order, "seconds": 2}, given.clients)
        print(
            f"\n{'':<22}{'p50':>8}{'p99':>8}{'p99.9':>8}{'max ms':>9}{'missed':>8}"
            f"{'MB before':>11}{'worst':>7}{'handshake ms':>14}{'max':>8}{'refused':>9}{'CPU %':>7}"
        )
        failed = False
        phases: list[tuple[str, Hostile]] = [
            ("nobody hostile", nobody),
            (f"{given.slow} never reading", never_read),
            (f"{given.slow} at 1 byte/s", trickle),
            (f"{given.half_open} half-open", half_open),
            (f"{given.storm} reconnecting", nobody),
            ("afterwards", nobody),
        ]
        for name, hostile in phases:
            before = pss_bytes(server.pid)
            cpu, began = cpu_s(server.pids()), time.monotonic()
            say(client, "latency")
            told: list[str] = []
            with watched(server) as seen, hostile(int(server.port), given):
                storming = None
                if "reconnecting" in name:
                    storming = threading.Thread(target=storm, args=(stage, server, given, told))
                    storming.start()
                got = run(client, publisher, {**order, "seconds": given.seconds}, given.clients)
                if storming is not None:
                    storming.join()
            used = (cpu_s(server.pids()) - cpu) / (time.monotonic() - began)
            delays = say(client, "latency")
            missed = got["expected"] - got["messages"]
            failed = failed or bool(missed)
            middle = statistics.median(seen.handshakes_ms) if seen.handshakes_ms else 0.0
            line = "".join(f"{delays[key] / 1e3:8.1f}" for key in ("p50_us", "p99_us", "p999_us"))
            print(
                f"{name:<22}{line}{delays['max_us'] / 1e3:9.1f}{missed:8,}"
                f"{before / 1e6:11.0f}{seen.most_bytes / 1e6:7.0f}{middle:14.1f}"
                f"{max(seen.handshakes_ms, default=0):8.0f}{seen.refused:9}{100 * used:7.0f}"
            )
            for word in told:
                print(f"{'':<22}{word}")
        left = say(client, "read")
        if left["gone"]:
            print(f"{left['gone']} well-behaved clients were cut off ({left['last_close']})")
            failed = True
        log = Path(stage.log.name).read_text()
        slow = log.count("slow client closed")
        print(f"\nthe bridge closed {slow} slow clients")
        errors = [line for line in log.splitlines() if " ERROR " in line or "client: " in line]
        for line in errors[:5]:
            print(f"logged: {line[:300]}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
