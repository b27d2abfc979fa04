"""The device: streams in, predictions out, learning between, and what it shares with the fleet."""
