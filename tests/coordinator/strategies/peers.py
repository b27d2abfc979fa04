"""Updates for the tests, and what Flower's own strategies make of the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.app.message import make_message
from flwr.app.metadata import Metadata
from hypothesis import strategies as st
from numpy.typing import NDArray

from headwater_coordinator.strategies.updates import About, Floats, MemorySource, Updates

SIZE = 5


def draw(seed: int, count: int, size: int = SIZE) -> list[Floats]:
    """Vectors without ties, so that a choice between them is the same however it is rounded."""
    rng = np.random.default_rng(seed)
    return list(rng.normal(0, 1, (count, size)).astype(np.float32))


SEEDS = st.integers(0, 2**32 - 1)
COUNTS = st.lists(st.integers(1, 10_000), min_size=1, max_size=9)


def updates(
    vectors: Sequence[Floats],
    *,
    examples: Sequence[int] = (),
    staleness: Sequence[int] = (),
    losses: Sequence[float] = (),
    bases: Sequence[Floats] = (),
) -> Updates:
    """The updates of devices n00, n01, and so on."""
    about = [
        About(
            node=f"n{i:02}",
            examples=examples[i] if examples else 7,
            staleness=staleness[i] if staleness else 0,
            loss=losses[i] if losses else 0.0,
        )
        for i in range(len(vectors))
    ]
    return Updates(len(vectors[0]), about, MemorySource(vectors, bases))


def reply(weights: Floats, metrics: dict[str, float]) -> Message:
    """The message that Flower would have received from a device."""
    content = RecordDict(
        {"arrays": ArrayRecord({"w": Array(weights)}), "metrics": MetricRecord(dict(metrics))}
    )
    return make_message(Metadata(0, "", 0, 0, "", "", 0.0, 1.0, "train"), content)


def flowers(
    strategy: Any,
    shared: Floats,
    vectors: Sequence[Floats],
    *,
    examples: Sequence[int] = (),
    losses: Sequence[float] = (),
    number: int = 1,
) -> NDArray[np.floating]:
    """What a strategy of Flower's merges, in memory, from what devices send."""
    replies = [
        reply(
            shared + vector,
            {
                "num-examples": examples[i] if examples else 7,
                "train_loss": losses[i] if losses else 0.0,
            },
        )
        for i, vector in enumerate(vectors)
    ]
    arrays, _ = strategy.aggregate_train(number, replies)
    merged: NDArray[np.floating] = arrays["w"].numpy()
    return merged
