"""A forked process takes its memory to itself, and only its own."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import os, resource
held = [bytearray(b"x") * 4096 for _ in range(2000)]
if (child := os.fork()) == 0:
    from bus.runtime.pages import own_pages
    own = own_pages()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for each in held:
        each[0] = 1
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    print(own > 8_000_000, faults < 500, flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(sum(each[0] for each in held) == 2000 * ord("x"))
"""


def test_what_is_written_to_afterwards_is_there_already() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.stdout.split() == ["True", "True", "True"], done.stderr
