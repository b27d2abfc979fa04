"""The virtual engine, from its parts to whole runs."""
