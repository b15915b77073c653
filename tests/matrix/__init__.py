"""The feed test matrix: real sockets, one bad thing a venue does a test, seen by a consumer."""
