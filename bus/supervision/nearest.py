"""What somebody may have meant who mistyped a name."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name a mistyped one most likely means, or an empty text."""
    import difflib  # hardly anybody mistypes

    names = list(known)
    match = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if match:
        return match[0]
    containing = [candidate for candidate in names if name and name in candidate]
    return containing[0] if containing else ""
