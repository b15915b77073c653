"""What the broker costs, beside a bare ``zmq.proxy``: ``python -m bench.broker``.

Three brokers forward the same messages between the same publisher and subscriber programs, each in
its own process, over ipc, one frame a message, 67-byte payload, 200 topics (trades, prices and
depth, so that rings and depth retention are at work):

* ``bare``: ``zmq.proxy`` in C and nothing else: the floor
* ``mdbus``: ``python -m bus.broker`` as shipped
* ``python``: a forwarding loop in Python with a last-value dictionary, two frames a message: how
  such brokers are usually written

CPU is that of the broker's process, by the kernel's count. The subscriber checks every sequence
number. Rounds alternate between the brokers; the least CPU of any round is shown beside the median,
because whatever else runs on the machine only ever adds to it. Read the numbers as ratios: the
processor, its neighbours and the C library move all of them together.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil
import zmq

from bus.clock import NS_PER_SECOND, now_ns
from bus.model import Depth, Price, Topic, Trade
from bus.transport.sockets import (
    bind,
    connect,
    new_context,
    proxy_egress,
    proxy_ingress,
    publisher_socket,
    subscriber_socket,
)
from bus.wire.codec import encode_frame

TOPICS = 200
PAYLOAD = "63 to 71-byte payloads (67 on average)"
FIRST_SEQ = 1 << 16  # so that every seq takes the same five bytes
EPOCH = 1_760_000_000_000
END_KEY = b"md/price/bench/END/"
HWM_PACED = 100_000  # the broker's default
BRACKET = b"\xce"


@dataclass(frozen=True)
class Result:
    """One run of one broker."""

    broker: str
    messages: int
    rate: float
    broker_cpu_us: float
    publisher_cpu_us: float
    subscriber_cpu_us: float
    lost: int
    disordered: int


# --- the messages -------------------------------------------------------------------------------


def templates() -> list[tuple[bytes, bytes, bytes]]:
    """(before the seq, after it, the same as a depth snapshot) of each topic."""
    made: list[tuple[bytes, bytes, bytes]] = []
    stamp = now_ns()
    for number in range(TOPICS):
        symbol = f"SYM{number:03d}-USDT"
        if number % 10 < 7:
            topic = Topic.md("trades", "bench", symbol)
            body: Trade | Price | Depth = Trade(61_602.01, 0.25, "buy", "0")
        elif number % 10 < 9:
            topic = Topic.md("price", "bench", symbol)
            body = Price(61_602.01, 250.3, None, None)
        else:
            topic = Topic.md("depth", "bench", symbol)
            body = Depth(1_000, 1_001, [(61_602.01, 0.0)], [])
        frame = encode_frame(topic.key, EPOCH, FIRST_SEQ, stamp, stamp, stamp, body)
        mark = frame.index(BRACKET + FIRST_SEQ.to_bytes(4))
        head, tail = frame[: mark + 1], frame[mark + 5 :]
        made.append((head, tail, tail[:-1] + b"\xc3" if topic.stream == "depth" else tail))
    return made


# --- the programs -------------------------------------------------------------------------------


def run_publisher(endpoint: str, count: int, rate: int, hwm: int, parts: int) -> None:
    """Send ``count`` messages round robin over the topics, as fast as possible or at ``rate``/s."""
    context = new_context()
    socket = publisher_socket(context, endpoint, send_hwm=hwm, linger_ms=-1)
    while not socket.recv().startswith(b"\x01"):
        pass
    made = templates()
    say("ready")
    sys.stdin.readline()
    cpu, began = time.process_time_ns(), time.monotonic_ns()
    seq, sent, send = FIRST_SEQ, 0, super(zmq.Socket, socket).send
    while sent < count:
        number = seq.to_bytes(4)
        snapshot = seq % 1_000 == 0
        for head, tail, depth_tail in made:
            frame = head + number + (depth_tail if snapshot else tail)
            if parts == 2:
                topic, _, payload = frame.partition(b"\0")
                send(topic, zmq.SNDMORE)
                send(payload)
            else:
                send(frame)
        seq += 1
        sent += TOPICS
        if rate:
            ahead_ns = sent * NS_PER_SECOND // rate - (time.monotonic_ns() - began)
            if ahead_ns > NS_PER_SECOND // 1_000:
                time.sleep(ahead_ns / NS_PER_SECOND)
    took, cpu = time.monotonic_ns() - began, time.process_time_ns() - cpu
    say(json.dumps({"sent": sent, "took_ns": took, "cpu_ns": cpu}))
    while True:  # until killed: one end mark alone might find a full queue
        time.sleep(0.1)
        if parts == 2:
            send(END_KEY, zmq.SNDMORE)
        send(b"" if parts == 2 else END_KEY + b"\0")


def run_subscriber(endpoint: str, hwm: int, parts: int) -> None:
    """Receive until the end mark; check every sequence number."""
    context = new_context()
    socket = connect(subscriber_socket(context, endpoint, receive_hwm=hwm), endpoint)
    socket.subscribe(b"md/")
    say("ready")
    receive = socket.recv
    frames: list[bytes] = []
    keep = frames.append
    end = END_KEY + (b"\0" if parts == 1 else b"")
    first = receive()
    began_ns, cpu_ns = time.monotonic_ns(), time.process_time_ns()
    frame = first
    while frame != end:
        keep(frame)
        frame = receive()
    took_ns, cpu_ns = time.monotonic_ns() - began_ns, time.process_time_ns() - cpu_ns
    # Checked afterwards, so that the subscriber is not what limits the broker.
    if parts == 2:
        frames = [
            topic + b"\0" + payload
            for topic, payload in zip(frames[::2], frames[1::2], strict=True)
        ]
    expected: dict[bytes, int] = {}
    disordered = 0
    for frame in frames:
        key, _, payload = frame.partition(b"\0")
        seq = int.from_bytes(payload[12:16])
        if seq < expected.get(key, FIRST_SEQ):
            disordered += 1
        expected[key] = seq + 1
    say(
        json.dumps(
            {
                "received": len(frames),
                "disordered": disordered,
                "took_ns": took_ns,
                "cpu_ns": cpu_ns,
            }
        )
    )
    socket.close()
    context.term()


def run_bare(publish: str, subscribe: str, hwm: int) -> None:
    """The floor: ``zmq.proxy`` with the broker's own sockets."""
    context = new_context()
    ingress, egress = proxy_ingress(context, receive_hwm=hwm), proxy_egress(context, send_hwm=hwm)
    bind(ingress, publish)
    bind(egress, subscribe)
    zmq.proxy(ingress, egress)


