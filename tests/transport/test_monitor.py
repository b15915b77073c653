"""A monitor tells when connections come and go."""

from __future__ import annotations

from pathlib import Path

from bus.testing import wait_until
from bus.transport.monitor import Connection, SocketMonitor
from bus.transport.sockets import bind, connect, new_context, proxy_egress, subscriber_socket
from tests.broker.serving import KeepingContext


def test_up_down_and_up_again_are_seen(run_dir: Path) -> None:
    endpoint = f"ipc://{run_dir}/s"
    ours, theirs = KeepingContext(), KeepingContext()
    socket = subscriber_socket(ours, endpoint, receive_hwm=1)
    monitor = SocketMonitor(socket)
    connect(socket, endpoint)
    seen: list[Connection] = []

    def saw(*expected: Connection) -> bool:
        seen.extend(monitor.receive())
        return seen == list(expected)

    bind(proxy_egress(theirs, send_hwm=1), endpoint)
    wait_until(lambda: saw(Connection.UP))
    theirs.end()
    wait_until(lambda: saw(Connection.UP, Connection.DOWN))
    theirs = KeepingContext()
    bind(proxy_egress(theirs, send_hwm=1), endpoint)
    wait_until(lambda: saw(Connection.UP, Connection.DOWN, Connection.UP))
    monitor.close()
    socket.close()
    ours.term()
    theirs.end()


def test_closing_lets_the_context_end(run_dir: Path) -> None:
    context = new_context()
    socket = subscriber_socket(context, f"ipc://{run_dir}/s", receive_hwm=1)
    SocketMonitor(socket).close()
    socket.close()
    context.term()
