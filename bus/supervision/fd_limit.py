"""How many file descriptors this program and its children may have open."""

from __future__ import annotations

import resource
from typing import Final

from bus.runtime.log import get_logger

MOST: Final = 1_048_576
ENOUGH: Final = 4_096
"""Below this a bridge cannot serve the clients its settings allow by default."""

_log = get_logger("supervision.fd_limit")


def raise_fd_limit() -> int:
    """Raise the soft limit to the hard one, for children to inherit; the limit now in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = wanted_limit(soft, hard)
    if wanted > soft:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        except (ValueError, OSError) as error:
            _log.warning("cannot raise the limit of open files", limit=soft, error=error)
    if soft < ENOUGH:
        _log.warning("few open files allowed", limit=soft, raise_it_with="ulimit -n 65536")
    return soft


def wanted_limit(soft: int, hard: int) -> int:
    """The limit to ask for: the hard one, at most `MOST`, and never less than there is."""
    most = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    return max(soft, most) if soft != resource.RLIM_INFINITY else MOST
