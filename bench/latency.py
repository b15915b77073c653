"""Tick-to-WebSocket latency through a real broker and a real bridge: ``python -m bench.latency``.

A publisher process publishes on a fixed schedule, a client process holds all WebSocket
connections; broker and bridge run as in production. Latency is the time from the moment a message
was *due* to be published until the client's socket was read, so a stall anywhere counts in full for
every message it delayed (no coordinated omission). Everything runs on this one machine and competes
for its cores: compare runs on one machine, never figures of two. The bridge has a core of its own,
the others share the rest; with ``--no-pin`` the scheduler spreads them, and moves them about.

``--idle 10000`` measures twice: alone, and while so many more clients are connected (each holds a
topic that says nothing and gets heartbeats, from addresses of 127.0.1.0/24 and further), and what
each costs in memory; ``--rounds 3`` does so three times in turns, and shows the medians.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import psutil
import uvloop

from bench.fanout.native import compiled
from bench.rig import (
    NS,
    allow_files,
    cpu_s,
    machine,
    on_cores,
    process,
    pss_bytes,
    running,
    stolen_s,
    symbols_of,
    two_sides,
    wait_for_line,
    wait_until_ready,
    write_config,
)
from bus.client import Publisher
from bus.config import load
from bus.model import Price
from bus.model.topic import Topic

WARM_UP_S = 2.0
PUBLISH_EVERY_S = 0.0004
_DATA = b'{"type":"price"'
_DUE = b'"recv_us":'


# ---------------------------------------------------------------------- the publisher process


def publish(config: str, rate: int, topics: int, begin_ns: int, end_ns: int) -> None:
    """Publish ``rate`` messages/s in all, round robin, each due at its own moment."""
    publisher = Publisher(load(config).endpoints.publish)
    deadline = time.monotonic() + 10
    while not publisher.stats().attached:
        publisher.service()
        if time.monotonic() > deadline:
            sys.exit("the broker did not attach")
        time.sleep(0.01)
    writers = [publisher.writer(Topic.md("price", "sim", s)) for s in symbols_of(topics)]
    total = (end_ns - begin_ns) * rate // NS
    worst_ns = 0
    for number in range(total):
        due_ns = begin_ns + number * NS // rate
        early_ns = due_ns - time.time_ns()
        if early_ns > 0:
            # Sleeps this short take 60 µs more than asked; a few messages per wake-up, each counted
            # from its own due time, leave the core to those who are measured.
            time.sleep(max(early_ns / NS, PUBLISH_EVERY_S))
            early_ns = due_ns - time.time_ns()
        worst_ns = max(worst_ns, -early_ns)
        body = Price(50_000.0 + number % 100, 250.3, 0.5, 1_000_000.0)
        writers[number % topics].publish(body, venue_ts_ns=due_ns, recv_ts_ns=due_ns)
    stats = publisher.stats()
    publisher.close()
    print(json.dumps({"sent": total, "dropped": stats.dropped, "late_ms": worst_ns / 1e6}))


# ---------------------------------------------------------------------- the client process


class Tally:
    """What all connections received within the measured time."""

    def __init__(self, begin_ns: int, end_ns: int, sample_every: int) -> None:
        self.begin_ns = begin_ns
        self.end_ns = end_ns
        self.sample_every = sample_every
        self.frames = 0
        self.all_frames = 0
        self.reads = 0
        self.latencies_us: list[int] = []


class Client(asyncio.Protocol):
    """One connection: counts the frames it gets, reads the time of every so many-th."""

    def __init__(self, tally: Tally, topics: list[str], subscribed: asyncio.Event) -> None:
        self._tally = tally
        self._topics = topics
        self._subscribed = subscribed
        self._rest = b""
        self._is_open = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(
            b"GET /ws/market-multi/ HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )

    def data_received(self, data: bytes) -> None:
        now_ns = time.time_ns()
        if self._rest:
            data = self._rest + data
        start = 0
        if not self._is_open:
            start = data.find(b"\r\n\r\n") + 4
            if start < 4:
                self._rest = data
                return
            self._is_open = True
            self._send({"action": "subscribe", "topics": self._topics, "snapshot": False})
        tally = self._tally
        size = len(data)
        counts = tally.begin_ns <= now_ns < tally.end_ns
        tally.reads += counts
        while size - start >= 4:
            length, head = data[start + 1], 2
            if length == 126:
                length, head = data[start + 2] << 8 | data[start + 3], 4
            end = start + head + length
            if end > size:
                break
            if data.startswith(_DATA, start + head):
                tally.all_frames += 1
                if counts:
                    tally.frames += 1
                    if tally.frames % tally.sample_every == 0:
                        at = data.index(_DUE, start + head) + len(_DUE)
                        due_us = int(data[at : at + 16])
                        tally.latencies_us.append(now_ns // 1000 - due_us)
            elif data.startswith(b'{"type":"subscription"', start + head):
                self._subscribed.set()
            elif data[start] == 0x89:  # a ping of the keepalive
                assert self._transport is not None, "connected"
                self._transport.write(b"\x8a\x80\0\0\0\0")
            start = end
        self._rest = data[start:]

    def connection_lost(self, exc: Exception | None) -> None:
        if time.time_ns() < self._tally.end_ns:
            sys.exit(f"the bridge closed a connection: {exc}")

    def _send(self, request: dict[str, Any]) -> None:
        body = json.dumps(request).encode()
        head = bytes((0x81, 0xFE)) + len(body).to_bytes(2, "big") + b"\0\0\0\0"
        if len(body) < 126:
            head = bytes((0x81, 0x80 | len(body))) + b"\0\0\0\0"
        assert self._transport is not None, "connected"
        self._transport.write(head + body)


def _same(client: Client) -> Client:
    return client


def receive(port: int, args: argparse.Namespace, begin_ns: int, end_ns: int) -> None:
    """Hold every connection; print ``ready`` once all are subscribed, then the tally."""

    async def run() -> Tally:
        loop = asyncio.get_running_loop()
        tally = Tally(begin_ns, end_ns, max(1, args.per_client * args.rate // args.topics // 20))
        names = [f"price.{symbol}" for symbol in symbols_of(args.topics)]
        for number in range(args.clients):
            mine = [names[(number + k * 7) % len(names)] for k in range(args.per_client)]
            ready = asyncio.Event()
            client = Client(tally, mine, ready)
            await loop.create_connection(partial(_same, client), "127.0.0.1", port)
            await asyncio.wait_for(ready.wait(), 10)
        print("ready", flush=True)
        await asyncio.sleep(max(0.0, (end_ns - time.time_ns()) / NS) + 0.7)
        return tally

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        tally = runner.run(run())
    # Longer than a pipe holds: an unbuffered stdout (PYTHONUNBUFFERED) may write the half of it.
    with open(sys.stdout.fileno(), "w", closefd=False) as out:
        json.dump(
            {
                "frames": tally.frames,
                "all_frames": tally.all_frames,
                "reads": tally.reads,
                "latencies_us": tally.latencies_us,
            },
            out,
        )


# ---------------------------------------------------------------------- the conductor


@contextlib.contextmanager
def idle_clients(count: int, port: str, folder: str, quiet: str, bridge: int) -> Iterator[None]:
    """Hold ``count`` clients of a topic that says nothing; tell what they cost ``bridge``."""
    join = Path(folder) / "idle.json"
    join.write_text(json.dumps({"action": "subscribe", "topics": [f"price.{quiet}"]}))
    before, began = pss_bytes(bridge), time.monotonic()
    command = [str(compiled("client")), "-p", port, "-n", str(count), "-u", "/ws/market-multi/"]
    # Not asleep until something comes: on one machine the bridge would pay for waking it.
    command += ["-s", "mdbus.v1.json", "-j", str(join), "-w", '"action":"subscribed"', "-q", "2000"]
    with running(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
        assert client.stdout is not None, "a pipe was asked for"
        answer = client.stdout.readline().strip()
        if answer != "ready":
            sys.exit(f"the idle clients could not all join: {answer}")
        took_s, each = time.monotonic() - began, (pss_bytes(bridge) - before) / count
        print(
            f"idle:    {count:,} clients joined in {took_s:.1f} s; "
            f"{each / 1024:.1f} KiB of the bridge's memory each\n"
        )
        yield


def measure(args: argparse.Namespace, idle: int = 0) -> dict[str, float]:
    """One run; its percentiles in ms, and the bridge's CPU per frame in µs."""
    run_dir = tempfile.mkdtemp(prefix="mdb-")
    # One symbol more than is published: the topic that says nothing.
    most = f"max_connections = {args.clients + idle + 100}"
    config = write_config(run_dir, args.topics + 1, most)
    own = ("bench.latency", "--role")
    shared = [
        "--config", str(config), "--rate", str(args.rate), "--topics", str(args.topics),
        "--clients", str(args.clients), "--per-client", str(args.per_client),
    ]  # fmt: skip
    start = ["--config", str(config), "--name"]
    bridges, others = two_sides(pin=not args.no_pin)
    try:
        with contextlib.ExitStack() as held:
            with on_cores(bridges):
                command = process("bus.wsbridge", *start, "bridge.1", stderr=subprocess.PIPE)
                bridge = held.enter_context(command)
            held.enter_context(on_cores(others))
            command = process("bus.broker", *start, "broker", stderr=subprocess.PIPE)
            broker = held.enter_context(command)
            wait_for_line(broker.stderr, " ready ")
            port = wait_for_line(bridge.stderr, r"ready http=http://[^:]+:(\d+)")[1]
            wait_until_ready(port)
            if idle:
                quiet = symbols_of(args.topics + 1)[-1]
                held.enter_context(idle_clients(idle, port, run_dir, quiet, bridge.pid))
            connect_s = 2.0 + args.clients * 0.005
            begin_ns = time.time_ns() + int(connect_s * NS)
            measured_ns = begin_ns + int(WARM_UP_S * NS)
            end_ns = measured_ns + args.seconds * NS
            times = ["--begin", str(begin_ns), "--end", str(end_ns)]
            window = ["--begin", str(measured_ns), "--end", str(end_ns), "--port", port]
            with process(*own, "client", *shared, *window, stdout=subprocess.PIPE) as client:
                wait_for_line(client.stdout, "ready")
                if time.time_ns() > begin_ns:
                    sys.exit("the clients were not connected in time; use fewer")
                with process(*own, "publisher", *shared, *times, stdout=subprocess.PIPE) as sender:
                    time.sleep(max(0.0, (measured_ns - time.time_ns()) / NS))
                    pids = {"bridge": bridge.pid, "broker": broker.pid, "publisher": sender.pid,
                            "client": client.pid}  # fmt: skip
                    before = {name: cpu_s(pid) for name, pid in pids.items()}
                    stolen = stolen_s()
                    time.sleep(max(0.0, (end_ns - time.time_ns()) / NS))
                    spent = {name: cpu_s(pid) - before[name] for name, pid in pids.items()}
                    stolen = stolen_s() - stolen
                    rss = psutil.Process(bridge.pid).memory_info().rss
                    sent = json.loads(sender.communicate(timeout=20)[0])
                    got = json.loads(client.communicate(timeout=20)[0])
        return show(args, sent, got, spent, stolen, rss)
    finally:
        shutil.rmtree(run_dir, ignore_errors=True)


