"""The supervisor is the ground its processes stand on."""

from __future__ import annotations

import inspect

from bus.supervision.ground import Ground
from bus.supervision.supervisor import Supervisor


def test_the_supervisor_offers_all_that_a_process_needs() -> None:
    for name, wanted in inspect.getmembers(Ground, inspect.isfunction):
        if not name.startswith("_"):
            offered = inspect.signature(getattr(Supervisor, name))
            assert offered.parameters.keys() == inspect.signature(wanted).parameters.keys(), name
