"""The simulated Binance: its protocol, and what it says of the seeded market."""
