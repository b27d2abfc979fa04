from __future__ import annotations

import msgspec
import numpy as np

from headwater_agent.events import Example, Prediction
from headwater_agent.examples import Examples
from headwater_agent.learner import new_learner
from headwater_agent.met import Entry
from headwater_agent.pipeline_settings import LearnerSettings, ServeSettings
from headwater_agent.predictions import Predictions
from headwater_models.manifest import Manifest
from tests.agent.model import MINUTE, manifest, version

WINDOW = np.zeros((3, 2), np.float32)


def examples(model: Manifest | None = None) -> Examples:
    made = model or manifest()
    learner = new_learner(made, version(), LearnerSettings(batch=100), ServeSettings())
    return Examples(made, learner)


def prediction(minute: int, *, marked: bool = False) -> Prediction:
    none, time = np.zeros((3, 1), np.float32), minute * MINUTE
    return Prediction(f"p{minute}", "tank-1", time, "v1", none, "ok", received=0, marked=marked)


def keep(kept: Examples, made: Prediction, label: float) -> Entry:
    (sequence,) = kept.keep(Predictions.of([made]), WINDOW[None], [label])
    return Entry(made, WINDOW, label, sequence)


def test_examples_are_numbered_in_the_order_they_are_made() -> None:
    kept = examples()
    made = Predictions.of([prediction(n) for n in (1, 2, 3)])
    assert kept.keep(made, np.stack([WINDOW] * 3), [1, 2, 3]) == [1, 2, 3]
    assert [(e.sequence, e.label) for e in kept.drain().examples] == [(1, 1), (2, 2), (3, 3)]
    assert not kept.drain().examples


def test_a_window_with_a_doubted_cell_is_held_back() -> None:
    kept = examples()
    assert keep(kept, prediction(1, marked=True), 7.0).sequence == 0
    made = kept.drain()
    assert not made.examples
    assert [(h.stream, h.time, h.label) for h in made.held] == [("tank-1", MINUTE, 7)]


def test_what_was_held_back_is_numbered_when_it_may_be_used_after_all() -> None:
    kept = examples()
    keep(kept, prediction(1), 1.0)
    kept.clear([Example(0, "tank-1", MINUTE, WINDOW, 7.0, False)])
    assert [e.sequence for e in kept.drain().examples] == [1, 2]


def test_nothing_near_the_border_of_a_reserved_block_is_an_example() -> None:
    kept = examples(manifest(share=0.5, block=20))
    used = [keep(kept, prediction(n), 0.0).sequence > 0 for n in range(2_000)]
    assert not all(used)
    assert any(example.reserved for example in kept.drain().examples)


def test_a_correction_reaches_an_example_of_the_same_batch() -> None:
    kept = examples()
    entry = keep(kept, prediction(1), 1.0)
    kept.correct(entry, 5.0)
    made = kept.drain()
    assert made.examples[0].label == 5
    assert [msgspec.structs.astuple(c) for c in made.corrections] == [(1, 5.0)]
    assert (kept.corrections, kept.late_corrections) == (1, 0)


def test_a_correction_of_what_was_learned_is_late() -> None:
    kept = examples()
    entry = keep(kept, prediction(1), 1.0)
    kept.drain()
    kept.correct(entry, 5.0)
    assert (kept.corrections, kept.late_corrections) == (1, 1)
