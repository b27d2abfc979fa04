"""An anomaly detector on one stream: a model fitted to its first rows, and the agent's threshold.

Used by the cases that have no labels to learn from. Model, training and threshold are those that
a device runs; the stream is gone through once.
"""

from __future__ import annotations

import gc
import sys
from dataclasses import dataclass
from types import FunctionType, ModuleType

import numpy as np
from numpy.typing import NDArray

from headwater.settings import Duration
from headwater_agent.events import Batch
from headwater_agent.replay import Replay
from headwater_agent.threshold import Threshold
from headwater_agent.threshold_settings import ThresholdSettings
from headwater_models.graphs.builders import ModelSpec, build
from headwater_models.graphs.scaling import scaling_from_rows
from headwater_models.manifest import Channel, Grid, Optimiser, Reserve
from headwater_models.session import Predictor, Trainer, initial_state

Floats = NDArray[np.float64]

WIDE = 1e6
"""Channels are scaled by the rows fitted to; their ranges only have to hold them."""

ROW = Duration(1_000)
"""Rows are taken as they come, so their distance in time does not matter."""

CODE = (type, ModuleType, FunctionType)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """An autoencoder over a window, and how long it learns; without epochs it scores distance."""

    window: int
    hidden: tuple[int, ...]
    epochs: int
    batch: int = 32
    learning_rate: float = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Of each row ``[R]``: how rare its score is (see ``Judgement``), and whether it is flagged."""

    rarity: Floats
    flagged: NDArray[np.bool_]


def scores(rows: Floats, fitted: int, fit: Fit, rng: np.random.Generator) -> Floats:
    """Return ``[R]``: the score of the window that ends at each row, NaN before the first.

    Parameters
    ----------
    rows
        ``[R, C]``, of which the first *fitted* give the scale and are learned from.
    """
    built = build(specification(rows[:fitted], fit), rng)
    views = np.lib.stride_tricks.sliding_window_view(rows, fit.window, axis=0)
    windows = views.swapaxes(1, 2).astype(np.float32)
    times = np.zeros(len(windows), np.int64)
    learned = fitted - fit.window + 1
    weights = (
        Replay(
            start=built.weights,
            state=initial_state(built.manifest),
            examples=Batch(
                window=windows[:learned],
                time=times[:learned],
                label=np.zeros((learned, 1), np.float32),
                weight=np.ones(learned, np.float32),
            ),
            epochs=fit.epochs,
            batch=fit.batch,
            learning_rate=fit.learning_rate,
            seed=rng,
        )
        .run(Trainer(built.train))
        .weights
    )
    found = Predictor(built.infer).run(windows, times, weights)[:, 0]
    return np.concatenate([np.full(fit.window - 1, np.nan), found])


def judge(found: Floats, settings: ThresholdSettings) -> Judged:
    """Hold each score against those before it."""
    threshold = Threshold(settings)
    judgements = [threshold.update(score) for score in found.tolist()]
    return Judged(
        np.array([judgement.rarity for judgement in judgements]),
        np.array([judgement.flagged for judgement in judgements]),
    )


def specification(rows: Floats, fit: Fit) -> ModelSpec:
    """Return the model, scaled by these rows ``[R, C]``."""
    channels = tuple(
        Channel(name=f"channel.{number}", minimum=-WIDE, maximum=WIDE)
        for number in range(rows.shape[1])
    )
    return ModelSpec(
        kind="autoencoder",
        name="detector",
        task="anomaly",
        channels=channels,
        grid=Grid(period=ROW, max_gap=ROW),
        window=fit.window,
        reserve=Reserve(share=0, block=ROW),
        loss="mse",
        optimiser=Optimiser(name="adam", learning_rate=fit.learning_rate, batch=fit.batch),
        hidden=fit.hidden,
        scaling=scaling_from_rows(rows, channels, None),
    )


def footprint(*things: object) -> int:
    """Return the bytes of Python objects with all that they refer to, but for code and classes."""
    seen: set[int] = set()
    waiting, total = list(things), 0
    while waiting:
        new = {id(one): one for one in waiting if not isinstance(one, CODE) and id(one) not in seen}
        seen |= new.keys()
        total += sum(map(sys.getsizeof, new.values()))
        waiting = gc.get_referents(*new.values())
    return total
