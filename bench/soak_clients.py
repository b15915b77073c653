"""Who listens to a bus under fire, and notices what it is not given; see `bench.soak`."""

from __future__ import annotations

import json
import random
import socket
import threading
import time
from typing import Any

from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from bench.rolling import UPGRADE
from bus.client import EpochChange, Gap, Subscriber, Update
from bus.model.streams import STREAMS, StreamKind


class Watcher(threading.Thread):
    """One consumer of everything, from the first message to the last."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(daemon=True)
        self._endpoint = endpoint
        self.over = threading.Event()
        self.last: dict[str, tuple[int, int]] = {}
        self.moved_at: dict[str, float] = {}
        self.states: dict[str, str] = {}
        self.received = 0
        self.reported_lost = 0
        self.silently_lost: list[str] = []
        self.epochs = 0

    def run(self) -> None:
        with Subscriber(self._endpoint) as subscriber:
            for prefix in ("md/", "sys/"):
                subscriber.subscribe(prefix)
            while not self.over.is_set():
                event = subscriber.recv(0.2)
                if isinstance(event, Update):
                    self._take(event)
                elif isinstance(event, Gap):
                    self.reported_lost += event.to_seq - event.from_seq + 1
                    self.last[event.topic.name] = (event.epoch, event.to_seq)
                elif isinstance(event, EpochChange):
                    self.epochs += 1

    def _take(self, update: Update) -> None:
        tick = update.tick
        name, kind = tick.topic.name, STREAMS[tick.topic.stream].kind
        self.received += 1
        before = self.last.get(name)
        if kind is not StreamKind.STATE and before is not None:
            epoch, seq = before
            expected = seq + 1 if tick.epoch == epoch else 1
            if tick.seq != expected:
                self.silently_lost.append(f"{name} {tick.epoch}: {expected} then {tick.seq}")
        self.last[name] = (tick.epoch, tick.seq)
        self.moved_at[name] = time.monotonic()
        if name.startswith("sys/status/"):
            self.states[name] = str(getattr(tick.body, "state", ""))


class Browser(threading.Thread):
    """Connects over WebSocket, reads, and connects again when it is cut off."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._port = port
        self.over = threading.Event()
        self.connected = 0
        self.refused: list[str] = []
        self.cut_off = 0

    def run(self) -> None:
        while not self.over.is_set():
            try:
                with socket.create_connection(("127.0.0.1", self._port), timeout=20) as connection:
                    connection.sendall(UPGRADE)
                    self._read(connection)
            except ConnectionRefusedError as error:
                self.refused.append(repr(error))
            except OSError:
                self.cut_off += 1  # its bridge was killed

    def _read(self, connection: socket.socket) -> None:
        connection.settimeout(1.0)
        answer = connection.recv(4_096)
        if not answer.startswith(b"HTTP/1.1 101"):
            if answer:
                self.refused.append(answer.partition(b"\r\n")[0].decode("latin-1"))
            else:
                self.cut_off += 1
            return
        self.connected += 1
        until = time.monotonic() + random.uniform(0.1, 3.0)
        while not self.over.is_set() and time.monotonic() < until:
            try:
                if not connection.recv(65_536):
                    return
            except TimeoutError:
                continue


class Page(threading.Thread):
    """A WebSocket client that stays as long as its bridge lets it, and counts its trades."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        streams = ",".join(f"trades.{name}" for name in ("BTC", "ETH", "SOL", "AAPL"))
        self._url = f"ws://127.0.0.1:{port}/ws/v1/?streams={streams}"
        self.over = threading.Event()
        self.received = 0
        self.reported_lost = 0
        self.silently_lost: list[str] = []
        self.connected = 0
        self.refused: list[str] = []
        self.last_received_at = 0.0

    def run(self) -> None:
        while not self.over.is_set():
            try:
                with connect(
                    self._url, subprotocols=[Subprotocol("mdbus.v1.json")], open_timeout=20
                ) as client:
                    self.connected += 1
                    self._follow(client)
            except ConnectionRefusedError as error:
                self.refused.append(repr(error))
            except InvalidStatus as error:
                self.refused.append(f"HTTP {error.response.status_code}")
            except (WebSocketException, OSError, EOFError):
                continue  # its bridge has left, or was killed

    def _follow(self, client: ClientConnection) -> None:
        at: dict[str, int] = {}
        while not self.over.is_set():
            try:
                message = json.loads(client.recv(timeout=0.5))
            except TimeoutError:
                continue
            for each in message if isinstance(message, list) else [message]:
                self._take(each, at)

    def _take(self, message: dict[str, Any], at: dict[str, int]) -> None:
        topic = message.get("topic", "")
        if message["type"] == "gap" and message["to"] >= message["from"]:
            self.reported_lost += message["count"]
            at[topic] = message["to"]
        elif message["type"] == "trade":
            self.received += 1
            self.last_received_at = time.monotonic()
            expected = None if "epoch" in message else at.get(topic, message["seq"] - 1) + 1
            if expected is not None and message["seq"] != expected:
                self.silently_lost.append(f"{topic}: {expected} then {message['seq']}")
            at[topic] = message["seq"]
