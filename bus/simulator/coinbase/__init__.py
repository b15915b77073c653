"""The simulated Coinbase Exchange: its protocol, and what it says of the seeded market."""
