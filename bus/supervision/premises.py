"""Everything the supervised processes share, made before the first starts and freed at the end.

The run directory with its lock, the settings in force, the lifeline, the listening sockets.
Whatever is wrong with any of it is found here, before anything runs.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from typing import Any

from bus.config import Settings
from bus.config.render import to_toml
from bus.endpoint import check_endpoint
from bus.errors import MdbusError
from bus.runtime.environment import Spawned
from bus.runtime.log import get_logger
from bus.supervision.listeners import PortBusyError, claim_endpoint, claim_port, open_listeners
from bus.supervision.log_files import end_of, rotate_log, tail_of
from bus.supervision.plan import ProcessSpec, imports
from bus.supervision.run_directory import RunDirectory, RunDirectoryError
from bus.supervision.settings_diff import keep_ports
from bus.supervision.spares import Spares
from bus.supervision.spawn import Child, module_command, process_arguments, spawn
from bus.supervision.token_keys import check_keys
from bus.transport.link import LinkEnd
from bus.transport.pulse import Pulse

_log = get_logger("supervision.premises")


class Premises:
    """The run directory, taken, and what is in it. `prepare` makes it all, `close` frees it.

    ``settings`` are those in force: ports given as 0 have become the real ones.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = dataclasses.replace(settings, run_dir=str(settings.run_path.absolute()))
        self.directory = RunDirectory(self.settings.run_path)
        self._listeners: list[socket.socket | None] = []  # None: closed for now
        self._lifeline: tuple[int, int] | None = None
        self._log_begins: dict[tuple[str, int], tuple[int, int]] = {}  # of what runs
        self.spares = Spares(
            self.directory.effective_config,
            self.directory.log_dir / "template.log",
            noted=lambda pid: self._record(f"spare.{pid}", pid),
            forgotten=lambda pid: self.directory.forget(f"spare.{pid}"),
        )

    def prepare(self, specs: tuple[ProcessSpec, ...]) -> None:
        """Take the run directory and the ports; raises `MdbusError` kinds, having freed all."""
        check_endpoint(f"ipc://{self.settings.endpoints.control}", "run_dir")
        check_keys(self.settings)
        slots = sum(spec.slot is not None for spec in specs)
        unused = self.directory.check()
        try:
            if unused:  # nobody runs in it: it is only made when the bus can start
                self._claim_ports(slots)
            self.directory.lock()
            stale = self.directory.remove_stale()
            if stale:
                _log.warning("removed processes of a dead supervisor", pids=stale)
            if not unused:  # who runs there comes before the ports it has, as does what it left
                self._claim_ports(slots)
            self.directory.write_effective(to_toml(self.settings))
            self._lifeline = os.pipe2(os.O_CLOEXEC)
        except BaseException:
            self.close()
            raise

    def descriptors(self) -> dict[str, Any]:
        """What a program that takes this one's place must inherit, by number."""
        assert self._lifeline is not None
        return {
            "lock": self.directory.lock_fd,
            "lifeline": list(self._lifeline),
            "listeners": [-1 if each is None else each.fileno() for each in self._listeners],
        }

    def resume(self, descriptors: Mapping[str, Any]) -> None:
        """Take over the descriptors of the program that this one took the place of."""
        self.directory.resume(descriptors["lock"])
        read_fd, write_fd = descriptors["lifeline"]
        self._lifeline = (read_fd, write_fd)
        numbers = descriptors["listeners"]
        self._listeners = [None if fd < 0 else socket.socket(fileno=fd) for fd in numbers]
        for fd in (read_fd, write_fd):
            os.set_inheritable(fd, False)
        for listener in filter(None, self._listeners):
            listener.set_inheritable(False)
            listener.setblocking(False)

    def launch(
        self,
        spec: ProcessSpec,
        generation: int,
        link: tuple[LinkEnd, Pulse],
        on_exit: Callable[[int], None],
    ) -> Child:
        """Start one process of the plan, with its end of the ``link`` and the memory for its
        heartbeats; raises `OSError` when it cannot be started.
        """
        assert self._lifeline is not None
        log_path = self.directory.log_dir / f"{spec.name}.log"
        limits = self.settings.supervisor
        rotate_log(log_path, limits.log_max_bytes, limits.log_files)
        self._log_begins[spec.name, generation] = end_of(log_path)
        listener = None if spec.slot is None else self._listener(spec.slot)
        spawned = Spawned(
            link_fd=link[0].fileno(),
            pulse_fd=link[1].fileno(),
            generation=generation,
            parent_pid=os.getpid(),
            lifeline_fd=self._lifeline[0],
            listen_fd=listener.fileno() if listener is not None else None,
            drain_s=self.settings.supervisor.orphan_drain_s,
        )
        if not spec.command:
            arguments = process_arguments(spec.name, self.directory.effective_config)
            child = self.spares.take(spec.module, arguments, log_path, spawned, on_exit) or spawn(
                module_command(spec.module, arguments),
                spawned=spawned,
                log_path=log_path,
                on_exit=on_exit,
            )
        else:
            child = spawn(spec.command, spawned=spawned, log_path=log_path, on_exit=on_exit)
        self._record(record_name(spec.name, generation), child.pid)
        return child

    def log_tail(self, name: str, generation: int) -> list[str]:
        """The last lines of a process's log since that generation was launched."""
        path = self.directory.log_dir / f"{name}.log"
        return tail_of(path, since=self._log_begins.get((name, generation), (0, 0)))

    def ended(self, name: str, generation: int) -> None:
        """That generation of a process is over."""
        self._log_begins.pop((name, generation), None)
        self.directory.forget(record_name(name, generation))

    def _record(self, name: str, pid: int) -> None:
        try:
            self.directory.record(name, pid)
        except OSError as error:  # the process runs all the same; only a later clean-up misses it
            _log.error("cannot record a pid", name=name, pid=pid, error=error)

    def close_slot(self, slot: int) -> bool:
        """Stop listening for a process that does not run: the kernel then gives all connections to
        the others instead of letting some wait for nobody. The next `launch` listens again. False
        when it was closed already.
        """
        listener = self._listeners[slot] if slot < len(self._listeners) else None
        if listener is None:
            return False
        listener.close()
        self._listeners[slot] = None
        return True

    def _listener(self, slot: int) -> socket.socket:
        """The listening socket of a slot; raises `OSError` when the port has been taken."""
        if slot >= len(self._listeners):
            raise OSError(errno.ESRCH, "new settings have no place for it")
        listener = self._listeners[slot]
        if listener is None:
            bridge = self.settings.bridge
            try:
                (listener,) = open_listeners(bridge.host, bridge.port, 1)
            except MdbusError as error:
                raise OSError(errno.EADDRINUSE, str(error)) from error
            self._listeners[slot] = listener
        return listener

    def keep_spares(self) -> None:
        """Start a template or a spare that is missing; call it while nothing else starts."""
        assert self._lifeline is not None
        wanted = self.settings.supervisor
        if wanted.template:
            self.spares.keep(imports(self.settings), wanted.spares, self._lifeline[0])
        else:
            self.spares.close()

    @property
    def wants_spares(self) -> bool:
        """Whether `keep_spares` was called and has not made all there is to be."""
        return self.spares.is_short

    async def renew_code(self) -> None:
        """Have every process that starts from now on run the code that is installed now."""
        assert self._lifeline is not None
        await self.spares.renew(self._lifeline[0])

    def change(self, wanted: Settings, slots: int) -> None:
        """Run on with other settings: take what ports they need anew, hand them to processes.

        The processes themselves are not touched. Raises `MdbusError` kinds, with everything as it
        was. ``slots`` is the number of listening sockets.
        """
        before = self.settings
        check_keys(wanted)
        settings = keep_ports(wanted, before)
        for key, endpoint in _changed_endpoints(before, settings):
            claim_endpoint(endpoint, key)
        if settings.simulated:
            served = before.simulated_ports
            claimed = {
                venue: claim_port(settings.simulator.host, port, f"simulator.ports.{venue}")
                for venue, port in settings.simulated_ports.items()
                if served.get(venue) != port or settings.simulator.host != before.simulator.host
            }
            simulator = settings.simulator
            simulator = dataclasses.replace(simulator, ports={**simulator.ports, **claimed})
            settings = dataclasses.replace(settings, simulator=simulator)
        listeners: list[socket.socket | None] = self._listeners
        dropped: list[socket.socket | None] = []
        bridge = settings.bridge
        if (bridge.host, bridge.port) != (before.bridge.host, before.bridge.port):
            with suppress(PortBusyError) if bridge.port == before.bridge.port else nullcontext():
                claim_port(bridge.host, bridge.port, "bridge.port")  # else we may be who is there
            listeners, dropped = [*open_listeners(bridge.host, bridge.port, slots)], listeners
        elif slots > len(listeners):
            more = open_listeners(bridge.host, bridge.port, slots - len(listeners))
            listeners = [*listeners, *more]
        else:
            listeners, dropped = listeners[:slots], listeners[slots:]
        try:
            self.directory.write_effective(to_toml(settings))
        except RunDirectoryError:
            for listener in listeners:
                if listener is not None and listener not in self._listeners:
                    listener.close()
            raise
        for listener in filter(None, dropped):  # a bridge that runs has a descriptor of its own
            listener.close()
        self._listeners, self.settings = listeners, settings

    def close(self) -> None:
        """Free the ports, the lifeline and the run directory; may be repeated."""
        for listener in filter(None, self._listeners):
            listener.close()
        self._listeners = []
        if self._lifeline is not None:
            for fd in self._lifeline:
                os.close(fd)
            self._lifeline = None
        self.directory.unlock()

    def _claim_ports(self, slots: int) -> None:
        """Take every port there is, with ``slots`` listening sockets for the bridges."""
        for key, endpoint in _endpoints(self.settings):
            claim_endpoint(endpoint, key)
        settings = self.settings
        if settings.simulated:
            simulator = settings.simulator
            claimed = {
                venue: claim_port(simulator.host, port, f"simulator.ports.{venue}")
                for venue, port in settings.simulated_ports.items()
            }
            simulator = dataclasses.replace(simulator, ports={**simulator.ports, **claimed})
            settings = dataclasses.replace(settings, simulator=simulator)
        if slots:
            bridge = settings.bridge
            port = claim_port(bridge.host, bridge.port, "bridge.port")
            self._listeners = [*open_listeners(bridge.host, port, slots)]
            settings = dataclasses.replace(settings, bridge=dataclasses.replace(bridge, port=port))
            admin = bridge.admin
            if admin.enabled and admin.port:
                for number in range(admin.port, min(admin.port + slots, 65_536)):
                    claim_port(admin.host, number, "bridge.admin.port")
        self.settings = settings


def record_name(name: str, generation: int) -> str:
    """Under which name the pid of one generation of a process is recorded."""
    return f"{name}.{generation}"


def _endpoints(settings: Settings) -> list[tuple[str, str]]:
    return [
        ("broker.publish", settings.endpoints.publish),
        ("broker.subscribe", settings.endpoints.subscribe),
    ]


def _changed_endpoints(before: Settings, after: Settings) -> list[tuple[str, str]]:
    in_use = dict(_endpoints(before)).values()
    return [(key, endpoint) for key, endpoint in _endpoints(after) if endpoint not in in_use]
