"""How much one connection, user or address may ask for, also across the workers of this host."""
