"""The simulated Finnhub: its protocol, and what it says of the seeded market."""
