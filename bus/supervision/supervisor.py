"""The supervisor: starts the plan layer by layer, keeps it running, takes it down in reverse.

It runs on plain asyncio and knows only monotonic time. What to do about one process is decided in
`policy` and done in `unit`; this module knows the order, the surroundings and the end.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import Callable, Sequence
from typing import Final

import bus
from bus.clock import now_ns
from bus.config import Settings
from bus.supervision.adoption import Strangers, become_subreaper, end_strangers
from bus.supervision.commands import Commands
from bus.supervision.control_server import ControlServer
from bus.supervision.down_notice import DownNotices
from bus.supervision.events import EventLog, Happening
from bus.supervision.generation import Sender
from bus.supervision.handover import Handover, capture, quiet_threads, release_signals
from bus.supervision.link_server import LinkServer
from bus.supervision.origin import Origin
from bus.supervision.plan import Planner, ProcessSpec, layers, patience, plan
from bus.supervision.policy import Phase
from bus.supervision.premises import Premises
from bus.supervision.replacement import has_left
from bus.supervision.rounds import Rounds
from bus.supervision.service_manager import ServiceManager
from bus.supervision.spawn import Child
from bus.supervision.succession import Succession
from bus.supervision.unit import Unit
from bus.wire.link import LinkMessage, Reopen, Reply

HOPELESS_STARTS: Final = 3
"""The start of a layer no longer waits for a process that failed this often in a row."""
TEMPLATE_WAIT_S: Final = 10.0
"""The first start waits this long for the template to have imported what all then share."""

_STOPPING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Supervisor:
    """One bus. `run` is its whole life; everything happens on one loop, in the main thread.

    ``origin`` is where the settings came from, to be read again. ``planner`` says which processes
    follow from settings (tests of the mechanism give one of their own).
    """

    def __init__(
        self,
        settings: Settings,
        *,
        origin: Origin | None = None,
        planner: Planner = plan,
        resumed: Handover | None = None,
    ) -> None:
        self.origin: Final = origin
        self.planner: Final = planner
        self.specs = planner(settings)
        self.premises: Final = Premises(settings)
        self.events: Final = EventLog()
        self.units: Final[dict[str, Unit]] = {}
        self.commands: Final = Commands(self.send)
        self.settings_lock: Final = asyncio.Lock()
        self._link: LinkServer | None = None
        self.manager: Final = ServiceManager.of_environment(os.environ)
        self.exit_code = 0
        self.state = "starting"
        self.started_at_ns = now_ns()
        self._notices: DownNotices | None = None
        self.program_started_at_ns: Final = self.started_at_ns
        self.detached = False
        self.helpers: Final[set[int]] = set()
        """Children that are none of the plan, and will be waited for by who started them."""
        self.handover: Handover | None = None
        """What to pass on to the program that is to take this one's place, once `run` returns."""
        self._resumed: Final = resumed
        self.succession: Final = Succession(self)
        self._strangers: Final = Strangers()
        self._stop_requests = 0
        self._stop_wanted: asyncio.Event | None = None
        self.rounds: Final = Rounds(self, lambda unit, path: self.send(unit.sender, Reopen(path)))

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.premises.settings

    def prepare(self) -> None:
        """Take the run directory and the ports. Call before `run`, which frees them.

        Raises `MdbusError` kinds with nothing started and nothing left behind.
        """
        if self._resumed is not None:
            self.premises.resume(self._resumed.descriptors)
            self.started_at_ns = self._resumed.started_at_ns
        else:
            self.premises.prepare(self.specs)
        self.events.keep_in(self.premises.directory.log_dir)

    async def run(self, on_up: Callable[[], None] | None = None) -> None:
        """Start everything, call ``on_up`` once all layers were started, run until stopped.

        Stops on SIGTERM, SIGINT, SIGHUP and `request_stop`; a second one kills at once. When it
        returns or raises, no process is left; or all of them are, after `leave`.
        """
        loop = asyncio.get_running_loop()
        loop.set_default_executor(quiet_threads())
        self._stop_wanted = asyncio.Event()
        become_subreaper()
        control: ControlServer | None = None
        try:
            self._link = LinkServer(self._heard, self._felt)
            control = ControlServer(self)
            await control.open(self.settings.endpoints.control)
            self._notices = DownNotices(self.settings.endpoints.publish, self.settings.run_path)
            for spec in self.specs:
                self.add(spec)
            for number in _STOPPING:
                if number != signal.SIGHUP or not _under_nohup():
                    loop.add_signal_handler(number, self._on_signal, number)
            loop.add_signal_handler(signal.SIGCHLD, self._reap_strangers)
            self.say("begun", f"supervisor {bus.__version__} runs, pid {os.getpid()}")
            self._take_up()
            self.rounds.begin()
            starter = asyncio.create_task(self._start_layers(on_up))
            await self._stop_wanted.wait()
            starter.cancel()
            await asyncio.gather(starter, return_exceptions=True)
            if not self.is_replaced:
                await self._stop_layers()
        finally:
            self.rounds.end()
            if not self.is_replaced:
                for unit in self.units.values():
                    unit.kill()
            self.premises.spares.close()
            if self._notices is not None:
                self._notices.close()
            if control is not None:
                await control.close()
            if self._link is not None:
                self._link.close()
                self._link = None
            for number in (*_STOPPING, signal.SIGCHLD):
                loop.remove_signal_handler(number)
            if not self.is_replaced:
                end_strangers(self.premises.spares.pids())  # who watches those waits for them
                self.say("ended", "everything is stopped")
                self.manager.status("everything is stopped")
                self.premises.close()
            self.manager.close()

    def _take_up(self) -> None:
        """Watch on over the processes of the program that this one took the place of."""
        if self._resumed is None:
            return
        for name, facts in self._resumed.units.items():
            unit = self.units.get(name)
            if unit is not None:
                unit.resume(facts)
        if self._link is not None:
            self._link.resume(self._resumed.links)
        release_signals()
        for unit in self.units.values():
            if unit.spec.feed and unit.state.wanted and not unit.serving:
                self._tell_down(unit.spec.feed, unit)

    @property
    def is_replaced(self) -> bool:
        """Whether it has left, for another program to take its place."""
        return self.handover is not None

    def leave(self) -> None:
        """Keep all there is for the next program, which is this very process. `SIGNALS` are held
        back, and nothing may be going on: see `Succession`.
        """
        self.say("note", "the supervisor is being replaced in place")
        self.rounds.end()
        watched = {unit.sender for unit in self.units.values() if unit.child is not None}
        links = [] if self._link is None else self._link.leave(watched)
        self.handover = capture(self, links, detached=self.detached)
        for unit in self.units.values():
            unit.abandon()
        if self._stop_wanted is not None:
            self._stop_wanted.set()

    def request_stop(self, reason: str) -> None:
        """Take everything down in order; asked a second time, kill what is left at once."""
        self._stop_requests += 1
        if self._stop_requests == 1:
            self.state = "stopping"
            self.manager.stopping()
            self.say("stopping", f"stopping: {reason}")
            if self._stop_wanted is not None:
                self._stop_wanted.set()
        else:
            self.say("stopping", "asked again: killing what is left")
            for unit in self.units.values():
                unit.stop()  # else a killed process that was still wanted is started again
                unit.kill()

    def not_ready(self) -> list[Unit]:
        """The processes that are wanted and do not serve, in order of start."""
        return [
            unit
            for unit in self.units.values()
            if unit.state.wanted and (unit.phase is not Phase.READY or unit.failing())
        ]

    def add(self, spec: ProcessSpec) -> Unit:
        """Supervise one more process, stopped for now."""
        unit = self.units[spec.name] = Unit(spec, patience(self.settings, spec), self)
        return unit

    def change(self, wanted: Settings) -> None:
        """Have ``wanted`` in force for every process that starts from now on.

        Raises `MdbusError` kinds, with everything as it was.
        """
        specs = self.planner(wanted)
        self.premises.change(wanted, sum(spec.slot is not None for spec in specs))
        self.specs = specs
        if self._notices is not None:
            self._notices.endpoint = self.settings.endpoints.publish
        for unit in self.units.values():
            unit.settings = patience(self.settings, unit.spec)

    # What a `Unit` needs of its surroundings.

    def launch(self, spec: ProcessSpec, generation: int, on_exit: Callable[[int], None]) -> Child:
        """Start one process; raises `OSError` when it cannot be started."""
        if self._link is None:
            raise ProcessLookupError(errno.ESRCH, "the supervisor does not run")
        self.rounds.hasten()
        sender = Sender(spec.name, generation)
        theirs, pulse = self._link.open(sender)
        try:
            return self.premises.launch(spec, generation, (theirs, pulse), on_exit)
        except OSError:
            self._link.forget(sender)
            raise
        finally:
            theirs.close()

    def hear(self, sender: Sender) -> None:
        """Hand over the last words of one spawn of a process."""
        if self._link is not None:
            self._link.read(sender)

    def feel_pulses(self) -> None:
        """Note the heartbeats that nobody has looked at yet."""
        if self._link is not None:
            self._link.feel()

    def read_beats(self) -> None:
        """Note what the heartbeats say that nobody has read yet."""
        if self._link is not None:
            self._link.read_beats()

    def gone(self, unit: Unit) -> None:
        """A process has ended: tell the bus if it was a feed that died."""
        self.rounds.forget(unit.name)
        self.commands.gone(unit.name)
        feed = unit.spec.feed
        died = unit.last_exit is None or unit.last_exit.code != 0 or unit.phase is Phase.READY
        if feed and died and self.state != "stopping":
            self._tell_down(feed, unit)

    def _tell_down(self, feed: str, unit: Unit) -> None:
        """Tell the bus that a feed is dead."""
        detail = unit.last_exit.in_words() if unit.last_exit else ""
        symbols = self.settings.feeds[feed].symbols if feed in self.settings.feeds else ()
        if self._notices is not None:
            self._notices.post(feed, symbols, detail)

    def served(self, unit: Unit) -> None:
        """A process has become ready."""
        self.rounds.hasten()
        if unit.spec.feed and self._notices is not None:
            self._notices.withdraw(unit.spec.feed)

    def ended(self, sender: Sender) -> None:
        """One generation of a process has ended."""
        self.premises.ended(sender.name, sender.generation)
        if self._link is not None:
            self._link.forget(sender)

    def log_tail(self, sender: Sender) -> Sequence[str]:
        """The last lines of a process's log, of that generation alone."""
        return self.premises.log_tail(sender.name, sender.generation)

    def tell(self, happening: Happening) -> None:
        """Keep an event and show it to whoever looks."""
        self.events.add(happening)

    # The order of things.

    async def _start_layers(self, on_up: Callable[[], None] | None) -> None:
        timeout_s = self.settings.supervisor.ready_timeout_s + 1.0
        if self._resumed is None and any(not spec.command for spec in self.specs):
            self.premises.keep_spares()
            await self.premises.spares.template.wait(TEMPLATE_WAIT_S)
        for layer in [] if self._resumed is not None else layers(self.specs):
            if self.state == "stopping":
                return  # asked for while this task was due to go on, and before it was cancelled
            units = [self.units[spec.name] for spec in layer]
            names = ", ".join(unit.name for unit in units)
            self.say("waiting", f"waiting for {names} …")
            for unit in units:
                unit.start()
            await asyncio.gather(*(unit.until(_settled, timeout_s) for unit in units))
            for unit in units:
                if unit.phase is not Phase.READY:
                    self.say("failing", "not ready; going on without it", unit.name)
        if self.state == "stopping":
            return
        self.state = "running"
        self.manager.ready(self.in_words())
        if on_up is not None:
            on_up()

    async def _stop_layers(self) -> None:
        deadline_s = self.settings.stop_s
        try:
            async with asyncio.timeout(deadline_s):
                for layer in reversed(layers(self.specs)):
                    units = [self.units[spec.name] for spec in layer]
                    for unit in units:
                        unit.leave()
                    await asyncio.gather(*(unit.until(has_left, deadline_s) for unit in units))
        except TimeoutError:
            self.say("stopping", f"not all stopped within {deadline_s:g} s: killing what is left")
            for unit in self.units.values():
                unit.stop()
                unit.kill()
            await asyncio.gather(*(unit.until(has_left, 2.0) for unit in self.units.values()))

    def in_words(self) -> str:
        """One line for the service manager."""
        if self.state == "stopping":
            left = [unit.name for unit in self.units.values() if unit.children()]
            return f"stopping: {', '.join(left) or 'nearly done'}"
        late = [unit.name for unit in self.not_ready()]
        ready = sum(unit.serving for unit in self.units.values())
        text = f"{ready} of {len(self.units)} processes ready"
        if self.state == "starting":
            return f"starting: {text}"
        return f"{text}, at fault: {', '.join(late)}" if late else text

    def _heard(self, sender: Sender, message: LinkMessage) -> bool:
        unit = self.units.get(sender.name)
        if unit is None or not unit.heard(sender, message):
            return False
        return not isinstance(message, Reply) or self.commands.answered(unit.name, message)

    def _felt(self, sender: Sender, at_ns: int) -> None:
        unit = self.units.get(sender.name)
        if unit is not None:
            unit.felt(sender, at_ns)

    def send(self, sender: Sender, message: LinkMessage) -> bool:
        """Say something to a generation; whether it is there to hear it."""
        return self._link is not None and self._link.send(sender, message)

    def _reap_strangers(self) -> None:
        own = {child.pid for unit in self.units.values() for child in unit.children()}
        own |= self.premises.spares.pids() | self.helpers
        self._strangers.end(own)

    def _on_signal(self, number: signal.Signals) -> None:
        self.request_stop(number.name)

    def say(self, kind: str, text: str, process: str = "") -> None:
        """Tell an event that happens now."""
        self.tell(Happening(now_ns(), kind, process, text))


def _under_nohup() -> bool:
    """Whether whoever started us wants us to outlive the terminal."""
    return signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def _settled(unit: Unit) -> bool:
    hopeless = unit.state.unstable_starts >= HOPELESS_STARTS
    return unit.phase in (Phase.READY, Phase.FATAL, Phase.STOPPED) or hopeless