def run_python(publish: str, subscribe: str, hwm: int) -> None:
    """A forwarding loop in Python, two frames a message, with a last-value dictionary."""
    context = new_context()
    ingress, egress = proxy_ingress(context, receive_hwm=hwm), proxy_egress(context, send_hwm=hwm)
    bind(ingress, publish)
    bind(egress, subscribe)
    poller = zmq.Poller()
    poller.register(ingress, zmq.POLLIN)
    poller.register(egress, zmq.POLLIN)
    last: dict[bytes, bytes] = {}
    while True:
        ready = dict(poller.poll())
        if egress in ready:
            ingress.send(egress.recv())
        if ingress in ready:
            with suppress(zmq.Again):
                while True:
                    topic = ingress.recv(zmq.DONTWAIT)
                    payload = ingress.recv()
                    last[topic] = payload
                    egress.send(topic, zmq.SNDMORE)
                    egress.send(payload)


def say(line: str) -> None:
    print(line, flush=True)


# --- the measurement ----------------------------------------------------------------------------


def measure(broker: str, count: int, rate: int, hwm: int) -> Result:
    """Run one broker between the two programs."""
    parts = 2 if broker == "python" else 1
    with tempfile.TemporaryDirectory(prefix="mdb-") as name:
        run_dir = Path(name)
        publish, subscribe = f"ipc://{run_dir}/publish.sock", f"ipc://{run_dir}/subscribe.sock"
        if broker == "mdbus":
            arguments = ["-m", "bus.broker", "--name", "broker"]
            for key in ("send_hwm", "receive_hwm"):
                arguments += ["--set", f"broker.{key}={hwm}"]
        else:
            arguments = ["-m", "bench.broker", broker, publish, subscribe, str(hwm)]
        environment = dict(os.environ, MDBUS_RUN_DIR=name)
        serving = subprocess.Popen(
            [sys.executable, *arguments], env=environment, stderr=subprocess.DEVNULL
        )
        started: list[subprocess.Popen[str]] = []
        try:
            await_path(run_dir / "subscribe.sock")
            subscriber = start("subscriber", subscribe, str(hwm), str(parts))
            started.append(subscriber)
            hear(subscriber)
            publisher = start("publisher", publish, str(count), str(rate), str(hwm), str(parts))
            started.append(publisher)
            hear(publisher)
            before = cpu_s(serving.pid)
            tell(publisher)
            sent = json.loads(hear(publisher))
            received = json.loads(hear(subscriber))
            used = cpu_s(serving.pid) - before
        finally:
            serving.kill()
            serving.wait()
            for process in started:
                process.kill()
                process.wait()
                for pipe in (process.stdin, process.stdout):
                    if pipe is not None:
                        pipe.close()
    total = int(sent["sent"])
    return Result(
        broker=broker,
        messages=total,
        rate=received["received"] / (received["took_ns"] / NS_PER_SECOND),
        broker_cpu_us=used / total * 1e6,
        publisher_cpu_us=sent["cpu_ns"] / total / 1e3,
        subscriber_cpu_us=received["cpu_ns"] / max(1, received["received"]) / 1e3,
        lost=total - int(received["received"]),
        disordered=int(received["disordered"]),
    )


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "bench.broker", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def hear(process: subprocess.Popen[str]) -> str:
    """The next line a program says."""
    line = pipe(process.stdout).readline()
    if not line:
        raise SystemExit(f"bench: {process.args!r} ended early")
    return line


