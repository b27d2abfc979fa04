"""The virtual engine: thousands of devices in one process, under a clock of its own."""
