"""Measurements of Headwater beside its peers, each one command: ``python -m benchmarks.NAME``."""
