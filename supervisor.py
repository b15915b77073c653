"""``python supervisor.py …`` is ``mdbus …``."""

import sys
from importlib.util import find_spec

if sys.hexversion < 0x30B0000 or not all(map(find_spec, ("zmq", "msgspec", "uvloop", "psutil"))):
    advice = "run `make up`, or .venv/bin/python supervisor.py"
    sys.stderr.write(f"mdbus is not installed for {sys.executable}: {advice}\n")
    raise SystemExit(2)

from bus.supervision.cli import program

if __name__ == "__main__":
    program()
