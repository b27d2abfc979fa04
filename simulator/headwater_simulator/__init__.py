"""The fleet on one machine: streams, an embedded broker, and the live demo."""
