"""Benchmarks: one module each, ``python -m bench.<module>``."""
