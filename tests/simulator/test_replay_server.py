"""A capture played over real sockets: the order of frames, answers and endings is the captured."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from bus.capture import Closed, Frame, Hole, Opened, Record, Sent
from bus.config.simulator import SimulatorSettings
from bus.simulator.captured import Captures
from bus.simulator.replay_server import ReplayServer
from bus.testing import eventually
from tests.simulator.captures import SECOND_NS, START_NS, exchange, head, write

SUBSCRIBE = b'{"method":"SUBSCRIBE","params":["a@trade","a@depth"],"id":1}'
OTHER = b'{"method":"SUBSCRIBE","params":["b@trade"],"id":1}'


class Playing:
    """A server that plays, and what its clients have got, in one list."""

    def __init__(self, server: ReplayServer, port: int) -> None:
        self.server = server
        self.port = port
        self.got: list[str] = []

    def connect(self) -> connect:
        return connect(f"ws://127.0.0.1:{self.port}/stream", compression=None, ping_interval=None)

    async def listen(self, name: str, message: bytes) -> ClientConnection:
        """A client that subscribes and notes every frame and its end."""
        socket = await self.connect()
        await socket.send(message.decode())

        async def note() -> None:
            try:
                async for frame in socket:
                    self.got.append(f"{name}:{frame!s}")
            except ConnectionClosed:
                pass
            self.got.append(f"{name}!{socket.close_code}")

        self._task = asyncio.ensure_future(note())
        return socket

    async def get(self, path: str, **query: str) -> httpx.Response:
        async with httpx.AsyncClient(timeout=20) as client:
            answer = await client.get(f"http://127.0.0.1:{self.port}{path}", params=query)
        self.got.append(f"{path}={answer.text}")
        return answer

    async def state(self) -> dict[str, Any]:
        async with httpx.AsyncClient(timeout=20) as client:
            answer = await client.get(f"http://127.0.0.1:{self.port}/_sim/playback")
        found: dict[str, Any] = answer.json()
        return found

    @property
    def figures(self) -> dict[str, int]:
        return self.server.figures()

    async def complete(self) -> None:
        await eventually(lambda: self.figures["binance_playback_complete"])


Play = Callable[..., contextlib.AbstractAsyncContextManager[Playing]]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    @contextlib.asynccontextmanager
    async def playing(
        *records: Record, patience_s: float = 10.0, **changes: Any
    ) -> AsyncIterator[Playing]:
        path = write(tmp_path / "a.mdcap", head(), *records)
        changes = {"playback_speed": "max"} | changes
        settings = replace(SimulatorSettings(), **changes)
        server = ReplayServer("binance", settings, Captures.open([path], "binance"))
        assert server.conductor is not None
        server.conductor.patience_s = patience_s
        port = await server.start("127.0.0.1", 0)
        try:
            yield Playing(server, port)
        finally:
            await server.close()

    return playing


def opened(number: int, *, successor: bool = False, carried: int = 0) -> Opened:
    return Opened(START_NS, number, "binance.1", "ws://x", successor, carried > 0, carried)


def frame(text: str, number: int = 1, after_s: float = 0.0) -> Frame:
    return Frame(START_NS + int(after_s * SECOND_NS), number, text.encode())


async def test_frames_and_answers_come_in_the_captured_order(play: Play) -> None:
    records = [
        exchange("/info", b"I"),
        opened(1),
        Sent(START_NS, 1, SUBSCRIBE),
        frame("ack"),
        *(frame(f"before {number}") for number in range(300)),
        exchange("/depth", b"D", symbol="A"),
        *(frame(f"after {number}") for number in range(300)),
    ]
    async with play(*records) as playing:
        depth = asyncio.ensure_future(playing.get("/depth", symbol="A"))  # asked far too early
        await playing.get("/info")
        await playing.listen("c", SUBSCRIBE)
        await playing.complete()
        await depth
        wanted = ["/info=I", "c:ack", *(f"c:before {number}" for number in range(300))]
        assert playing.got[:302] == wanted
        assert playing.got.index("/depth=D") < playing.got.index("c:after 5")
        assert [line for line in playing.got if line.startswith("c:after")] == [
            f"c:after {number}" for number in range(300)
        ]


async def test_the_capture_waits_for_a_call_that_comes_late(play: Play) -> None:
    records = [
        opened(1),
        Sent(START_NS, 1, SUBSCRIBE),
        frame("1"),
        exchange("/d", b"D"),
        frame("2"),
    ]
    async with play(*records) as playing:
        await playing.listen("c", SUBSCRIBE)
        await eventually(lambda: playing.got == ["c:1"])
        assert (await playing.state())["playback_sent"] == 1
        await playing.get("/d")
        await eventually(lambda: "c:2" in playing.got)
        assert playing.figures["binance_playback_answered"] == 1


async def test_a_repeated_call_gets_the_captured_answers_in_turn(play: Play) -> None:
    async with play(*(exchange("/d", b"%d" % number) for number in range(3))) as playing:
        for _ in range(3):
            await playing.get("/d")
        assert playing.got == ["/d=0", "/d=1", "/d=2"]


async def test_status_and_headers_of_an_answer_are_the_captured_ones(play: Play) -> None:
    limited = exchange("/d", b"slow down", 429)
    limited.headers["Retry-After"] = "7"
    async with play(limited, exchange("/d", b"", 0), exchange("/d", b"ok")) as playing:
        answer = await playing.get("/d")
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
        with pytest.raises(httpx.TransportError):  # no answer came then, none comes now
            await playing.get("/d")
        assert (await playing.get("/d")).text == "ok"


async def test_an_answer_nobody_asks_for_is_passed_over_and_waited_for_once(play: Play) -> None:
    records = [
        exchange("/known", b"K"),
        *(exchange("/unknown", b"U") for _ in range(50)),
        exchange("/known", b"L"),
    ]
    async with play(*records, patience_s=0.2) as playing:
        await playing.get("/known")
        await playing.get("/known")
        assert playing.got == ["/known=K", "/known=L"]
        assert playing.figures["binance_playback_not_asked"] == 50


async def test_each_connection_goes_to_the_client_that_subscribed_to_it(play: Play) -> None:
    records = [
        opened(1),
        opened(2),
        Sent(START_NS, 2, OTHER),
        frame("of 2", 2),
        Sent(START_NS, 1, SUBSCRIBE),
        frame("of 1", 1),
        frame("of 2 again", 2),
    ]
    async with play(*records) as playing:
        await playing.listen("a", SUBSCRIBE)
        await playing.listen("b", OTHER)
        await eventually(lambda: len(playing.got) == 3)
        assert sorted(playing.got) == ["a:of 1", "b:of 2", "b:of 2 again"]


async def test_what_came_before_the_subscription_is_kept_for_its_client(play: Play) -> None:
    records = [opened(1), frame("hello"), Sent(START_NS, 1, SUBSCRIBE), frame("data")]
    async with play(*records) as playing:
        await playing.listen("b", OTHER)
        await playing.listen("a", SUBSCRIBE)
        await eventually(lambda: playing.got == ["a:hello", "a:data"])


@pytest.mark.parametrize(("code", "seen"), [(1006, 1006), (1012, 1012), (0, 1006)])
async def test_an_ending_is_repeated_after_everything_before_it(
    play: Play, code: int, seen: int
) -> None:
    records = [
        opened(1),
        Sent(START_NS, 1, SUBSCRIBE),
        *(frame(str(number)) for number in range(50)),
        Closed(START_NS, 1, code, "closed", "why"),
        opened(2),
        Sent(START_NS, 2, SUBSCRIBE),
        frame("back", 2),
    ]
    async with play(*records) as playing:
        await playing.listen("a", SUBSCRIBE)
        await eventually(lambda: len(playing.got) == 51)
        assert playing.got == [*(f"a:{number}" for number in range(50)), f"a!{seen}"]
        await playing.listen("b", SUBSCRIBE)  # the capture has waited for it
        await eventually(lambda: playing.got[-1] == "b:back")
        assert playing.figures["binance_playback_not_taken"] == 0


async def test_a_successor_shares_its_predecessors_client_where_there_is_no_second(
    play: Play,
) -> None:
    records = [
        opened(1),
        Sent(START_NS, 1, SUBSCRIBE),
        frame("old"),
        opened(2, successor=True),
        Sent(START_NS, 2, SUBSCRIBE),
        frame("new", 2),
        Closed(START_NS, 1, 1000, "left"),
        frame("newer", 2),
    ]
    async with play(*records) as playing:
        await playing.listen("a", SUBSCRIBE)
        await playing.complete()
        await eventually(lambda: playing.got == ["a:old", "a:new", "a:newer"])


async def test_a_successor_is_waited_for_and_gets_the_rest_when_its_predecessor_leaves(
    play: Play,
) -> None:
    records = [
        opened(1),
        Sent(START_NS, 1, SUBSCRIBE),
        frame("old"),
        opened(2, successor=True),
        Sent(START_NS, 2, SUBSCRIBE),
        frame("new", 2),
        exchange("/wait", b"W"),
        frame("late", 1),
    ]
    async with play(*records) as playing:
        first = await playing.listen("a", SUBSCRIBE)
        await eventually(lambda: playing.got == ["a:old"])
        await playing.listen("b", SUBSCRIBE)
        await eventually(lambda: playing.got == ["a:old", "b:new"])
        await first.close()
        await playing.get("/wait")
        await eventually(lambda: playing.got[-1] == "b:late")
        assert playing.figures["binance_playback_not_taken"] == 0


async def test_two_connections_that_bring_the_same_keep_their_order(play: Play) -> None:
    records = [opened(1), Sent(START_NS, 1, SUBSCRIBE), opened(2, successor=True)]
    records += [Sent(START_NS, 2, SUBSCRIBE)]
    records += [frame(str(number), 1 + number // 3 % 2) for number in range(60)]
    async with play(*records) as playing:
        await playing.listen("a", SUBSCRIBE)
        await playing.listen("b", SUBSCRIBE)
        await playing.complete()
        await eventually(lambda: len(playing.got) == 60)
        assert [line.partition(":")[2] for line in playing.got] == [str(n) for n in range(60)]
        assert {line.partition(":")[0] for line in playing.got} == {"a", "b"}


async def test_a_client_with_other_wishes_gets_what_it_can_and_the_rest_is_passed_over(
    play: Play,
) -> None:
    records = [
        opened(1),
        Sent(START_NS, 1, OTHER),
        *(frame("nobody's") for _ in range(20)),
        opened(2),
        Sent(START_NS, 2, SUBSCRIBE),
        frame("mine", 2),
    ]
    async with play(*records, patience_s=0.2) as playing:
        await playing.listen("a", SUBSCRIBE)
        await eventually(lambda: playing.got == ["a:mine"])
        assert playing.figures["binance_playback_not_taken"] == 20


async def test_a_control_message_is_waited_for_before_its_answer_is_played(play: Play) -> None:
    records = [
        opened(1),
        Sent(START_NS, 1, SUBSCRIBE),
        frame("crossed"),
        Sent(START_NS, 1, OTHER),
        frame("snapshot"),
        Sent(START_NS, 1, b'{"method":"ping"}'),  # by the clock: not waited for
        frame("pong"),
    ]
    async with play(*records) as playing:
        socket = await playing.listen("a", SUBSCRIBE)
        await eventually(lambda: playing.got == ["a:crossed"])
        await socket.send(OTHER.decode())
        await eventually(lambda: playing.got == ["a:crossed", "a:snapshot", "a:pong"])
    async with play(*records, patience_s=0.2) as playing:
        await playing.listen("a", SUBSCRIBE)
        await eventually(lambda: playing.got == ["a:crossed", "a:snapshot", "a:pong"])
        assert playing.figures["binance_playback_not_said"] == 1


async def test_a_client_that_left_is_waited_for(play: Play) -> None:
    records = [
        opened(1),
        Sent(START_NS, 1, SUBSCRIBE),
        frame("1"),
        exchange("/wait", b"W"),
        frame("2"),
    ]
    async with play(*records) as playing:
        first = await playing.listen("a", SUBSCRIBE)
        await eventually(lambda: playing.got == ["a:1"])
        await first.close()
        await playing.listen("b", SUBSCRIBE)
        await playing.get("/wait")
        await eventually(lambda: playing.got[-1] == "b:2")


async def test_a_caller_that_hangs_up_is_forgotten(play: Play) -> None:
    async with play(exchange("/first", b"1"), exchange("/d", b"D")) as playing:
        with pytest.raises(httpx.ReadTimeout):
            async with httpx.AsyncClient(timeout=0.2) as client:
                await client.get(f"http://127.0.0.1:{playing.port}/d")
        waiting = (await playing.state())["waiting_calls"]
        assert waiting in ([], ["/d"])
        await playing.get("/first")
        assert (await playing.get("/d")).text == "D"


async def test_a_speed_stretches_the_captured_times(play: Play) -> None:
    records = [
        opened(1),
        Sent(START_NS, 1, SUBSCRIBE),
        frame("now"),
        frame("later", after_s=2.0),
    ]
    async with play(*records, playback_speed="4") as playing:
        loop = asyncio.get_running_loop()
        await playing.listen("a", SUBSCRIBE)
        await eventually(lambda: playing.got == ["a:now"])
        began_s = loop.time()
        await eventually(lambda: playing.got == ["a:now", "a:later"])
        assert 0.3 < loop.time() - began_s < 2.0


async def test_at_the_end_clients_are_closed_or_it_begins_again_as_set(play: Play) -> None:
    records = [opened(1), Sent(START_NS, 1, SUBSCRIBE), frame("x")]
    async with play(*records, playback_end="close") as playing:
        await playing.listen("a", SUBSCRIBE)
        await eventually(lambda: playing.got == ["a:x", "a!1000"])
    async with play(*records, playback_end="loop") as playing:
        await playing.listen("a", SUBSCRIBE)
        await eventually(lambda: playing.got == ["a:x", "a!1006"])
        await playing.listen("b", SUBSCRIBE)
        await eventually(lambda: playing.got[2:] == ["b:x", "b!1006"])


async def test_files_of_one_run_are_one_and_those_of_another_begin_anew(
    tmp_path: Path,
) -> None:
    subscribed = [opened(1), Sent(START_NS, 1, SUBSCRIBE)]
    carried = [opened(1, carried=1), Sent(START_NS, 1, SUBSCRIBE)]
    files = [
        write(tmp_path / "a.mdcap", head(1), *subscribed, frame("1")),
        write(tmp_path / "b.mdcap", head(2), *carried, frame("2"), Hole(START_NS, 0, 3, 9, "x")),
        write(tmp_path / "c.mdcap", head(1, START_NS + 9), *subscribed, frame("3")),
    ]
    settings = replace(SimulatorSettings(), playback_speed="max")
    server = ReplayServer("binance", settings, Captures.open(files, "binance"))
    playing = Playing(server, await server.start("127.0.0.1", 0))
    try:
        await playing.listen("a", SUBSCRIBE)
        await eventually(lambda: playing.got == ["a:1", "a:2", "a!1006"])
        await playing.listen("b", SUBSCRIBE)
        await eventually(lambda: playing.got[-1] == "b:3")
        assert (await playing.state())["holes"] == 1
    finally:
        await server.close()


async def test_a_venue_without_captures_refuses_and_says_why() -> None:
    server = ReplayServer("finnhub", SimulatorSettings(), Captures([]))
    playing = Playing(server, await server.start("127.0.0.1", 0))
    try:
        answer = await playing.get("/api/v1/news")
        assert (answer.status_code, "no capture" in answer.text) == (503, True)
        with pytest.raises(InvalidStatus):
            await playing.connect()
        assert (await playing.get("/_sim/playback")).status_code == 404
    finally:
        await server.close()