def show(
    args: argparse.Namespace,
    sent: dict[str, Any],
    got: dict[str, Any],
    spent: dict[str, float],
    stolen: float,
    rss_bytes: int,
) -> dict[str, float]:
    print(
        f"load:    {args.rate:,} messages/s in, over {args.topics} topics; {args.clients} clients, "
        f"{args.per_client} topics each; {args.seconds} s after {WARM_UP_S:g} s of warm-up"
    )
    frames = got["frames"]
    expected = sent["sent"] * args.clients * args.per_client // args.topics
    lost = expected - got["all_frames"]
    print(
        f"out:     {frames / args.seconds:,.0f} frames/s delivered, "
        f"{frames / max(got['reads'], 1):.1f} per read; {got['all_frames']:,} of {expected:,} in "
        f"all ({lost:,} missing); publisher dropped {sent['dropped']}, "
        f"was at most {sent['late_ms']:.1f} ms late"
    )
    values = sorted(got["latencies_us"])
    if not values:
        sys.exit("no frame was measured")
    marks = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
    found = {
        name: values[min(int(len(values) * share), len(values) - 1)] / 1000
        for name, share in marks.items()
    }
    shown = "  ".join(f"{name} {value:.2f}" for name, value in found.items())
    print(f"latency: {shown} ms, due time to client read, {len(values):,} samples")
    cpu = "  ".join(f"{name} {100 * used / args.seconds:.0f} %" for name, used in spent.items())
    print(f"CPU:     {cpu} of one core each; the host took {100 * stolen / args.seconds:.1f} %")
    print(
        f"bridge:  {spent['bridge'] * 1e6 / max(frames, 1):.2f} µs of CPU per delivered frame, "
        f"{rss_bytes / 1e6:.0f} MB resident"
    )
    if lost:
        sys.exit(f"{lost} frames are missing")
    found["% stolen"] = 100 * stolen / args.seconds
    found["µs a frame"] = spent["bridge"] * 1e6 / max(frames, 1)
    return found


