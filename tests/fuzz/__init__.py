"""Any bytes through the agent's cores: ``python -m tests.fuzz``; a short run is a test."""
