"""Headwater: ONNX models that learn on sensor streams at the edge, and as a fleet."""

__version__ = "0.1.0"
