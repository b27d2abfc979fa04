from __future__ import annotations

import numpy as np

from headwater_agent.events import Batch, Refine
from headwater_agent.pipeline_settings import LearnerSettings, RefineSettings
from headwater_agent.refining import refine
from headwater_models.arrays import Arrays
from headwater_models.bundle import Bundle
from headwater_models.session import Trainer, initial_state
from tests.models.bundles import signed

SETTINGS = LearnerSettings(batch=8, learning_rate=0.05, refine=RefineSettings(epochs=40))


def examples(bundle: Bundle, count: int) -> Batch:
    rng = np.random.default_rng(0)
    shape = (count, bundle.manifest.window, len(bundle.manifest.channels))
    window = rng.uniform(0, 10, shape).astype(np.float32)
    label = window[:, -1, :1] + 2
    return Batch(window, np.zeros(count, np.int64), label, np.ones(count, np.float32))


def refined(count: int) -> tuple[Bundle, Batch, Arrays | None]:
    bundle = signed()
    batch = examples(bundle, count)
    made = refine(
        Refine("a" * 64, bundle.weights),
        manifest=bundle.manifest,
        trainer=Trainer(bundle.train),
        settings=SETTINGS,
        examples=batch,
    )
    return bundle, batch, made


def test_the_examples_are_learned_in_epochs() -> None:
    bundle, batch, made = refined(64)
    assert made is not None
    trainer, state = Trainer(bundle.train), initial_state(bundle.manifest)
    before, after = (
        float(trainer.step(batch, weights, state, 0.0)[2].mean())
        for weights in (bundle.weights, made)
    )
    assert after < before / 4


def test_too_few_examples_leave_the_model_as_it_is() -> None:
    assert refined(9)[2] is None
