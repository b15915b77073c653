"""``python -m bus.supervision …`` is ``mdbus …``."""

from bus.supervision.cli import program

if __name__ == "__main__":
    program()