def medians(runs: list[dict[str, float]]) -> str:
    return "  ".join(
        f"{name} {statistics.median(run[name] for run in runs):.2f}" for name in runs[0]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m bench.latency")
    parser.add_argument("--rate", type=int, default=10_000, help="messages/s in (10,000)")
    parser.add_argument("--clients", type=int, default=100, help="WebSocket clients (100)")
    parser.add_argument("--topics", type=int, default=100, help="topics published (100)")
    parser.add_argument("--per-client", type=int, default=5, help="topics of each client (5)")
    parser.add_argument("--seconds", type=int, default=15, help="time measured (15)")
    parser.add_argument("--idle", type=int, default=0, help="measure again with so many idle ones")
    parser.add_argument("--rounds", type=int, default=1, help="so often, in turns (1)")
    parser.add_argument("--no-pin", action="store_true", help="leave the cores to the scheduler")
    for hidden in ("--role", "--config"):
        parser.add_argument(hidden, default="", help=argparse.SUPPRESS)
    for hidden in ("--begin", "--end", "--port"):
        parser.add_argument(hidden, type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.role == "publisher":
        publish(args.config, args.rate, args.topics, args.begin, args.end)
    elif args.role == "client":
        receive(args.port, args, args.begin, args.end)
    else:
        print(machine(("uvloop", "websockets", "pyzmq", "msgspec")))
        allow_files(args.idle + 1_000)
        kinds = {"alone": 0, f"beside {args.idle:,} idle": args.idle} if args.idle else {"alone": 0}
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in kinds}
        for _ in range(args.rounds):
            for name, idle in kinds.items():
                print()
                runs[name].append(measure(args, idle))
        if args.rounds > 1:
            print("\nmedians, in ms:")
            for name, found in runs.items():
                print(f"{name:>22}: {medians(found)}")


if __name__ == "__main__":
    main()
