"""The model: bundle, manifest, graph building, differentiation, sessions and merge rules."""
