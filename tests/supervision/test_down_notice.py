"""The bus is told of a dead feed, also when the broker comes later or comes back."""

from __future__ import annotations

import asyncio
import sys
import threading
from pathlib import Path

import pytest
import zmq

from bus.model.tick import Status
from bus.supervision.down_notice import DownNotices
from bus.testing import eventually
from bus.transport.sockets import ZmqContext, bind, new_context, proxy_ingress
from bus.wire.codec import decode_frame


def names_of_threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


async def test_a_notice_reaches_a_broker_that_comes_later(run_dir: Path) -> None:
    context: ZmqContext = new_context()
    endpoint = f"ipc://{run_dir}/publish.sock"
    notices = DownNotices(endpoint, run_dir)
    notices.post("binance", ["BTC-USDT"], "signal SIGKILL")
    broker = proxy_ingress(context, receive_hwm=0)
    bind(broker, endpoint)
    broker.send(b"\x01md/")
    broker.send(b"\x01sys/")
    received = []

    def read() -> bool:
        while broker.poll(0):
            received.append(decode_frame(broker.recv()))
        return len(received) >= 2

    await eventually(read)
    assert {tick.topic.name for tick in received} == {
        "sys/status/binance/",
        "sys/status/binance/BTC-USDT/",
    }
    body = received[0].body
    assert isinstance(body, Status)
    assert (body.state, body.detail) == ("down", "signal SIGKILL")
    first_epoch = received[0].epoch
    received.clear()
    await asyncio.to_thread(broker.poll, 20)
    notices.post("binance", ["BTC-USDT"], "again")
    await eventually(read)
    assert received[0].epoch > first_epoch, "each death is newer than the one before"
    notices.withdraw("binance")
    await eventually(lambda: not {"notices"} & names_of_threads(), what="no threads are kept")
    assert notices._context is None
    notices.close()
    broker.close()
    context.term()
    assert zmq.zmq_version_info() >= (4, 3)


async def test_a_feed_that_is_back_at_once_speaks_for_itself(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[str] = []
    monkeypatch.setattr(
        DownNotices, "_publish", lambda _self, feed, *_: published.append(str(feed))
    )
    notices = DownNotices(f"ipc://{run_dir}/publish.sock", run_dir)
    notices.post("binance", ["BTC-USDT"], "signal SIGKILL")
    notices.post("finnhub", [], "signal SIGKILL")
    notices.withdraw("binance")
    await eventually(lambda: published)
    assert published == ["finnhub"]
    notices.post("finnhub", [], "again")
    notices.close()
    await eventually(lambda: len(asyncio.all_tasks()) == 1, what="nobody waits any more")
    assert published == ["finnhub"]


async def test_code_that_cannot_be_imported_is_said(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "bus.client.publisher", None)
    notices = DownNotices(f"ipc://{run_dir}/publish.sock", run_dir)
    notices.post("finnhub", [], "signal SIGKILL")
    await eventually(lambda: "cannot tell the bus" in capsys.readouterr().err)
    notices.close()
