"""The Ray engine: a scenario whose devices are trained on a cluster."""
