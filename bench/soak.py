"""A bus under fire: ``python -m bench.soak --minutes 5``.

The whole bus runs on simulated markets, with consumers on ZeroMQ and on WebSocket. Meanwhile, at
random (``--seed`` repeats it), processes are killed, stopped, told to stop, restarted, scaled, and
the settings are changed and reloaded. Then the fire ends, and it must be true that

* every process is up, and nothing else is: no orphan, no zombie, no leaked spare
* the supervisor has no more descriptors, threads or memory than before, the run directory no file
  that does not belong there, and no log holds a traceback
* every state topic moves again, and who listened all the time holds what a newcomer is given
* every message that did not arrive was reported as a gap by the client, none was lost in silence:
  within an epoch, and from the first message of a new one
* a WebSocket client that stays learns of every trade it is not given, too
* no WebSocket connection was ever refused, or answered with anything but 101

Exit code 0 when all holds, 1 with one line for each that does not.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from bench.managers import MARK, ROOT, marked, wait_for
from bench.soak_clients import Browser, Page, Watcher
from bus.supervision.control_client import RefusedError, ask

SETTLE_S: Final = 45.0
SYMBOLS: Final = ("BTC-USDT", "ETH-USDT", "SOL-USDT")
GROWTH_BYTES: Final = 16 * 1024 * 1024
"""By how much the supervisor's own memory may grow: modules it imports at its first reload, and
what the allocator keeps.
"""
SOCKETS: Final = {"control.sock", "publish.sock", "subscribe.sock"}


FILES: Final = SOCKETS | {"effective.toml", "epoch", "log", "pids", "shared", "supervisor.pid"}
BAD_LINES: Final = ("Traceback (most recent", " crashed ", "was never ", "Exception ignored")


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a process takes."""

    fds: int
    threads: int
    own_bytes: int

    @classmethod
    def of(cls, process: psutil.Process) -> Footprint:
        """What ``process`` takes now; memory it shares with others is not its own."""
        with process.oneshot():
            own = process.memory_full_info().uss
            return cls(process.num_fds(), process.num_threads(), own)

    def more_than(self, before: Footprint) -> bool:
        """Whether it is more than what is due to chance."""
        return (
            self.fds > before.fds + 2
            or self.threads > before.threads + 1
            or self.own_bytes > before.own_bytes + GROWTH_BYTES
        )

    def __str__(self) -> str:
        return f"{self.fds} files, {self.threads} threads, {self.own_bytes / 2**20:.1f} MiB"


