"""asyncio for a program that stays for months and encrypts nothing: without TLS.

The library of TLS is a tenth of the memory of an idle supervisor, and asyncio imports it for
whoever might want it. asyncio does without where it cannot be imported.
"""

from __future__ import annotations

import sys
from typing import Final

_TLS: Final = "ssl"


def import_asyncio() -> bool:
    """Import asyncio without TLS, once for this program; False when it has one of them already."""
    if "asyncio" in sys.modules or _TLS in sys.modules:
        return False
    sys.modules[_TLS] = None  # type: ignore[assignment]  # how the import system says: not there
    try:
        import asyncio  # noqa: F401
    finally:
        del sys.modules[_TLS]
    return True
