"""The simulated Kraken: its WebSocket protocol v2, and what it says of the seeded market."""