class Soak:
    """One bus, its consumers and the fire."""

    def __init__(self, work: Path, seed: int, *, quiet: bool, activity: float = 5.0) -> None:
        self.work = work
        self.run_dir = work / "run"
        self.config = work / "mdbus.toml"
        self.random = random.Random(seed)
        self.quiet = quiet
        self.activity = activity
        self.done: Counter[str] = Counter()
        self.mark = str(work)
        self.problems: list[str] = []
        self.footprint = ""

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
            f"[simulator]\nactivity = {self.activity:g}\n"
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
            before = Footprint.of(supervisor)
            watcher = Watcher(status["endpoints"]["subscribe"])
            port = int(status["endpoints"]["http"].rpartition(":")[2])
            browsers = [Browser(port) for _ in range(3)]
            page = Page(port)
            clients: list[Watcher | Page | Browser] = [watcher, page, *browsers]
            for client in clients:
                client.start()
            self.burn(seconds)
            self.settle(watcher, supervisor, before)
            self._judge_page(page)
            for client in clients:
                client.over.set()
            for client in clients:
                client.join(10)
            self._judge_clients(watcher, page, browsers)
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

    def settle(self, watcher: Watcher, supervisor: psutil.Process, before: Footprint) -> None:
        """The fire is over: everything comes back, and nothing is left of it."""
        self.write()
        self.mdbus("reload", "--config", str(self.config), check=False)
        if not wait_for(lambda: ask(self.run_dir, "check")["healthy"], SETTLE_S, 0.1):
            self._fault(f"not healthy: {ask(self.run_dir, 'check')['problems']}")
        wait_for(self._spares_ready, SETTLE_S, 0.1)
        if not wait_for(lambda: not self._odd_processes(), 10, 0.2):
            self._fault(f"processes that should not be: {self._odd_processes()}")
        if not wait_for(lambda: not Footprint.of(supervisor).more_than(before), 10, 0.2):
            self._fault(f"the supervisor took {before}, and now {Footprint.of(supervisor)}")
        self.footprint = f"supervisor: {before} before, {Footprint.of(supervisor)} after"
        sockets = {path.name for path in self.run_dir.glob("*.sock")}
        if sockets != SOCKETS:
            self._fault(f"sockets in the run directory: {sorted(sockets)}")
        records = len(list((self.run_dir / "pids").iterdir()))
        status = self.status()
        expected = len(status["processes"]) + status["spares"]["ready"]
        expected += status["template"]["pid"] is not None
        if records != expected:
            self._fault(f"{records} pid records for {expected} processes")
        self._judge_files()
        self._judge_topics(watcher)

    def _judge_files(self) -> None:
        strange = sorted({path.name for path in self.run_dir.iterdir()} - FILES)
        if strange:
            self._fault(f"files that do not belong in the run directory: {strange}")
        for log in sorted((self.run_dir / "log").glob("*.log*")):
            text = log.read_text(encoding="utf-8", errors="replace")
            found = [line for line in text.splitlines() if any(bad in line for bad in BAD_LINES)]
            if found:
                self._fault(f"{log.name}: {len(found)} times: {found[0][:300]}")

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
        for row in json.loads(done.stdout or '{"topics": []}')["topics"]:
            if row["kind"] == "state":
                found[row["topic"]] = (row["epoch"], row["seq"])
        return found

    def _judge_page(self, page: Page) -> None:
        calm_since = time.monotonic()
        if not wait_for(lambda: page.last_received_at > calm_since, SETTLE_S, 0.1):
            self._fault("the WebSocket client that stays gets no more trades")

    def _judge_clients(self, watcher: Watcher, page: Page, browsers: list[Browser]) -> None:
        if page.silently_lost:
            count = len(page.silently_lost)
            self._fault(f"WebSocket: {count} times lost without a gap: {page.silently_lost[:3]}")
        if watcher.silently_lost:
            count = len(watcher.silently_lost)
            self._fault(f"{count} times lost without a gap: {watcher.silently_lost[:3]}")
        answers = Counter(page.refused + [each for browser in browsers for each in browser.refused])
        refused = answers.total()
        if refused:
            self._fault(f"{refused} WebSocket connections refused: {dict(answers)}")
        connected = sum(browser.connected for browser in browsers)
        if not connected:
            self._fault("no WebSocket client ever connected")
        cut_off = sum(browser.cut_off for browser in browsers)
        self.summary = (
            f"{sum(self.done.values())} blows ({dict(self.done)}); {watcher.received:,} messages, "
            f"{watcher.reported_lost:,} reported lost, {len(watcher.silently_lost)} in silence, "
            f"{watcher.epochs} new epochs; WebSocket: {connected} connected, {refused} refused, "
            f"{cut_off} cut off, and one that stays: {page.connected} times connected, "
            f"{page.received:,} trades, {page.reported_lost:,} reported lost, "
            f"{len(page.silently_lost)} in silence; {self.footprint}"
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
    parser.add_argument("--activity", type=float, default=5.0, help="times the usual traffic (5)")
    parser.add_argument("--quiet", action="store_true", help="the result only")
    parser.add_argument("--keep", action="store_true", help="keep the logs")
    arguments = parser.parse_args(argv)
    seed = random.SystemRandom().randrange(10**6) if arguments.seed is None else arguments.seed
    work = Path(tempfile.mkdtemp(prefix="mdb-"))
    print(f"seed {seed}, in {work}", flush=True)
    soak = Soak(work, seed, quiet=arguments.quiet, activity=arguments.activity)
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
