"""The supervisor's end of the link: every message once, noise counted, heartbeats wake nobody."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.supervision import link_server
from bus.supervision.generation import Sender
from bus.supervision.link_server import MOST_A_SECOND, LinkServer
from bus.testing import eventually
from bus.transport.link import LinkEnd
from bus.transport.pulse import Pulse
from bus.wire.link import Beat, Bye, Command, Draining, LinkMessage, decode_link, encode_link

SENDER = Sender("a", 1)


class Heard:
    """A server, and what it has handed on; a stop for ``b`` is not expected."""

    def __init__(self) -> None:
        self.messages: list[tuple[Sender, LinkMessage]] = []
        self.felt: list[tuple[Sender, int]] = []
        self.server = LinkServer(
            self._take, lambda sender, at_ns: self.felt.append((sender, at_ns))
        )
        self.processes: dict[Sender, tuple[LinkEnd, Pulse]] = {}

    def _take(self, sender: Sender, message: LinkMessage) -> bool:
        self.messages.append((sender, message))
        return sender.name != "b"

    def start(self, sender: Sender = SENDER) -> tuple[LinkEnd, Pulse]:
        """Play a process: its end, and its own view of the memory for heartbeats."""
        end, pulse = self.server.open(sender)
        self.processes[sender] = end, Pulse(os.dup(pulse.fileno()))
        return self.processes[sender]

    def close(self) -> None:
        self.server.close()
        for end, pulse in self.processes.values():
            end.close()
            pulse.close()


async def turns(count: int) -> None:
    """Wait for so many turns of the loop."""
    left = count

    def over() -> bool:
        nonlocal left
        left -= 1
        return left < 0

    await eventually(over)


async def test_a_burst_arrives_whole_and_noise_is_counted() -> None:
    heard = Heard()
    end, _ = heard.start()

    async def say(texts: list[str]) -> None:
        for text in texts:
            frame = encode_link(Draining(text))
            await eventually(lambda frame=frame: end.send(frame))  # type: ignore[misc]

    await say([str(number) for number in range(400)])
    await eventually(lambda: len(heard.messages) == 400)
    assert heard.messages == [(SENDER, Draining(str(number))) for number in range(400)]
    end.send(b"noise")
    other, _ = heard.start(Sender("b", 1))
    other.send(encode_link(Draining("x")))
    await eventually(lambda: heard.server.refused == 2)
    heard.close()
    assert asyncio.get_running_loop().is_running()


def fill(end: LinkEnd, frame: bytes) -> int:
    """Send until no more fits; how many did."""
    count = 0
    while end.send(frame):
        count += 1
    return count


async def test_who_never_stops_talking_is_heard_so_often_and_the_others_always(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(link_server, "_WINDOW_S", 1e6)
    heard = Heard()
    loud, _ = heard.start()
    other, _ = heard.start(Sender("c", 1))
    frame = encode_link(Draining("still"))

    def said_all() -> bool:
        fill(loud, frame)
        return len(heard.messages) == MOST_A_SECOND

    await eventually(said_all)
    fill(loud, frame)
    other.send(frame)
    await turns(20)
    assert heard.messages[MOST_A_SECOND:] == [(Sender("c", 1), Draining("still"))]
    assert fill(loud, frame) == 0, "the rest is left where it takes no memory of ours"
    heard.server.forget(SENDER)
    await turns(5)
    heard.close()


async def test_what_waited_is_heard_when_its_time_has_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(link_server, "_WINDOW_S", 0.02)
    heard = Heard()
    loud, _ = heard.start()
    sent = 0

    def enough() -> bool:
        nonlocal sent
        sent += fill(loud, encode_link(Draining("still")))
        return sent > 3 * MOST_A_SECOND

    await eventually(enough)
    await eventually(lambda: len(heard.messages) == sent)
    heard.close()


async def test_nonsense_is_logged_once_and_counted_always(
    capsys: pytest.CaptureFixture[str],
) -> None:
    heard = Heard()
    end, pulse = heard.start()
    for number in range(1, 21):
        end.send(b"noise")
        pulse.write(number, b"noise")
        heard.server.read(SENDER)
    assert heard.server.refused == 40
    assert capsys.readouterr().err.count("bad link message") == 1
    heard.close()


@given(frames=st.lists(st.binary(max_size=200), max_size=30))
@settings(deadline=None)
def test_no_bytes_of_a_process_stop_the_server(frames: list[bytes]) -> None:
    async def play() -> None:
        heard = Heard()
        end, pulse = heard.start()
        for number, frame in enumerate(frames):
            end.send(frame)
            pulse.write(number, frame)
            heard.server.feel()
            heard.server.read_beats()
        heard.server.read(SENDER)
        other, _ = heard.start(Sender("c", 1))
        other.send(encode_link(Draining("well")))
        await eventually(lambda: (Sender("c", 1), Draining("well")) in heard.messages)
        heard.close()

    asyncio.run(play())


async def test_a_message_reaches_the_spawn_it_is_for_and_no_other() -> None:
    heard = Heard()
    message, successor = Command(1, "rotate"), Sender("a", 2)
    assert not heard.server.send(SENDER, message), "nobody was started yet"
    (first, _), (second, _) = heard.start(), heard.start(successor)
    assert heard.server.send(successor, message)
    assert decode_link(second.receive() or b"") == message
    assert first.receive() is None
    assert heard.server.send(SENDER, message), "both may run for a while"
    assert decode_link(first.receive() or b"") == message
    heard.server.forget(SENDER)
    heard.server.forget(SENDER)
    assert not heard.server.send(SENDER, message), "that spawn is over"
    second.close()
    assert not heard.server.send(successor, message), "the gone are known as gone"
    heard.close()


async def test_a_heartbeat_waits_for_who_looks() -> None:
    heard = Heard()
    _, pulse = heard.start()
    for number in range(1, 4):
        pulse.write(number, encode_link(Beat(number, number, 0.0)))
    await turns(5)
    assert (heard.felt, heard.messages) == ([], [])
    heard.server.feel()
    heard.server.feel()
    assert (heard.felt, heard.messages) == ([(SENDER, 3)], [])
    heard.server.read_beats()
    heard.server.read_beats()
    assert heard.messages == [(SENDER, Beat(3, 3, 0.0))], "felt or not, it is read, and once"
    heard.close()


async def test_last_words_are_read_when_asked_and_the_end_is_no_noise() -> None:
    heard = Heard()
    end, pulse = heard.start()
    pulse.write(1, encode_link(Beat(1, 1, 0.0)))
    heard.server.send(SENDER, Command(1, "never read"))
    end.send(encode_link(Bye(1, "no memory")))
    end.close()
    heard.server.read(SENDER)
    assert heard.messages == [(SENDER, Beat(1, 1, 0.0)), (SENDER, Bye(1, "no memory"))]
    calls = 0
    handed_on: Callable[[Sender], None] = heard.server.read

    def read() -> bool:
        nonlocal calls
        calls += 1
        handed_on(SENDER)
        return calls > 3

    await eventually(read)
    assert (len(heard.messages), heard.server.refused) == (2, 0)
    heard.close()


async def test_another_program_goes_on_with_the_same_links() -> None:
    heard, successor = Heard(), Heard()
    end, pulse = heard.start()
    stranger, _ = heard.start(Sender("gone", 1))
    left = heard.server.leave({SENDER})
    assert not stranger.send(b"anybody?"), "a link that nobody would forget is not passed on"
    end.send(encode_link(Draining("meanwhile")))
    pulse.write(5, encode_link(Beat(1, 5, 0.0)))
    successor.server.resume(left)
    await eventually(lambda: successor.messages == [(SENDER, Draining("meanwhile"))])
    successor.server.feel()
    assert successor.felt == [(SENDER, 5)]
    assert successor.server.send(SENDER, Command(1, "rotate"))
    assert end.receive() is not None
    assert not heard.messages
    heard.server.close()
    assert end.send(b"noise"), "whoever left them does not close them"
    await eventually(lambda: successor.server.refused == 1)
    heard.close()
    successor.close()
