"""The benchmark's C programs, compiled once into the cache directory."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

from bench.peers.rivals import NotHere, cache_dir

HERE = Path(__file__).resolve().parent
COMPILERS = ("cc", "gcc", "clang")


def compiled(name: str) -> Path:
    """The program made of ``<name>.c``. Raises :class:`NotHere` without a C compiler.

    With zlib's header the client inflates what it counts; without it, it cannot.
    """
    compiler = next((found for found in map(shutil.which, COMPILERS) if found), None)
    if compiler is None:
        raise NotHere("there is no C compiler (cc)")
    source = HERE / f"{name}.c"
    program = cache_dir() / f"{name}-{hashlib.sha256(source.read_bytes()).hexdigest()[:12]}"
    if program.exists():
        return program
    program.parent.mkdir(parents=True, exist_ok=True)
    fresh = program.with_suffix(".new")
    command = [compiler, "-O2", "-o", str(fresh), str(source)]
    errors = ""
    for more in (["-DWITH_ZLIB", "-lz"], []):
        done = subprocess.run([*command, *more], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            fresh.replace(program)
            return program
        errors = done.stderr
    raise NotHere(f"{compiler} could not compile {source.name}: {errors[-200:]}")
