"""What a device must not learn from: each record is held against the stream's earlier ones."""
