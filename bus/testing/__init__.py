"""What tests of this project, and of programs built on it, need: waiting for conditions.

A test never sleeps for a duration: it waits for a condition, with a deadline.
"""

from bus.testing.waiting import eventually, wait_until

__all__ = ["eventually", "wait_until"]
