"""The simulator: a seeded market behind the venues' real protocols, with faults on demand.

One process, two loopback ports: one speaks Binance spot (WebSocket streams and REST), the other
Finnhub. The feed handlers of this project, or anybody's, connect to it unchanged. What it sends
is labelled ``sim`` by the feeds; nothing simulated carries a real venue's name on the bus.

``docs/simulator.md`` is the operator's page.
"""
