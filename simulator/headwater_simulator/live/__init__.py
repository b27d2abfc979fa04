"""The live engine: real processes on loopback, for the demo and for scenarios."""
