"""The exported models, what each is for, and how it is imported."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from headwater.settings import Duration
from headwater_models.bundle import Bundle
from headwater_models.graphs.importing import Imported, ImportSpec, import_model, read_source
from headwater_models.manifest import Channel, Grid, Optimiser, Reserve, Task

FOLDER = Path(__file__).parent / "exports"
WINDOW, CHANNELS = 6, 3

_LOSSES = {"classification": "cross_entropy", "forecast": "mae"}


def spec(task: Task, window: int = WINDOW, **more: Any) -> ImportSpec:
    """Three channels a minute; a forecast is of the first, two minutes ahead."""
    return msgspec.convert(
        {
            "name": "mine",
            "task": task,
            "channels": tuple(Channel(name=n, minimum=-4.0, maximum=8.0) for n in "abc"),
            "grid": Grid(period=Duration(60_000), max_gap=Duration(60_000)),
            "window": window,
            "reserve": Reserve(block=Duration(6_000_000)),
            "loss": _LOSSES.get(task, "mse"),
            "target": "a" if task == "forecast" else "",
            "horizon": Duration(120_000 if task == "forecast" else 0),
            "optimiser": Optimiser(learning_rate=1e-2),
            **more,
        },
        ImportSpec,
    )


TWO, THREE = ("high", "low"), ("0", "1", "2")
SPECS = {
    "perceptron": spec("regression", 1),
    "sigmoid": spec("classification", 1, classes=TWO),
    "softmax": spec("classification", 1, classes=THREE),
    "convolution": spec("classification", classes=THREE, logits=True),
    "gru": spec("forecast"),
    "gru_one_row": spec("forecast"),
    "lstm": spec("regression"),
    "residual": spec("regression"),
    "attention": spec("regression"),
    "autoencoder": spec("anomaly"),
    "autoencoder_one_row": spec("anomaly"),
    "autoencoder_strided": spec("anomaly"),
    "autoencoder_pooled": spec("anomaly"),
    "autoencoder_lstm": spec("anomaly"),
    "tcn": spec("regression"),
    "ridge": spec("regression", 1),
    "imputed_ridge": spec("regression", 1, fill=("model",)),
    "mlp_regressor": spec("regression", 1),
    "logistic_two": spec("classification", 1),
    "logistic_three": spec("classification", 1),
    "mlp_two": spec("classification", 1),
    "mlp_three": spec("classification", 1),
    "sgd_three": spec("classification", 1),
    "one_by_one": spec("classification", 1),
    "one_hot": spec("regression", 1),
}
FILES = sorted(path.name for path in FOLDER.glob("*.onnx") if path.name != "forest.sklearn.onnx")


def spec_of(file: str) -> ImportSpec:
    return SPECS[file.partition(".")[0]]


def imported(file: str, **changes: Any) -> Imported:
    wanted = msgspec.structs.replace(spec_of(file), **changes)
    return import_model(read_source(FOLDER / file), wanted)


@cache
def bundle(file: str) -> Bundle:
    built = imported(file).built
    return Bundle(
        manifest=built.manifest, infer=built.infer, train=built.train, weights=built.weights
    )


def windows(file: str, rows: int = 16) -> NDArray[np.float32]:
    """Windows ``[N, T, C]`` without gaps."""
    shape = (rows, spec_of(file).window, CHANNELS)
    return np.random.default_rng(1).normal(2.0, 2.0, shape).astype(np.float32)


def original(file: str, window: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the file itself says, row by row, in the form of a bundle's prediction."""
    session = ort.InferenceSession(FOLDER / file, providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    rows = window
    if len(taken.shape) == 2:
        rows = window.reshape(len(window), -1)
    elif list(taken.shape[1:]) == [CHANNELS, WINDOW]:
        rows = window.transpose(0, 2, 1)
    name = session.get_outputs()[-1].name
    found = [
        session.run([name], {taken.name: np.ascontiguousarray(rows[at : at + 1])})[0]
        for at in range(len(rows))
    ]
    if isinstance(found[0], list):
        return np.array([list(row[0].values()) for row in found], np.float32)
    said: NDArray[np.float32] = np.concatenate(found)
    match file.partition(".")[0]:
        case "sigmoid":
            said = np.concatenate([1 - said, said], axis=1)
        case "convolution":
            raised: NDArray[np.float32] = np.exp(said - said.max(1, keepdims=True))
            said = raised / raised.sum(1, keepdims=True)
        case name if name.startswith("autoencoder"):
            if said.shape[1:] == (CHANNELS, WINDOW):
                said = said.transpose(0, 2, 1)
            scale = 12 / np.sqrt(12)
            said = (((said - window) / scale) ** 2).mean((1, 2))[:, np.newaxis]
    return said.reshape(len(said), -1)
