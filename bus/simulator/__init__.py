"""The simulator: a seeded market behind the venues' real protocols, with faults on demand.

One process; each venue is a package here (``server.create``) and has a loopback port of its own,
which speaks the venue's WebSocket and REST protocols. The feed handlers of this project, or
anybody's, connect to it unchanged. What it sends is labelled ``sim`` by the feeds; nothing
simulated carries a real venue's name on the bus.

``docs/simulator.md`` is the operator's page.
"""
