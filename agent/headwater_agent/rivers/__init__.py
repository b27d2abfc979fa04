"""River's models on a device: by dotted name, on the bundle's features, shared where linear."""
