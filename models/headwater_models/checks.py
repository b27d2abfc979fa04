"""What every bundle must keep when it is run: laws, each with a sentence for its breach."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater.errors import BundleError
from headwater_models.arrays import Arrays, State
from headwater_models.bundle import Bundle
from headwater_models.interface import check_graphs
from headwater_models.manifest import Manifest
from headwater_models.session import Predictor, Trainer, initial_state
from headwater_models.stacked import LoopedPredictor, StackedPredictor

ROWS = 8
"""Windows of each kind that a model is tried on."""

Draw = Callable[[tuple[int, ...]], NDArray[np.float64]]
"""Returns random numbers from 0 to 1, in an array of a shape."""

_NOON = 1_700_000_000_000


@dataclass(frozen=True, slots=True, eq=False)
class GoldenBatch:
    """Rows to try a training step on; see :class:`.session.Batch`."""

    window: NDArray[np.float32]
    time: NDArray[np.int64]
    label: NDArray[np.float32]
    weight: NDArray[np.float32]

    def rows(self, at: list[int]) -> GoldenBatch:
        """Return some of the rows."""
        return GoldenBatch(self.window[at], self.time[at], self.label[at], self.weight[at])


def check_bundle(bundle: Bundle, rng: np.random.Generator) -> Iterator[str]:
    """Run a bundle's graphs on made-up windows and yield the name of each law as it is kept.

    Parameters
    ----------
    rng
        For windows spread over what the sensors can report.

    Raises
    ------
    BundleError
        For the first law that is broken.
    """
    check_graphs(bundle.manifest, bundle.infer, bundle.train, bundle.stacked)
    yield "inputs and outputs of the graphs are those of the manifest"
    predictor = Predictor(bundle.infer)
    windows = golden_windows(bundle.manifest, rng.random)
    for name, window in windows.items():
        _check_prediction(bundle, predictor, name, window)
        yield f"predictions are finite on {name}"
    if bundle.manifest.quantiles:
        _check_quantiles(bundle, predictor, windows)
        yield "quantiles never cross"
    if predictor.blends:
        _check_blend(bundle, predictor, windows)
        yield "until it has learned, a personal part adds nothing"
    _check_rows_are_apart(bundle, predictor, windows)
    yield "a window's prediction does not depend on those beside it"
    if bundle.stacked is not None:
        _check_stacked(bundle, bundle.stacked, windows)
        yield "models in one call predict what each does alone"
    trainer = Trainer(bundle.train)
    _check_step(bundle, trainer, windows["random windows"], rng)
    yield "a training step is finite"
    if bundle.manifest.statistics:
        _check_gathering(bundle, trainer, windows["random windows"], rng)
        yield "statistics do not depend on the order in which examples come"
    if any(array.frozen for array in bundle.manifest.arrays):
        _check_frozen(bundle, trainer, windows["random windows"], rng)
        yield "a training step leaves what is frozen as it was"
    if bundle.manifest.task == "anomaly":
        _check_score(bundle, predictor, trainer, windows["random windows"], rng)
        yield "the loss of a window is its score, whatever its label"
    _check_still(bundle, trainer, windows["random windows"], rng)
    yield "rows of weight 0 leave every parameter as it was"


def golden_windows(manifest: Manifest, draw: Draw) -> dict[str, NDArray[np.float32]]:
    """Return windows float32 ``[N, T, C]`` that every model must predict on, by their kind.

    Parameters
    ----------
    draw
        For those that are spread over what the sensors can report.
    """
    shape = (ROWS, manifest.window, len(manifest.channels))
    low = np.array([channel.minimum for channel in manifest.channels])
    high = np.array([channel.maximum for channel in manifest.channels])
    spread = (low + draw(shape) * (high - low)).astype(np.float32)
    for column, channel in enumerate(manifest.channels):
        if channel.categories:
            spread[:, :, column] = np.floor(draw(shape[:2]) * len(channel.categories))
    gappy = np.where(draw(shape) < 0.3, np.float32(np.nan), spread)
    return {
        "zeros": np.zeros(shape, np.float32),
        "windows without a value": np.full(shape, np.nan, np.float32),
        "random windows": spread,
        "random windows with gaps": gappy,
    }


def _predict(
    bundle: Bundle, predictor: Predictor, window: NDArray[np.float32]
) -> NDArray[np.float32]:
    return predictor.run(window, _times(len(window)), bundle.weights)


def _check_prediction(
    bundle: Bundle, predictor: Predictor, name: str, window: NDArray[np.float32]
) -> None:
    prediction = _predict(bundle, predictor, window)
    if prediction.shape != (ROWS, bundle.manifest.outputs):
        raise BundleError(
            f"infer.onnx: the prediction on {name} has shape {list(prediction.shape)} instead of "
            f"{[ROWS, bundle.manifest.outputs]}."
        )
    if not np.isfinite(prediction).all():
        raise BundleError(f"infer.onnx: the prediction on {name} is not finite.")
    if bundle.manifest.task == "classification":
        sums = prediction.sum(axis=1)
        if (prediction < 0).any() or not np.allclose(sums, 1, atol=1e-4):
            raise BundleError(f"infer.onnx: the probabilities on {name} do not add up to 1.")


def _check_quantiles(
    bundle: Bundle, predictor: Predictor, windows: dict[str, NDArray[np.float32]]
) -> None:
    for name, window in windows.items():
        prediction = _predict(bundle, predictor, window)
        rounding = 1e-5 * np.abs(prediction).max()
        if (np.diff(prediction, axis=1) < -rounding).any():
            raise BundleError(f"infer.onnx: the quantiles on {name} cross.")


def _check_blend(
    bundle: Bundle, predictor: Predictor, windows: dict[str, NDArray[np.float32]]
) -> None:
    for name, window in windows.items():
        released = predictor.released(window, _times(len(window)), bundle.weights)
        if (_predict(bundle, predictor, window) != released).any():
            raise BundleError(
                f"infer.onnx: on {name} the first local arrays change the released prediction."
            )


def _check_rows_are_apart(
    bundle: Bundle, predictor: Predictor, windows: dict[str, NDArray[np.float32]]
) -> None:
    mixed = np.concatenate([window[:2] for window in windows.values()])
    together = _predict(bundle, predictor, mixed)
    alone = np.concatenate([_predict(bundle, predictor, row[np.newaxis]) for row in mixed])
    if not np.allclose(together, alone, rtol=1e-3, atol=1e-3 * float(np.abs(together).max() + 1)):
        raise BundleError(
            "infer.onnx: a window's prediction changes with the windows beside it; make the graph "
            "again so that each row of a batch is computed alone (nothing along axis 0, batch "
            "normalisation with fixed statistics)."
        )


def _check_stacked(bundle: Bundle, stacked: bytes, windows: dict[str, NDArray[np.float32]]) -> None:
    shrunk = {name: array * np.float32(0.9) for name, array in bundle.weights.items()}
    members = (bundle.weights, shrunk)
    together, one_by_one = (
        StackedPredictor(stacked, members),
        LoopedPredictor(bundle.infer, members),
    )
    for name, window in windows.items():
        alone = one_by_one(window, _times(ROWS))
        found = together(window, _times(ROWS))
        if not np.allclose(found, alone, rtol=1e-3, atol=1e-4 * float(np.abs(alone).max() + 1)):
            raise BundleError(
                f"infer.stacked.onnx: on {name} it predicts other than infer.onnx; build it again."
            )


def _check_step(
    bundle: Bundle, trainer: Trainer, window: NDArray[np.float32], rng: np.random.Generator
) -> None:
    parameters, state, losses = _step(bundle, trainer, window, np.ones(ROWS, np.float32), rng)
    for name, value in {**parameters, **state, "loss": losses}.items():
        if not np.isfinite(value).all():
            raise BundleError(f"train.onnx: {name} is not finite after one step.")
    if losses.shape != (ROWS,):
        raise BundleError(f"train.onnx: loss has shape {list(losses.shape)}, not one per row.")


def _check_gathering(
    bundle: Bundle, trainer: Trainer, window: NDArray[np.float32], rng: np.random.Generator
) -> None:
    whole = GoldenBatch(
        window, _times(ROWS), _labels(bundle.manifest, rng), np.ones(ROWS, np.float32)
    )
    at_once = _gathered(bundle, trainer, [whole])
    backwards = _gathered(bundle, trainer, [whole.rows([at]) for at in range(ROWS)[::-1]])
    for name, value in at_once.items():
        if not np.allclose(value, backwards[name], rtol=1e-6, atol=1e-6 * np.abs(value).max()):
            raise BundleError(f"train.onnx: {name} depends on the order of the examples.")


def _gathered(bundle: Bundle, trainer: Trainer, batches: list[GoldenBatch]) -> State:
    state = initial_state(bundle.manifest)
    for batch in batches:
        _, state, _ = trainer.step(batch, bundle.weights, state, 0.0)
    return state


def _check_frozen(
    bundle: Bundle, trainer: Trainer, window: NDArray[np.float32], rng: np.random.Generator
) -> None:
    parameters, _, _ = _step(bundle, trainer, window, np.ones(ROWS, np.float32), rng)
    for array in bundle.manifest.arrays:
        before, after = bundle.weights[array.name], parameters[array.name]
        if array.frozen and before.tobytes() != after.tobytes():
            raise BundleError(f"train.onnx: a step changes {array.name}, which is frozen.")


def _check_score(
    bundle: Bundle,
    predictor: Predictor,
    trainer: Trainer,
    window: NDArray[np.float32],
    rng: np.random.Generator,
) -> None:
    _, _, losses = _step(bundle, trainer, window, np.ones(ROWS, np.float32), rng)
    if not np.allclose(losses, _predict(bundle, predictor, window)[:, 0], rtol=1e-4):
        raise BundleError("train.onnx: the loss of a window is not its score in infer.onnx.")


def _check_still(
    bundle: Bundle, trainer: Trainer, window: NDArray[np.float32], rng: np.random.Generator
) -> None:
    parameters, state, _ = _step(bundle, trainer, window, np.zeros(ROWS, np.float32), rng)
    before = bundle.weights | initial_state(bundle.manifest)
    for name, value in (parameters | state).items():
        if value.tobytes() != before[name].tobytes():
            raise BundleError(f"train.onnx: rows of weight 0 change {name}.")


def _step(
    bundle: Bundle,
    trainer: Trainer,
    window: NDArray[np.float32],
    weight: NDArray[np.float32],
    rng: np.random.Generator,
) -> tuple[Arrays, Arrays, NDArray[np.float32]]:
    batch = GoldenBatch(window, _times(ROWS), _labels(bundle.manifest, rng), weight)
    rate = bundle.manifest.optimiser.learning_rate
    return trainer.step(batch, bundle.weights, initial_state(bundle.manifest), rate)


def _labels(manifest: Manifest, rng: np.random.Generator) -> NDArray[np.float32]:
    if manifest.task == "classification":
        return rng.integers(0, manifest.outputs, (ROWS, 1)).astype(np.float32)
    if manifest.task == "forecast":
        channel = manifest.channels[manifest.target_index]
        return rng.uniform(channel.minimum, channel.maximum, (ROWS, 1)).astype(np.float32)
    if manifest.task == "anomaly":
        return np.full((ROWS, 1), np.nan, np.float32)
    return rng.normal(size=(ROWS, 1)).astype(np.float32)


def _times(rows: int) -> NDArray[np.int64]:
    return np.full(rows, _NOON, np.int64)
