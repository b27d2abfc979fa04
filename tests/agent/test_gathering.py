from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_agent.events import Version
from headwater_agent.gathering import Gathering, Offer, offer
from headwater_models.arrays import Arrays, Statistics, pack_statistics
from headwater_models.statistics import head_of, mean_loss, merge, no_statistics, solve
from tests.models.statistics.gathered import CLASSES, Data, gather, manifest, some_data

MODEL = manifest(min_count=60)


def weights(backbone: float = 0.0, head: float = 0.0) -> Arrays:
    """A version, by the values of its backbone and its head."""
    return {
        a.name: np.full(a.shape, backbone if a.merge == "mean" else head, np.float32)
        for a in MODEL.arrays
    }


def version(number: int = 1, backbone: float = 0.0, head: float = 0.0) -> Version:
    return Version(f"v{number}", number, weights(backbone, head))


def of(data: Data) -> Statistics:
    return gather(MODEL, data)


def seen(*parts: Data) -> Statistics:
    return merge(MODEL, {str(number): of(part) for number, part in enumerate(parts)})


def fed(gathering: Gathering, count: int, seed: int = 0) -> Data:
    """Let a device see examples in one step."""
    data = some_data(MODEL, count, seed)
    state = merge(MODEL, {"before": gathering.state, "now": of(data)})
    gathering.trained(gathering.parameters, state, count)
    return data


def test_a_device_that_has_seen_nothing_says_what_the_release_says() -> None:
    gathering = Gathering(MODEL, version(head=2.0))

    assert all((gathering.parameters[n] == a).all() for n, a in weights(head=2.0).items())
    assert all((a == 0).all() for a in gathering.state.values())


def test_its_head_is_solved_around_the_release_once_there_are_as_many_examples_as_features() -> (
    None
):
    gathering = Gathering(MODEL, version(head=2.0))

    fed(gathering, 2)
    assert (gathering.parameters["head.weight"] == 2).all()
    fed(gathering, 2, seed=1)

    release = head_of(MODEL, weights(head=2.0))
    for name, value in solve(MODEL, gathering.state, release).items():
        assert gathering.parameters[name].tobytes() == value.tobytes()


def test_the_backbone_is_always_the_releases() -> None:
    gathering = Gathering(MODEL, version(backbone=3.0))
    fed(gathering, 100)

    assert (gathering.parameters["hidden"] == 3).all()


def test_a_release_of_the_same_backbone_keeps_what_was_gathered_and_is_refined_at_once() -> None:
    gathering = Gathering(MODEL, version())
    fed(gathering, 100)
    before = gathering.state

    gathering.rebase(version(2, head=5.0), merged=0)

    assert gathering.state is before
    expected = solve(MODEL, before, head_of(MODEL, weights(head=5.0)))
    assert all(gathering.parameters[n].tobytes() == a.tobytes() for n, a in expected.items())


def test_a_release_of_another_backbone_begins_from_nothing() -> None:
    gathering = Gathering(MODEL, version())
    fed(gathering, 100)

    gathering.rebase(version(2, backbone=1.0, head=5.0), merged=0)

    assert all((a == 0).all() for a in gathering.state.values())
    assert all((gathering.parameters[n] == a).all() for n, a in weights(1.0, 5.0).items())


def test_a_reset_begins_at_the_release_and_keeps_what_was_gathered_for_the_fleet() -> None:
    gathering = Gathering(MODEL, version())
    fed(gathering, 100)
    before = gathering.state

    gathering.reset(version(2, head=4.0))

    assert gathering.state is before
    assert (gathering.parameters["head.bias"] == 4).all()
    gathering.rebase(version(3, head=4.0), merged=0)
    assert (gathering.parameters["head.bias"] == 4).all()


def test_after_a_reset_the_head_is_refined_by_what_comes_after_it() -> None:
    gathering = Gathering(MODEL, version())
    fed(gathering, 100)
    gathering.reset(version(2, head=4.0))

    later = fed(gathering, 50, seed=1)

    expected = solve(MODEL, of(later), head_of(MODEL, weights(head=4.0)))
    for name, value in expected.items():
        np.testing.assert_allclose(gathering.parameters[name], value, rtol=1e-4)


