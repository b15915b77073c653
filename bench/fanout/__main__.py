"""CPU per delivered WebSocket frame, ours beside others: ``python -m bench.fanout``.

Every server gets the same ticks in the same rhythm and the same clients: a C program on another
core, so that clients are not what is measured, which looks at its sockets every half millisecond
and is never woken by a sender: on one machine the sender would pay for that, and more the slower it
is. Ours is the bridge as shipped, fed by its broker;
the others are handed finished texts of the same size and neither decode nor encode. CPU is what the
kernel counted for the server's processes (user and system) over a run of an exact number of ticks,
divided by the messages that clients really received; a run in which messages are missing says how
many. Sending to a loopback socket includes the receiver's half of the TCP stack: all pay that.

Rivals are installed into a cache directory ($MDBUS_BENCH_DIR), never into the system; one that is
not to be had here is left out with the reason. Read figures as ratios within one run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.fanout.native import compiled
from bench.fanout.servers import KINDS, TOPICS, Kind, Server, Stage
from bench.fanout.talk import await_ready, cpu_s, run, say, start
from bench.peers.rivals import NotHere, cache_dir
from bench.rig import allow_files, end_on_sigterm, machine, pss_bytes, two_sides

WARM_UP_SHARE = 0.25
LEAST_BURSTS = 3
CLIENT_PAUSE_US = 500


@dataclass(frozen=True, slots=True)
class Load:
    """One rhythm of ticks; ``messages_per_s`` is what all clients together receive."""

    name: str
    burst: int
    topics: int
    messages_per_s: int
    deflate: bool = False

    def ticks_per_s(self, clients: int, share: float) -> float:
        return self.messages_per_s * share / clients


LOADS = {
    load.name: load
    for load in (
        Load("single", 1, 1, 40_000),
        Load("burst", 20, 1, 80_000),
        Load("burst, 20 topics", 20, TOPICS, 80_000),
        Load("single, deflate", 1, 1, 20_000, deflate=True),
        Load("burst, deflate", 20, 1, 40_000, deflate=True),
    )
}


@dataclass(frozen=True, slots=True)
class Cell:
    """What one server did under one load; CPU in µs a message, delays in ms."""

    server: str
    clients: int
    load: str
    cpu_us: float
    lost: int
    messages_per_s: float
    bytes_per_message: float
    messages_per_read: float
    p50_ms: float
    p99_ms: float
    cpu_share: float
    connection_kib: float


def measure(
    kind: Kind,
    server: Server,
    client: subprocess.Popen[str],
    publisher: subprocess.Popen[str],
    load: Load,
    clients: int,
    connection_kib: float,
    seconds: float,
) -> Cell:
    """One load on a server whose clients have joined."""
    rate = load.ticks_per_s(clients, kind.share)
    # Rare bursts to many clients take longer to be as many.
    seconds = max(seconds, LEAST_BURSTS * load.burst / rate)
    order: dict[str, float] = {"ticks_per_s": rate, "burst": load.burst, "topics": load.topics}
    run(client, publisher, {**order, "seconds": seconds * WARM_UP_SHARE}, clients)
    say(client, "latency")
    pids = server.pids()
    began, before = time.monotonic(), cpu_s(pids)
    ran = run(client, publisher, {**order, "seconds": seconds}, clients)
    spent, took = cpu_s(pids) - before, time.monotonic() - began
    delays = say(client, "latency")
    return Cell(
        server=kind.name,
        clients=clients,
        load=load.name,
        cpu_us=spent / max(ran["messages"], 1) * 1e6,
        lost=ran["expected"] - ran["messages"],
        messages_per_s=ran["messages"] / took,
        bytes_per_message=ran["bytes"] / max(ran["messages"], 1),
        messages_per_read=ran["messages"] / max(ran["reads"], 1),
        p50_ms=delays["p50_us"] / 1e3,
        p99_ms=delays["p99_us"] / 1e3,
        cpu_share=spent / took,
        connection_kib=connection_kib,
    )


def on_stage(
    kind: Kind, clients: int, loads: Sequence[Load], seconds: float, pin: bool
) -> list[Cell]:
    """Start a server, let ``clients`` join, run ``loads`` one after another."""
    with contextlib.ExitStack() as stack:
        run_dir = stack.enter_context(tempfile.TemporaryDirectory(prefix="mdb-"))
        stage = Stage(stack, run_dir, loads[0].deflate, clients, two_sides(pin=pin))
        server = kind.start(stage)
        bare = sum(map(pss_bytes, server.pids()))
        command = [str(compiled("client")), "-p", server.port, "-n", str(clients), *server.client]
        command += ["-q", str(CLIENT_PAUSE_US)]
        if loads[0].deflate:
            command.append("-z")
        client = start(stage, command)
        await_ready(client, stage)
        per_client = (sum(map(pss_bytes, server.pids())) - bare) / clients
        publish = [sys.executable, "-m", "bench.fanout.publisher", *server.publish, str(TOPICS)]
        publisher = start(stage, publish)
        await_ready(publisher, stage)
        kib = per_client / 1024
        return [
            measure(kind, server, client, publisher, load, clients, kib, seconds) for load in loads
        ]


# ---------------------------------------------------------------------- the report


def show(
    cells: Sequence[Cell], clients: int, loads: Sequence[str], skipped: dict[str, str]
) -> None:
    """One table: a server a line, two columns a load; the median of the rounds."""
    here = [cell for cell in cells if cell.clients == clients]
    print(f"\n{clients:,} clients: server CPU µs per delivered message (p50 / p99 ms)")
    print(f"{'':<18}" + "".join(f"{name:>25}" for name in loads) + f"{'KiB/conn':>10}")
    for name in dict.fromkeys(cell.server for cell in here):
        line = f"{name:<18}"
        kib = 0.0
        for load in loads:
            of = [cell for cell in here if cell.server == name and cell.load == load]
            if not of:
                line += f"{'-':>25}"
                continue
            middle = {
                key: statistics.median(getattr(cell, key) for cell in of)
                for key in ("cpu_us", "p50_ms", "p99_ms", "connection_kib")
            }
            kib = kib or middle["connection_kib"]
            lost = sum(cell.lost for cell in of)
            delays = f" ({middle['p50_ms']:.1f} / {middle['p99_ms']:.1f})"
            figures = f"{middle['cpu_us']:.2f}" + (delays if middle["p99_ms"] else "")
            line += f"{figures + ('!' if lost else ''):>25}"
        print(line + f"{kib:>10.1f}")
    for cell in here:
        if cell.lost:
            print(f"  ! {cell.server}, {cell.load}: {cell.lost:,} messages did not arrive")
    for name, why in skipped.items():
        print(f"  left out: {name}: {why}")


def ratios(cells: Sequence[Cell], loads: Sequence[str]) -> None:
    """CPU of the others over ours, all sizes together."""
    print("\nCPU per message, theirs over ours (ours is cheaper where it is above 1)")
    names = [name for name in dict.fromkeys(cell.server for cell in cells) if name != "mdbus"]
    sizes = sorted({cell.clients for cell in cells})
    columns = [(load, size) for load in loads for size in sizes]
    print(f"{'':<18}" + "".join(f"{f'{load} {size}':>24}" for load, size in columns))
    median = {
        (name, load, size): statistics.median(values)
        for name in ["mdbus", *names]
        for load, size in columns
        if (
            values := [
                cell.cpu_us
                for cell in cells
                if (cell.server, cell.load, cell.clients) == (name, load, size)
            ]
        )
    }
    for name in names:
        line = f"{name:<18}"
        for load, size in columns:
            own, other = median.get(("mdbus", load, size)), median.get((name, load, size))
            line += f"{f'{other / own:.2f}' if own and other else '-':>24}"
        print(line)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 0 also where rivals are left out, 1 when ours lost a message."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.fanout",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--clients", default="100,1000,5000", help="sizes (100,1000,5000)")
    parser.add_argument("--seconds", type=float, default=3.0, help="time of each run (3)")
    parser.add_argument("--rounds", type=int, default=1, help="rounds; the median is shown (1)")
    parser.add_argument("--servers", default="", help="only those whose names begin with one of")
    parser.add_argument("--loads", default="", help=f"only these of: {'; '.join(LOADS)}")
    parser.add_argument("--no-pin", action="store_true", help="leave the cores to the scheduler")
    parser.add_argument("--json", type=Path, help="write every cell there")
    given = parser.parse_args(argv)
    sizes = [int(size) for size in given.clients.split(",")]
    allow_files(max(sizes) + 1_000)
    loads = [LOADS[name.strip()] for name in given.loads.split(";") if name] or [*LOADS.values()]
    chosen = tuple(name.strip() for name in given.servers.split(",") if name)
    kinds = [kind for kind in KINDS if not chosen or kind.name.startswith(chosen)]
    end_on_sigterm()
    print(machine(("uvloop", "websockets", "pyzmq", "msgspec")))
    print(f"rivals:  in {cache_dir()}")
    for kind in kinds:
        print(f"         {kind.name}: {kind.what}")
    for load in loads:
        print(
            f"load:    {load.name}: {load.messages_per_s:,} messages/s delivered, "
            f"{load.burst} ticks due at once over {load.topics} topics"
        )
    for kind in kinds:
        if kind.share != 1:
            print(f"         {kind.name} gets {kind.share:g} of that")
    cells: list[Cell] = []
    for size in sizes:
        skipped: dict[str, str] = {}
        for _ in range(given.rounds):
            for kind in kinds:
                for deflate in (False, True):
                    part = [load for load in loads if load.deflate is deflate]
                    if not part or kind.name in skipped or (deflate and not kind.deflates):
                        continue
                    if size > kind.most_clients:
                        skipped[kind.name] = f"not run with more than {kind.most_clients:,} clients"
                        continue
                    try:
                        cells += on_stage(kind, size, part, given.seconds, not given.no_pin)
                    except NotHere as why:
                        skipped[kind.name] = str(why)
        show(cells, size, [load.name for load in loads], skipped)
    if any(cell.server == "mdbus" for cell in cells):
        ratios(cells, [load.name for load in loads])
    print(f"\nload average at the end: {', '.join(f'{value:.1f}' for value in os.getloadavg())}")
    if given.json:
        given.json.write_text(json.dumps([asdict(cell) for cell in cells], indent=1))
    return int(any(cell.lost for cell in cells if cell.server == "mdbus"))


if __name__ == "__main__":
    sys.exit(main())
