"""Hostile bytes: thousands of frames of the sessions that ``bench.fuzz`` plays by the million."""

from __future__ import annotations

import asyncio
import random

import pytest
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from bench.fuzz import frame, fuzz, request_of, session_of
from bus.testing import eventually
from tests.wsbridge.conftest import StartServer

FRAMES = 20_000


@pytest.mark.parametrize("seed", [1, 2])
async def test_every_hostile_session_ends_as_it_should(
    start_server: StartServer, loop_kind: str, seed: int
) -> None:
    running = await start_server("bridge.compression=on")
    playing = fuzz(running.port, seed=seed, frames=FRAMES, at_once=8, long_frames=400)
    outcome = await asyncio.wait_for(playing, 120)
    assert not outcome.wrong
    assert outcome.frames >= FRAMES
    assert len(outcome.ends) > 40, "sessions of many kinds were played"
    await eventually(lambda: running.server.report()["connections"] == 0)
    assert running.server.report()["internal_errors"] == 0


async def test_a_wrong_end_is_reported(start_server: StartServer) -> None:
    """The checker itself: against a server that is not there every session is wrong."""
    running = await start_server()
    await running.server.close()
    outcome = await asyncio.wait_for(fuzz(running.port, seed=1, frames=100, at_once=2), 60)
    assert outcome.wrong


def test_a_session_can_be_repeated() -> None:
    assert session_of(7, 11) == session_of(7, 11)
    assert session_of(7, 11) != session_of(8, 11)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_its_frames_are_what_the_library_reads(size: int) -> None:
    payload = random.Random(size).randbytes(size)
    protocol = ServerProtocol(max_size=None)
    protocol.receive_data(request_of())
    protocol.send_response(protocol.accept(protocol.events_received()[0]))  # type: ignore[arg-type]
    assert protocol.state is State.OPEN
    protocol.receive_data(frame(payload, Opcode.BINARY))
    assert protocol.events_received() == [Frame(Opcode.BINARY, payload)]
