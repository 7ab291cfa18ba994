"""The engine the benchmarks run."""
