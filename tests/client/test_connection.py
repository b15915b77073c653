"""The socket under a subscriber."""

from __future__ import annotations

from pathlib import Path

import pytest

from bus.client.connection import BATCH, BusConnection
from bus.client.deliveries import Message
from bus.errors import BusError, ConfigError
from bus.testing import wait_until
from bus.transport.sockets import bind, proxy_egress
from tests.broker.frames import trade
from tests.broker.serving import KeepingContext


def test_an_unusable_endpoint_leaves_nothing_open() -> None:
    with pytest.raises(ConfigError):
        BusConnection("tcp://192.0.2.1:1", 10, None, None)


def test_it_reads_a_batch_and_says_whether_there_is_more(run_dir: Path) -> None:
    context = KeepingContext()
    server = proxy_egress(context, send_hwm=0)
    endpoint = bind(server, f"ipc://{run_dir}/s")
    connection = BusConnection(endpoint, 0, None, None)
    connection.subscribe("md/", snapshot=False)
    assert server.recv() == b"\x01md/"
    wait_until(lambda: connection.service() == [] and connection.connected)
    count = BATCH + 10
    for number in range(1, count + 1):
        server.send(trade(number))
    seqs: list[int] = []

    def all_read() -> bool:
        deliveries, empty = connection.read()
        assert len(deliveries) <= BATCH
        seqs.extend(d.seq for d in deliveries if isinstance(d, Message))
        assert empty or len(deliveries) == BATCH
        return len(seqs) == count

    wait_until(all_read)
    assert seqs == list(range(1, count + 1))
    connection.close()
    connection.close()
    context.end()


def test_a_closed_one_says_so(run_dir: Path) -> None:
    connection = BusConnection(f"ipc://{run_dir}/s", 0, None, None)
    connection.close()
    with pytest.raises(BusError, match="the subscriber is closed"):
        connection.subscribe("md/", snapshot=True)
    with pytest.raises(BusError, match="the subscriber is closed"):
        connection.unsubscribe("md/")
    connection.close()
