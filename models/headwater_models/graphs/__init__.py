"""Graphs: building ONNX models, differentiating them, and turning them into training steps.

Nothing is imported here, so that a device can read what a graph holds
(:mod:`headwater_models.graphs.contents`) without the ``onnx`` package; the rest needs it.
"""
