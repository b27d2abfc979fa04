"""The echo client that runs a model before each answer: the least that inference adds.

The window stays the same, and all that the graph takes and gives is bound beforehand.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
from safetensors.numpy import load_file

from benchmarks.agent.echo import main


def inference(model: Path) -> Callable[[], object]:
    """Return what runs ``infer.onnx`` once, on one row."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(model / "infer.onnx", options)
    weights, binding = load_file(model / "weights.safetensors"), session.io_binding()
    for node in session.get_inputs():
        shape = [size if isinstance(size, int) else 1 for size in node.shape]
        kind = np.int64 if node.type == "tensor(int64)" else np.float32
        binding.bind_cpu_input(node.name, weights.get(node.name, np.zeros(shape, kind)))
    binding.bind_output("prediction")
    return lambda: session.run_with_iobinding(binding)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), inference(Path(sys.argv[3])))
