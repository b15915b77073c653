"""The asyncio subscriber, on both event loops."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bus.client import AsyncSubscriber, Publisher, SnapshotEnd, Update, async_subscriber
from bus.errors import BusError
from bus.model import Trade
from bus.testing import eventually
from tests.broker.frames import TRADES
from tests.broker.serving import ServingBroker


def publish(publisher: Publisher, count: int) -> None:
    writer = publisher.writer(TRADES)
    for _ in range(count):
        writer.publish(Trade(1.0, 1.0), venue_ts_ns=None, recv_ts_ns=1)


async def attached(publisher: Publisher) -> None:
    publisher.attach_loop()
    await eventually(lambda: publisher.stats().attached)


async def test_snapshot_then_live_in_order(broker: ServingBroker, loop_kind: str) -> None:
    with Publisher(broker.publish) as publisher:
        await attached(publisher)
        publish(publisher, 300)
        async with AsyncSubscriber(broker.subscribe) as consumer:
            consumer.subscribe(TRADES)
            seqs: list[int] = []
            async for event in consumer:
                if isinstance(event, Update):
                    seqs.append(event.tick.seq)
                    if len(seqs) == 20_000:
                        break
                elif isinstance(event, SnapshotEnd):
                    publish(publisher, 20_000)
            assert seqs == list(range(1, 20_001))


async def test_it_never_stalls_on_single_messages(broker: ServingBroker, loop_kind: str) -> None:
    """Each message is sent only after the last one came: a missed edge would stop the chain."""
    with Publisher(broker.publish) as publisher:
        await attached(publisher)
        async with AsyncSubscriber(broker.subscribe) as consumer:
            consumer.subscribe(TRADES)
            assert isinstance(await consumer.recv(5), SnapshotEnd)
            for seq in range(1, 1_001):
                publish(publisher, 1)
                event = await consumer.recv(5)
                assert isinstance(event, Update)
                assert event.tick.seq == seq


async def test_a_slow_task_leaves_the_socket_alone_and_loses_nothing(
    broker: ServingBroker, loop_kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(async_subscriber, "MAX_PENDING", 500)
    with Publisher(broker.publish) as publisher:
        await attached(publisher)
        async with AsyncSubscriber(broker.subscribe) as consumer:
            consumer.subscribe(TRADES)
            assert isinstance(await consumer.recv(5), SnapshotEnd)
            publish(publisher, 5_000)
            await eventually(lambda: consumer.stats().pending >= 500)
            assert consumer.stats().pending < 500 + 256
            seqs: list[int] = []
            while len(seqs) < 5_000:
                event = await consumer.recv(5)
                assert isinstance(event, Update)
                seqs.append(event.tick.seq)
            assert seqs == list(range(1, 5_001))


async def test_it_survives_the_broker(broker: ServingBroker, loop_kind: str) -> None:
    with Publisher(broker.publish) as publisher:
        await attached(publisher)
        async with AsyncSubscriber(broker.subscribe) as consumer:
            consumer.subscribe(TRADES)
            publish(publisher, 3)
            await asyncio.to_thread(broker.kill)
            publish(publisher, 3)
            await asyncio.to_thread(broker.start)
            await eventually(lambda: publisher.stats().attached == 2)
            publish(publisher, 1)
            seqs: list[int] = []
            while seqs[-1:] != [7]:
                event = await consumer.recv(10)
                assert event is not None, seqs
                if isinstance(event, Update):
                    seqs.append(event.tick.seq)
            assert seqs == sorted(set(seqs))


async def test_recv_gives_up_in_time(run_dir: Path, loop_kind: str) -> None:
    async with AsyncSubscriber(f"ipc://{run_dir}/s") as consumer:
        consumer.subscribe("md/")
        assert await consumer.recv(0.01) is None


async def test_closing_ends_a_waiting_iteration(run_dir: Path, loop_kind: str) -> None:
    consumer = AsyncSubscriber(f"ipc://{run_dir}/s")

    async def iterate() -> str:
        async for _ in consumer:
            pass
        return "ended"

    task = asyncio.create_task(iterate())
    await eventually(lambda: consumer._waiter is not None)
    consumer.close()
    assert await task == "ended"
    with pytest.raises(BusError):
        await consumer.recv(1)
    consumer.close()


async def test_unsubscribing_works_on_a_loop(broker: ServingBroker, loop_kind: str) -> None:
    async with AsyncSubscriber(broker.subscribe) as consumer:
        assert consumer.subscribe("md/")
        assert isinstance(await consumer.recv(5), SnapshotEnd)
        assert consumer.unsubscribe("md/")
        assert consumer.stats().inbox.topics == 0
