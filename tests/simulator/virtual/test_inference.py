"""What many devices predict in one call is what each of them predicts alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from headwater.errors import UnsupportedError
from headwater_agent.events import Infer, Model, Windows
from headwater_models.arrays import Arrays
from headwater_models.graphs.builders.specification import Kind
from headwater_models.session import Predictor
from headwater_simulator.virtual import inference
from headwater_simulator.virtual.cohort import stacked
from headwater_simulator.virtual.inference import SHARED, FleetPredictor
from headwater_simulator.virtual.training import Tally
from tests.simulator.virtual.test_training import KINDS, built

ROWS = (3, 1, 8, 5, 2, 7)


def weights(seed: int, kind: Kind = "mlp") -> Arrays:
    rng = np.random.default_rng(seed)
    return {
        name: (array + 0.3 * rng.standard_normal(array.shape)).astype(np.float32)
        for name, array in built(kind).weights.items()
    }


def wants(rows: int, seed: int, models: Mapping[Model, Arrays]) -> Infer:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((rows, 6, 2)).astype(np.float32)
    values[rng.random(values.shape) < 0.1] = np.nan
    times = np.arange(rows, dtype=np.int64) * 60_000
    return Infer(Windows(("tank",) * rows, times, values), dict(models))


def answered(effects: Sequence[Infer], predictor: FleetPredictor, kind: Kind = "mlp") -> None:
    """Hold the answers to what each device computes for itself."""
    alone = Predictor(built(kind).infer)
    for effect, answer in zip(effects, predictor.infer(effects), strict=True):
        assert answer.windows is effect.windows
        assert answer.outputs.keys() == effect.parameters.keys()
        for model, parameters in effect.parameters.items():
            own = alone.run(effect.windows.values, effect.windows.times, parameters)
            np.testing.assert_allclose(answer.outputs[model], own, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_ragged_devices_with_weights_of_their_own_predict_together(kind: Kind) -> None:
    tally = Tally()
    effects = [
        wants(rows, seed, {"personal": weights(seed, kind)}) for seed, rows in enumerate(ROWS)
    ]

    answered(effects, FleetPredictor(built(kind).infer, tally), kind)

    assert (tally.stacked, tally.looped) == (len(ROWS), 0)


def test_devices_that_share_a_release_predict_beside_their_own_models() -> None:
    tally, release = Tally(), weights(99)
    effects = [
        wants(rows, seed, {"released": release, "personal": weights(seed)})
        for seed, rows in enumerate(ROWS)
    ]
    effects.append(wants(4, 50, {"released": release}))
    effects.append(wants(2, 51, {"personal": weights(51)}))

    answered(effects, FleetPredictor(built().infer, tally))

    assert (tally.stacked, tally.looped) == (2 * len(ROWS) + 2, 0)


def test_few_that_share_weights_and_one_alone_are_answered_too() -> None:
    shared = weights(1)
    predictor = FleetPredictor(built().infer, Tally())

    answered([wants(3, 0, {"released": shared})], predictor)
    answered([wants(n + 1, n, {"released": shared}) for n in range(SHARED - 1)], predictor)
    assert predictor.infer([]) == []


def test_many_devices_are_cut_into_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "MEMBERS", 4)
    sizes = []

    def watched(members: Sequence[Arrays]) -> Mapping[str, object]:
        sizes.append(len(members))
        return stacked(members)

    monkeypatch.setattr(inference, "stacked", watched)

    answered(
        [wants(rows, seed, {"personal": weights(seed)}) for seed, rows in enumerate(ROWS)],
        FleetPredictor(built().infer, Tally()),
    )

    assert sizes == [4, 2]


def test_device_by_device_nothing_is_stacked() -> None:
    tally, release = Tally(), weights(99)
    effects = [wants(rows, seed, {"released": release}) for seed, rows in enumerate(ROWS)]

    answered(effects, FleetPredictor(built().infer, tally, one_by_one=True))

    assert (tally.stacked, tally.looped) == (0, len(ROWS))


def test_what_cannot_be_stacked_is_done_alone_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> bytes:
        raise UnsupportedError("There is no rule for Loop.")

    monkeypatch.setattr(inference, "stack", refuse)
    tally = Tally()
    effects = [wants(rows, seed, {"personal": weights(seed)}) for seed, rows in enumerate(ROWS)]

    answered(effects, FleetPredictor(built().infer, tally))

    assert (tally.stacked, tally.looped) == (0, len(ROWS))
