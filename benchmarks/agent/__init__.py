"""What the agent costs beside the script that one would write, and beside the wire itself."""
