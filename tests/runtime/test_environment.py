"""What a supervisor tells its child, through the environment and back."""

from __future__ import annotations

import pytest

from bus.runtime.environment import Spawned, take_spawned


@pytest.mark.parametrize("listen_fd", [None, 7])
def test_what_goes_in_comes_out_once(listen_fd: int | None) -> None:
    spawned = Spawned(9, 10, 3, 42, 5, listen_fd, 0.5)
    environment = {"PATH": "/bin", **spawned.to_environment()}
    assert take_spawned(environment) == spawned
    assert environment == {"PATH": "/bin"}, "a grandchild must not find it"
    assert take_spawned(environment) is None


def test_a_broken_variable_is_an_error() -> None:
    environment = Spawned(9, 10, 1, 1, 1).to_environment()
    environment["MDBUS_LIFELINE_FD"] = "many"
    with pytest.raises(ValueError, match="many"):
        take_spawned(environment)
