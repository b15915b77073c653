"""The supervisor's end of the link: every message once, noise counted."""

from __future__ import annotations

import asyncio
from pathlib import Path

import zmq

from bus.supervision.link_server import LinkServer
from bus.testing import eventually
from bus.transport.link import make_link_dealer
from bus.transport.sockets import ZmqContext
from bus.wire.link import Beat, Command, LinkMessage, Sender, decode_link, encode_link

SENDER = Sender("a", 1, "t")


async def test_a_burst_arrives_whole_and_noise_is_counted(run_dir: Path) -> None:
    context: ZmqContext = zmq.Context()
    heard: list[LinkMessage] = []

    def take(sender: Sender, message: LinkMessage) -> bool:
        heard.append(message)
        return sender == SENDER

    endpoint = f"ipc://{run_dir}/link.sock"
    server = LinkServer(context, endpoint, take)
    dealer = make_link_dealer(context, endpoint)
    for number in range(900):  # more than one reading takes
        dealer.send(encode_link(SENDER, Beat(number, 0.0)))
    await eventually(lambda: len(heard) == 900)
    dealer.send(b"noise")
    dealer.send(encode_link(Sender("b", 1, "t"), Beat(1, 0.0)))
    await eventually(lambda: server.refused == 2)
    assert [beat.number for beat in heard if isinstance(beat, Beat)][:900] == list(range(900))
    dealer.close()
    server.close()
    context.term()
    assert asyncio.get_running_loop().is_running()


async def test_a_message_reaches_the_spawn_it_is_for_and_no_other(run_dir: Path) -> None:
    context: ZmqContext = zmq.Context()
    heard: list[Sender] = []

    def take(sender: Sender, _: LinkMessage) -> bool:
        heard.append(sender)
        return True

    endpoint = f"ipc://{run_dir}/link.sock"
    server = LinkServer(context, endpoint, take)
    message = Command(1, "rotate")
    assert not server.send(SENDER, message), "nobody was heard of yet"
    first = make_link_dealer(context, endpoint)
    first.send(encode_link(SENDER, Beat(1, 0.0)))
    await eventually(lambda: heard)
    assert server.send(SENDER, message)
    await eventually(lambda: first.poll(0))
    assert decode_link(first.recv()) == (SENDER, message)

    successor = Sender("a", 2, "u")
    second = make_link_dealer(context, endpoint)
    second.send(encode_link(successor, Beat(1, 0.0)))
    await eventually(lambda: successor in heard)
    assert server.send(successor, message)
    await eventually(lambda: second.poll(0))
    assert not first.poll(0)
    assert server.send(SENDER, message), "both may run for a while"
    await eventually(lambda: first.poll(0))
    server.forget(SENDER)
    assert not server.send(SENDER, message), "that spawn is over"
    second.close()
    await eventually(lambda: not server.send(successor, message), what="the gone are known as gone")
    first.close()
    server.close()
    context.term()


async def test_what_comes_while_it_rests_waits_for_who_reads(run_dir: Path) -> None:
    context: ZmqContext = zmq.Context()
    heard: list[LinkMessage] = []

    def take(_: Sender, message: LinkMessage) -> bool:
        heard.append(message)
        return True

    endpoint = f"ipc://{run_dir}/link.sock"
    server = LinkServer(context, endpoint, take)
    dealer = make_link_dealer(context, endpoint)
    dealer.send(encode_link(SENDER, Beat(0, 0.0)))
    await eventually(lambda: len(heard) == 1, what="it attends from the beginning")
    server.rest()
    for number in range(1, 4):
        dealer.send(encode_link(SENDER, Beat(number, 0.0)))
    probe = make_link_dealer(context, endpoint)  # on a connection of its own
    turns = 0

    def turned() -> bool:
        nonlocal turns
        turns += 1
        return turns > 5

    await eventually(turned)
    assert len(heard) == 1

    def read() -> bool:
        server.read()
        return len(heard) == 4

    await eventually(read, what="it is all there when somebody reads")
    dealer.send(encode_link(SENDER, Beat(4, 0.0)))
    server.attend()
    await eventually(lambda: len(heard) == 5, what="also what came before it attended")
    probe.send(encode_link(SENDER, Beat(5, 0.0)))
    await eventually(lambda: len(heard) == 6)
    for socket in (dealer, probe):
        socket.close()
    server.rest()
    server.attend()
    server.close()
    server.read()
    context.term()