def tell(process: subprocess.Popen[str]) -> None:
    """Let a waiting program go on."""
    pipe(process.stdin).write("go\n")
    pipe(process.stdin).flush()


def pipe(end: IO[str] | None) -> IO[str]:
    assert end is not None
    return end


def await_path(path: Path) -> None:
    deadline = time.monotonic() + 10
    while not path.exists():
        if time.monotonic() > deadline:
            raise SystemExit(f"bench: {path} did not appear")
        time.sleep(0.01)


def cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


# --- the report ---------------------------------------------------------------------------------


def show(title: str, runs: list[Result]) -> dict[str, tuple[float, float]]:
    """Print one table; by broker the least and the median CPU per message."""
    print(f"\n{title}")
    print(
        f"{'broker':8} {'CPU µs/msg':>11} {'(median)':>9} {'messages/s':>12} {'lost':>6}"
        f" {'disordered':>10} {'publisher µs':>13} {'subscriber µs':>14}"
    )
    figures: dict[str, tuple[float, float]] = {}
    for broker in dict.fromkeys(run.broker for run in runs):
        of = [run for run in runs if run.broker == broker]
        used = [run.broker_cpu_us for run in of]
        least, median = figures[broker] = min(used), statistics.median(used)
        print(
            f"{broker:8} {least:11.2f} {median:9.2f} {max(r.rate for r in of):12,.0f}"
            f" {sum(r.lost for r in of):6d} {sum(r.disordered for r in of):10d}"
            f" {min(r.publisher_cpu_us for r in of):13.2f}"
            f" {min(r.subscriber_cpu_us for r in of):14.2f}"
        )
    return figures


def machine() -> str:
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return (
        f"{model}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {platform.system()}"
        f" {platform.release()}; Python {platform.python_version()}, pyzmq {zmq.__version__},"
        f" libzmq {zmq.zmq_version()}"
    )


def main(argv: list[str] | None = None) -> int:
    """Run the comparison; 1 if the bar was missed, or a message lost, at the paced rate."""
    parser = argparse.ArgumentParser(prog="python -m bench.broker", description=__doc__)
    parser.add_argument("--messages", type=int, default=600_000, help="of each unpaced run")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rate", type=int, default=500_000, help="of the paced runs, messages/s")
    parser.add_argument("--paced-s", type=float, default=2.0, help="length of each paced run")
    options = parser.parse_args(argv)
    print(machine())
    print(f"{TOPICS} topics, {PAYLOAD}, ipc, one publisher, one subscriber")
    flood: list[Result] = []
    paced: list[Result] = []
    for number in range(options.rounds):
        for broker in ("bare", "mdbus"):
            flood.append(measure(broker, options.messages, 0, 0))
            if number < options.rounds - 1:
                count = int(options.rate * options.paced_s)
                paced.append(measure(broker, count, options.rate, HWM_PACED))
    flood.append(measure("python", options.messages // 3, 0, 0))
    free = show("As fast as the programs can (no high-water marks)", flood)
    title = f"Paced at {options.rate:,} messages/s (default high-water marks)"
    steady = show(title, paced)
    ratios = [
        figures["mdbus"][which] / figures["bare"][which]
        for figures in (free, steady)
        for which in (0, 1)
    ]
    lost = sum(run.lost for run in paced if run.broker == "mdbus")
    print("\nmdbus / bare zmq.proxy, least CPU of any round (medians):")
    print(f"  as fast as possible {ratios[0]:.2f} ({ratios[1]:.2f})")
    print(f"  paced               {ratios[2]:.2f} ({ratios[3]:.2f})   bar at this rate: 2.00")
    print(f"lost by mdbus when paced: {lost}   bar: 0")
    return 0 if ratios[2] <= 2 and lost == 0 else 1


ROLES = {
    "publisher": lambda a: run_publisher(a[0], int(a[1]), int(a[2]), int(a[3]), int(a[4])),
    "subscriber": lambda a: run_subscriber(a[0], int(a[1]), int(a[2])),
    "bare": lambda a: run_bare(a[0], a[1], int(a[2])),
    "python": lambda a: run_python(a[0], a[1], int(a[2])),
}


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] in ROLES:
        ROLES[sys.argv[1]](sys.argv[2:])
    else:
        sys.exit(main())
