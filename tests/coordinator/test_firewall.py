"""Every reply is held against its question; what Flower would swallow is refused in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from headwater import wire
from headwater.objects import Vector
from headwater_coordinator.firewall import (
    LARGEST_CHANGE,
    Expected,
    complaint,
    malformation,
    norm,
)
from headwater_coordinator.strategies.averaging import FedAvg
from headwater_models.arrays import pack_statistics
from headwater_models.manifest import Array
from tests.coordinator.strategies.peers import updates
from tests.models.bundles import manifest_with
from tests.models.statistics.gathered import gather, some_data
from tests.models.statistics.gathered import manifest as statistics_model

SIZE = 4
TASK, MODEL, BASE, OTHER = ("1" * 64, "2" * 64, "3" * 64, "4" * 64)
TRAIN = wire.Train(task=TASK, model=MODEL, base=BASE, round=1)
UPDATE = wire.Update(
    task=TASK,
    device="well",
    model=MODEL,
    base=BASE,
    sequence=5,
    examples=10,
    loss_before=1.0,
    loss_after=0.5,
    data_until_ms=0,
)
EVALUATE = wire.Evaluate(
    task=TASK, model=MODEL, candidate=OTHER, release=BASE, round=1, statement="{}"
)
EVALUATED = wire.Evaluated(
    task=TASK,
    device="well",
    candidate=OTHER,
    release=BASE,
    rows=10,
    loss_candidate=0.9,
    loss_release=1.0,
    loss_baseline=2.0,
    difference_mean=-0.1,
    difference_m2=0.5,
)
CHECKED_IN = wire.CheckedIn(device="well", model=MODEL, version=BASE, sequence=1)
RELEASE = wire.Release(model=MODEL, version=BASE, statement="{}")
RECEIVED = wire.Received(device="well", version=BASE, accepted=True)
GOOD = np.full(SIZE, 0.5, np.float32)
AVERAGED = manifest_with(Array(name="w", shape=(SIZE,)))
SOLVED = statistics_model(min_count=60)


def expected(**changes: Any) -> Expected:
    fields: dict[str, Any] = {
        "node": "SHA256:well",
        "device": "well",
        "taken": 4,
        "model": MODEL,
        "manifest": AVERAGED,
        "owner": {"well": "SHA256:well", "spring": "SHA256:spring"}.get,
    }
    return Expected(**(fields | changes))


def refusal(reply: wire.Reply, vector: Vector | None, about: Expected) -> str | None:
    """Why an answer to a task to train is refused, whatever the reason."""
    wrong = complaint(TRAIN, reply, vector, about)
    if wrong is None and isinstance(reply, wire.Update) and vector is not None:
        return malformation(reply, vector, about.manifest)
    return wrong


def changed(reply: wire.Reply, **changes: object) -> Any:
    return msgspec.structs.replace(reply, **changes)


@pytest.mark.parametrize(
    ("task", "reply", "vector"),
    [
        (wire.CheckIn(), CHECKED_IN, None),
        (TRAIN, UPDATE, GOOD),
        (TRAIN, wire.Declined(device="well", task=TASK, reason="paused"), None),
        (EVALUATE, EVALUATED, None),
        (EVALUATE, wire.Declined(device="well", task=TASK, reason="failed"), None),
        (RELEASE, RECEIVED, None),
        (RELEASE, wire.Declined(device="well", task=BASE, reason="bad-signature"), None),
    ],
)
def test_a_sound_answer_passes(
    task: wire.Task, reply: wire.Reply, vector: NDArray[np.float32] | None
) -> None:
    assert complaint(task, reply, vector, expected()) is None
    if isinstance(reply, wire.Update) and vector is not None:
        assert malformation(reply, vector, AVERAGED) is None


@pytest.mark.parametrize("share", [0.99, 1.0])
def test_what_bounds_an_update_is_its_largest_value_and_not_its_length(share: float) -> None:
    long = np.full(4, share * LARGEST_CHANGE, np.float32)
    assert norm(long) > LARGEST_CHANGE
    assert malformation(UPDATE, long, AVERAGED) is None


@pytest.mark.parametrize(
    ("reply", "vector", "words"),
    [
        pytest.param(UPDATE, np.array([0, np.nan, 0, 0], "f4"), "1 of 4 values", id="NaN"),
        pytest.param(UPDATE, np.array([0, np.inf, 0, -np.inf], "f4"), "2 of 4", id="infinity"),
        pytest.param(UPDATE, np.zeros(1, "f4"), "float32 [4] is expected", id="broadcastable"),
        pytest.param(UPDATE, np.zeros(5, "f4"), "float32 [4] is expected", id="too long"),
        pytest.param(UPDATE, np.zeros((2, 2), "f4"), "float32 [4] is expected", id="reshaped"),
        pytest.param(UPDATE, np.zeros(4, "f8"), "float32 [4] is expected", id="float64"),
        pytest.param(UPDATE, np.full(4, 1e30, "f4"), "at most 1e+06 is plausible", id="huge"),
        pytest.param(UPDATE, None, "without its array", id="no array"),
        pytest.param(changed(UPDATE, examples=0), GOOD, "no example", id="no example"),
        pytest.param(changed(UPDATE, base=OTHER), GOOD, "starts at", id="another base"),
        pytest.param(changed(UPDATE, model=OTHER), GOOD, "is of model", id="another model"),
        pytest.param(changed(UPDATE, task=OTHER), GOOD, "another task", id="another task"),
        pytest.param(changed(UPDATE, sequence=4), GOOD, "replay", id="replay"),
        pytest.param(changed(UPDATE, loss_after=float("nan")), GOOD, "loss_after", id="NaN loss"),
        pytest.param(changed(UPDATE, device="spring"), GOOD, "says it is spring", id="impostor"),
        pytest.param(EVALUATED, None, "answers Train with Evaluated", id="wrong kind"),
        pytest.param(RECEIVED, None, "answers Train with Received", id="acknowledgement"),
    ],
)
def test_what_flower_would_take_or_die_of_is_refused(
    reply: wire.Reply, vector: NDArray[np.float32] | None, words: str
) -> None:
    refused = refusal(reply, vector, expected())
    assert refused is not None
    assert words in refused


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task": OTHER}, "other versions"),
        ({"candidate": BASE}, "other versions"),
        ({"release": OTHER}, "other versions"),
        ({"loss_candidate": float("inf")}, "loss_candidate is not finite"),
        ({"difference_m2": -1.0}, "below zero"),
        ({"difference_mean": -5.0}, "is not that of its losses"),
    ],
)
def test_a_judgement_that_does_not_hold_together_is_refused(
    changes: dict[str, object], words: str
) -> None:
    refused = complaint(EVALUATE, changed(EVALUATED, **changes), None, expected())
    assert refused is not None
    assert words in refused


def test_an_array_where_none_belongs_is_refused() -> None:
    refused = complaint(EVALUATE, EVALUATED, GOOD, expected())
    assert refused == "An array came with a reply that has none."


def test_a_device_of_another_model_is_refused() -> None:
    reply = changed(CHECKED_IN, model=OTHER)
    refused = complaint(wire.CheckIn(), reply, None, expected(device=""))
    assert refused == "It runs model 444444444444; this fleet's is 222222222222."


def test_a_name_that_belongs_to_another_key_is_refused() -> None:
    reply = changed(CHECKED_IN, device="spring")
    refused = complaint(wire.CheckIn(), reply, None, expected(device=""))
    assert refused == "The name spring belongs to the device with key SHA256:spring."


def test_an_update_from_a_base_that_is_too_old_is_refused() -> None:
    refused = complaint(TRAIN, UPDATE, GOOD, expected(base_known=False))
    assert refused is not None
    assert "too old to be merged" in refused


def test_an_acknowledgement_of_another_version_is_refused() -> None:
    refused = complaint(RELEASE, changed(RECEIVED, version=OTHER), None, expected())
    assert refused is not None
    assert "another task or version" in refused


def test_a_refusal_of_another_task_is_refused() -> None:
    reply = wire.Declined(device="well", task=OTHER, reason="paused")
    assert complaint(TRAIN, reply, None, expected()) is not None
    assert complaint(RELEASE, reply, None, expected()) is not None


@given(
    st.lists(
        npst.arrays("f4", SIZE, elements=st.floats(width=32)),
        min_size=1,
        max_size=5,
    )
)
def test_what_passes_can_be_merged_into_finite_weights(
    vectors: list[NDArray[np.float32]],
) -> None:
    passed = [one for one in vectors if refusal(UPDATE, one, expected()) is None]
    if passed:
        merged = FedAvg().merge(np.zeros(SIZE, "f4"), updates(passed), {}).vector
        assert np.isfinite(merged).all()
        assert np.abs(merged).max() <= LARGEST_CHANGE * 1.001


def contribution(count: int = 60, **changes: Any) -> tuple[wire.Update, NDArray[np.float64]]:
    vector = pack_statistics(SOLVED, gather(SOLVED, some_data(SOLVED, count)))
    return changed(UPDATE, examples=count, **changes), vector


def test_statistics_that_data_can_lead_to_pass() -> None:
    assert refusal(*contribution(), expected(manifest=SOLVED)) is None


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda vector: vector.astype(np.float32), "float64 [21] is expected"),
        (lambda vector: vector[:-1], "float64 [21] is expected"),
        (lambda vector: vector * np.nan, "not finite"),
        (lambda vector: -vector, "not above zero"),
        (lambda vector: vector + np.arange(21.0), "positive semidefinite"),
        (lambda vector: 2 * vector, "says that it is of 60 examples"),
        (lambda vector: vector / 2, "statistics are of 30 examples; at least 60"),
    ],
)
def test_statistics_that_cannot_be_are_refused(
    spoil: Callable[[NDArray[Any]], NDArray[Any]], words: str
) -> None:
    update, vector = contribution()

    assert words in str(refusal(update, spoil(vector), expected(manifest=SOLVED)))


def test_weights_are_no_answer_of_a_model_that_is_solved_nor_statistics_of_another() -> None:
    assert "float64" in str(refusal(UPDATE, GOOD, expected(manifest=SOLVED)))
    assert "float32" in str(refusal(*contribution(), expected()))


def test_a_device_whose_contribution_was_erased_contributes_no_more() -> None:
    words = complaint(TRAIN, *contribution(), expected(manifest=SOLVED, forgotten=True))

    assert "erased" in str(words)
