"""A real broker process for the tests of the client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker.serving import ServingBroker


@pytest.fixture
def broker(run_dir: Path) -> Iterator[ServingBroker]:
    """A broker process, serving."""
    with ServingBroker(run_dir) as serving:
        yield serving
