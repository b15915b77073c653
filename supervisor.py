"""``python supervisor.py …`` is ``mdbus …``."""

from bus.supervision.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