@given(st.lists(st.integers(1, 9), max_size=12), st.integers(0, 11))
def test_saved_at_any_moment_it_goes_on_as_if_nothing_had_happened(
    counts: list[int], moment: int
) -> None:
    calm, stopped = Gathering(MODEL, version()), Gathering(MODEL, version())
    for number, count in enumerate(counts):
        for gathering in (calm, stopped):
            fed(gathering, count, seed=number)
            if number == 3:
                gathering.reset(version())
        if number == moment:
            saved = stopped.save()
            stopped = Gathering(MODEL, version(7, backbone=9.0))
            stopped.restore(saved)

    for ours, theirs in ((calm.parameters, stopped.parameters), (calm.state, stopped.state)):
        assert all(ours[name].tobytes() == theirs[name].tobytes() for name in ours)


def test_what_cannot_be_solved_leaves_the_release() -> None:
    gathering = Gathering(MODEL, version(head=2.0))

    gathering.trained(gathering.parameters, no_statistics(MODEL), 100)

    assert (gathering.parameters["head.weight"] == 2).all()


def test_updates_under_way_and_epochs_change_nothing() -> None:
    gathering = Gathering(MODEL, version())
    fed(gathering, 100)
    before = dict(gathering.parameters)

    gathering.take(3)
    gathering.adopt(weights(head=9.0), since=weights())

    assert all(gathering.parameters[name] is before[name] for name in before)
    assert gathering.begin(version(2, head=1.0)).keys() == before.keys()


def test_what_is_offered_is_all_that_was_gathered_and_what_it_is_worth() -> None:
    gathering = Gathering(MODEL, version())
    data = [fed(gathering, 40, seed=seed) for seed in range(3)]

    made = offer(MODEL, gathering.parameters, gathering.state, weights())

    assert isinstance(made, Offer)
    np.testing.assert_allclose(made.vector, pack_statistics(MODEL, seen(*data)), rtol=1e-9)
    assert made.examples == 120
    assert made.loss_before == mean_loss(MODEL, gathering.state, weights())
    assert made.loss_after < made.loss_before


def test_statistics_of_another_backbone_than_the_one_asked_for_are_not_offered() -> None:
    gathering = Gathering(MODEL, version())
    fed(gathering, 100)

    assert offer(MODEL, gathering.parameters, gathering.state, weights(1.0)) == "unknown-base"
    same = offer(MODEL, gathering.parameters, gathering.state, weights(head=7.0))
    assert isinstance(same, Offer)


def test_statistics_of_too_few_examples_or_of_a_rare_class_are_not_offered() -> None:
    few = of(some_data(MODEL, 59))
    assert offer(MODEL, weights(), few, weights()) == "too-few-examples"

    model = manifest(classes=CLASSES, min_count=60)
    data = some_data(model, 200)
    rare = data.part((data.target != 1) | ((data.target == 1).cumsum() < 4))
    base = {a.name: np.zeros(a.shape, np.float32) for a in model.arrays}
    assert offer(model, base, gather(model, rare), base) == "too-few-examples"


@pytest.mark.parametrize("wrong", [-1.0, np.inf])
def test_statistics_that_no_data_can_lead_to_are_not_offered(wrong: float) -> None:
    broken = of(some_data(MODEL))
    broken["statistics.gram"][0, 0] = wrong

    assert offer(MODEL, weights(), broken, weights()) == "failed"


def test_what_was_gathered_is_forgotten() -> None:
    gathering = Gathering(MODEL, version(head=2.0))
    fed(gathering, 80)
    assert isinstance(offer(MODEL, gathering.parameters, gathering.state, weights(head=2.0)), Offer)
    gathering.forget(version(head=2.0))
    assert (gathering.parameters["head.weight"] == 2).all()
    refused = offer(MODEL, gathering.parameters, gathering.state, weights(head=2.0))
    assert refused == "too-few-examples"
    later = fed(gathering, 70, seed=5)
    assert all(np.allclose(gathering.state[n], a) for n, a in of(later).items())
