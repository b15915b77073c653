"""A bus under fire: ``python -m bench.soak --minutes 5``.

The whole bus runs on simulated markets, with consumers on ZeroMQ and on WebSocket. Meanwhile, at
random (``--seed`` repeats it), processes are killed, stopped, told to stop, restarted, scaled, and
the settings are changed and reloaded. Then the fire ends, and it must be true that

* every process is up, and nothing else is: no orphan, no zombie, no leaked spare
* the supervisor has no more descriptors than before, the run directory no more sockets or pids
* every state topic moves again, and who listened all the time holds what a newcomer is given
* every message that did not arrive was reported as a gap by the client, none was lost in silence
* no WebSocket connection was ever refused

Exit code 0 when all holds, 1 with one line for each that does not.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import psutil

from bench.managers import MARK, ROOT, marked, wait_for
from bench.rolling import UPGRADE
from bus.client import EpochChange, Gap, Subscriber, Update
from bus.model.streams import STREAMS, StreamKind
from bus.supervision.control_client import RefusedError, ask

SETTLE_S: Final = 45.0
SYMBOLS: Final = ("BTC-USDT", "ETH-USDT", "SOL-USDT")
SOCKETS: Final = {"control.sock", "link.sock", "publish.sock", "subscribe.sock"}


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
            expected = seq + 1 if tick.epoch == epoch else None
            if expected is not None and tick.seq != expected:
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
        if not connection.recv(4_096).startswith(b"HTTP/1.1 101"):
            return
        self.connected += 1
        until = time.monotonic() + random.uniform(0.1, 3.0)
        while not self.over.is_set() and time.monotonic() < until:
            try:
                if not connection.recv(65_536):
                    return
            except TimeoutError:
                continue


class Soak:
    """One bus, its consumers and the fire."""

    def __init__(self, work: Path, seed: int, *, quiet: bool) -> None:
        self.work = work
        self.run_dir = work / "run"
        self.config = work / "mdbus.toml"
        self.random = random.Random(seed)
        self.quiet = quiet
        self.done: Counter[str] = Counter()
        self.mark = str(work)
        self.problems: list[str] = []

    def mdbus(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-m", "bus.supervision", *words]
        return subprocess.run(
            [*command, "--run-dir", str(self.run_dir)],
            env={**os.environ, "PYTHONPATH": str(ROOT), MARK: self.mark},
            capture_output=True,
            text=True,
            check=check,
            timeout=180,
        )

    def write(
        self, *, workers: int = 2, level: str = "info", symbols: Sequence[str] = SYMBOLS
    ) -> None:
        names = ", ".join(f'"{symbol}"' for symbol in symbols)
        self.config.write_text(
            f'log_level = "{level}"\n[bridge]\nport = 0\nworkers = {workers}\ndrain_s = 0.5\n'
            "[simulator.ports]\nbinance = 0\nfinnhub = 0\n"
            "[supervisor]\nstable_after_s = 0.5\nhang_timeout_s = 2.0\nbackoff_cap_s = 1.0\n"
            f"[feeds.binance]\nsymbols = [{names}]\n"
        )

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = ask(self.run_dir, "status")
        return found

    def run(self, seconds: float) -> list[str]:
        """Everything, from `up` to `down`; what does not hold."""
        self.write()
        self.mdbus("up", "--detach", "--config", str(self.config))
        try:
            status = self.status()
            supervisor = psutil.Process(status["pid"])
            wait_for(self._spares_ready, 20, 0.1)
            fds = supervisor.num_fds()
            watcher = Watcher(status["endpoints"]["subscribe"])
            port = int(status["endpoints"]["http"].rpartition(":")[2])
            browsers = [Browser(port) for _ in range(3)]
            for thread in (watcher, *browsers):
                thread.start()
            self.burn(seconds)
            self.settle(watcher, supervisor, fds)
            watcher.over.set()
            for browser in browsers:
                browser.over.set()
            for thread in (watcher, *browsers):
                thread.join(10)
            self._judge_clients(watcher, browsers)
        finally:
            self.mdbus("down", check=False)
            wait_for(lambda: not marked(self.mark), 3, 0.1)  # the supervisor's own last moments
            left = marked(self.mark)
            if left:
                self._fault(f"left after down: {[process.cmdline() for process in left]}")
            for process in left:
                process.kill()
        if list(self.run_dir.glob("*.sock")):
            self._fault("socket files left after down")
        return self.problems

    def burn(self, seconds: float) -> None:
        """Do something bad every so often."""
        acts: list[tuple[int, Callable[[], str]]] = [
            (5, self._kill),
            (2, self._freeze),
            (2, self._terminate),
            (2, self._restart),
            (2, self._roll),
            (2, self._reload),
            (1, self._scale),
            (1, self._stop_and_start),
            (1, self._kill_spare),
            (1, self._kill_template),
            (1, self._reexec),
        ]
        weights = [weight for weight, _ in acts]
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            (_, act) = self.random.choices(acts, weights)[0]
            try:
                what = act()
            except RefusedError as error:  # it was hit meanwhile: that is what it is for
                what = f"refused: {error}"
            except (ProcessLookupError, IndexError):
                what = "gone already"
            self.done[act.__name__.lstrip("_")] += 1
            if not self.quiet:
                print(f"{act.__name__.lstrip('_'):<15} {what}", flush=True)
            time.sleep(self.random.uniform(0.05, 1.2))

    def settle(self, watcher: Watcher, supervisor: psutil.Process, fds: int) -> None:
        """The fire is over: everything comes back, and nothing is left of it."""
        self.write()
        self.mdbus("reload", "--config", str(self.config), check=False)
        if not wait_for(lambda: ask(self.run_dir, "check")["healthy"], SETTLE_S, 0.1):
            self._fault(f"not healthy: {ask(self.run_dir, 'check')['problems']}")
        wait_for(self._spares_ready, SETTLE_S, 0.1)
        if not wait_for(lambda: not self._odd_processes(), 10, 0.2):
            self._fault(f"processes that should not be: {self._odd_processes()}")
        if not wait_for(lambda: supervisor.num_fds() <= fds + 2, 10, 0.2):
            self._fault(f"descriptors of the supervisor: {fds} before, {supervisor.num_fds()} now")
        sockets = {path.name for path in self.run_dir.glob("*.sock")}
        if sockets != SOCKETS:
            self._fault(f"sockets in the run directory: {sorted(sockets)}")
        records = len(list((self.run_dir / "pids").iterdir()))
        status = self.status()
        expected = len(status["processes"]) + status["spares"]["ready"]
        expected += status["template"]["pid"] is not None
        if records != expected:
            self._fault(f"{records} pid records for {expected} processes")
        self._judge_topics(watcher)

    def _judge_topics(self, watcher: Watcher) -> None:
        calm_since = time.monotonic()

        def still() -> list[str]:
            return [
                name
                for name, at in list(watcher.moved_at.items())
                if name.startswith(("md/price/", "md/quote/", "md/orderbook/")) and at < calm_since
            ]

        if not wait_for(lambda: not still(), SETTLE_S, 0.2):
            self._fault(f"state topics that do not move: {still()}")
        if not wait_for(lambda: not self._differing(watcher), SETTLE_S, 0.05):
            self._fault(f"topics held otherwise than the cache: {self._differing(watcher)[:5]}")

        def dead() -> list[str]:
            good = ("live", "closed")
            return [name for name, state in watcher.states.items() if state not in good]

        if not wait_for(lambda: not dead(), SETTLE_S, 0.2):
            self._fault(f"feeds or symbols that are not live: {dead()}")

    def _differing(self, watcher: Watcher) -> list[str]:
        """State topics of which a newcomer is given an older value than the watcher holds, or a
        newer one that the watcher does not get in a moment.
        """
        fresh = self._newcomer()
        wait_for(
            lambda: all(watcher.last.get(name, (0, 0)) >= at for name, at in fresh.items()), 2, 0.02
        )
        missing = [name for name, at in fresh.items() if watcher.last.get(name, (0, 0)) < at]
        older = [
            name
            for name, at in watcher.last.items()
            if name in fresh and at[0] > fresh[name][0]  # of an epoch the cache does not have
        ]
        return missing + older

    def _newcomer(self) -> dict[str, tuple[int, int]]:
        found = {}
        done = self.mdbus("topics", "--json", check=False)
        for row in json.loads(done.stdout or "[]"):
            if row["kind"] == "state":
                found[row["topic"]] = (row["epoch"], row["seq"])
        return found

    def _judge_clients(self, watcher: Watcher, browsers: list[Browser]) -> None:
        if watcher.silently_lost:
            count = len(watcher.silently_lost)
            self._fault(f"{count} times lost without a gap: {watcher.silently_lost[:3]}")
        refused = sum(len(browser.refused) for browser in browsers)
        if refused:
            self._fault(f"{refused} WebSocket connections refused")
        connected = sum(browser.connected for browser in browsers)
        if not connected:
            self._fault("no WebSocket client ever connected")
        cut_off = sum(browser.cut_off for browser in browsers)
        self.summary = (
            f"{sum(self.done.values())} blows ({dict(self.done)}); {watcher.received:,} messages, "
            f"{watcher.reported_lost:,} reported lost, {len(watcher.silently_lost)} in silence, "
            f"{watcher.epochs} new epochs; WebSocket: {connected} connected, {refused} refused, "
            f"{cut_off} cut off"
        )

    def _fault(self, text: str) -> None:
        self.problems.append(text)

    def _spares_ready(self) -> bool:
        spares = self.status()["spares"]
        return bool(spares["ready"] == spares["wanted"])

    def _odd_processes(self) -> list[str]:
        status = self.status()
        known = {status["pid"], *(row["pid"] for row in status["processes"])}
        odd = [process for process in marked(self.mark) if process.pid not in known]
        odd = [process for process in odd if process.pid != status["template"]["pid"]]
        spares = [process for process in odd if "bus.runtime.spare" in process.cmdline()]
        others = [" ".join(process.cmdline()) for process in odd if process not in spares]
        zombies = [
            f"zombie {child.pid}"
            for child in psutil.Process(status["pid"]).children()
            if child.status() == psutil.STATUS_ZOMBIE
        ]
        surplus = len(spares) - int(status["spares"]["wanted"])
        return others + zombies + ([f"{surplus} spares too many"] if surplus > 0 else [])

    def _victim(self) -> dict[str, Any]:
        rows = [row for row in self.status()["processes"] if row["pid"]]
        return self.random.choice(rows)

    def _kill(self) -> str:
        row = self._victim()
        os.kill(row["pid"], signal.SIGKILL)
        return str(row["name"])

    def _terminate(self) -> str:
        row = self._victim()
        os.kill(row["pid"], signal.SIGTERM)
        return str(row["name"])

    def _freeze(self) -> str:
        row = self._victim()
        os.kill(row["pid"], signal.SIGSTOP)
        return str(row["name"])

    def _restart(self) -> str:
        name = self._victim()["name"]
        ask(self.run_dir, "restart", names=[name], wait_s=30, timeout_s=20)
        return str(name)

    def _roll(self) -> str:
        ask(self.run_dir, "restart", names=["bridge"], wait_s=60, timeout_s=40)
        return "bridge"

    def _reload(self) -> str:
        workers, level = self.random.choice((2, 3)), self.random.choice(("info", "debug"))
        symbols = SYMBOLS[: self.random.choice((2, 3))]
        self.write(workers=workers, level=level, symbols=symbols)
        ask(self.run_dir, "reload", wait_s=120, timeout_s=20)
        return f"{workers} workers, {level}, {len(symbols)} symbols"

    def _scale(self) -> str:
        count = self.random.choice((1, 2, 4))
        ask(self.run_dir, "scale", name="bridge", count=count, wait_s=60, timeout_s=20)
        return str(count)

    def _stop_and_start(self) -> str:
        name = self._victim()["name"]
        ask(self.run_dir, "stop", names=[name], wait_s=20, timeout_s=15)
        ask(self.run_dir, "start", names=[name], wait_s=20, timeout_s=15)
        return str(name)

    def _reexec(self) -> str:
        done = self.mdbus("reexec", "--timeout", "30", check=False)
        return (done.stdout or done.stderr).strip()

    def _kill_spare(self) -> str:
        spares = [p for p in marked(self.mark) if "bus.runtime.spare" in p.cmdline()]
        known = {row["pid"] for row in self.status()["processes"]}
        victim = self.random.choice([spare for spare in spares if spare.pid not in known])
        victim.kill()
        return f"pid {victim.pid}"

    def _kill_template(self) -> str:
        pid = self.status()["template"]["pid"]
        if pid is None:
            return "there is none"
        os.kill(pid, self.random.choice([signal.SIGKILL, signal.SIGSTOP]))
        return f"pid {pid}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; 0 when everything holds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5.0, help="how long it burns (5)")
    parser.add_argument("--seconds", type=float, help="the same in seconds")
    parser.add_argument("--seed", type=int, default=None, help="repeat a former run's blows")
    parser.add_argument("--quiet", action="store_true", help="the result only")
    parser.add_argument("--keep", action="store_true", help="keep the logs")
    arguments = parser.parse_args(argv)
    seed = random.SystemRandom().randrange(10**6) if arguments.seed is None else arguments.seed
    work = Path(tempfile.mkdtemp(prefix="mdb-"))
    print(f"seed {seed}, in {work}", flush=True)
    soak = Soak(work, seed, quiet=arguments.quiet)
    seconds = arguments.minutes * 60 if arguments.seconds is None else arguments.seconds
    problems = soak.run(seconds)
    print(getattr(soak, "summary", "no summary: it did not come to the end"))
    for problem in problems:
        print(f"FAILED: {problem}")
    if not problems and not arguments.keep:
        shutil.rmtree(work, ignore_errors=True)
    print("everything holds" if not problems else f"logs: {soak.run_dir}/log")
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
