"""The supervisor: starts the processes of the bus, watches them, restarts and stops them."""
