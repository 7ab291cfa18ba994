"""Benchmarks of the whole platform, each beside its own denominator: ``python -m bench``."""
