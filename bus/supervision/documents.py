"""What ``--json`` prints: always an object, always with the version of its form.

Within a version keys are only ever added. Standard library only: queries must be quick.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any, Final

VERSION: Final = 1


def json_line(value: Mapping[str, Any]) -> str:
    """The object on one line, for verbs that print one after the other."""
    return json.dumps({"version": VERSION, **value}, ensure_ascii=False)


def print_document(value: Mapping[str, Any]) -> None:
    """Print the object for who looks at it, too."""
    document = {"version": VERSION, **value}
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")
