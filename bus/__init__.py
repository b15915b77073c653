"""mdbus: a market-data bus of separate processes joined by ZeroMQ.

In-house programs import :mod:`bus.client`; everything else runs as its own process, started by
the supervisor (``mdbus up``).
"""

__version__ = "0.1.0"
