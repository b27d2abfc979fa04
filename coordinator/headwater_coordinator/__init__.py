"""The server: merges what devices learned, judges the result, and releases it."""
