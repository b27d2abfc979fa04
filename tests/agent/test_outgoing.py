from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from headwater import wire
from headwater.errors import PeerError
from headwater.objects import Vector
from headwater_agent.client import Delivered
from headwater_agent.correspondence import StoredTask
from headwater_agent.outgoing import check_outgoing
from headwater_agent.verdict import Device
from headwater_models.arrays import pack_statistics
from headwater_models.compression import compress
from tests.agent.federating import (
    NAME,
    Floats,
    device,
    evaluate,
    name_of,
    task_name,
    train,
    update,
    weights,
)
from tests.models.statistics.gathered import gather, some_data
from tests.models.statistics.gathered import manifest as statistics_model


def stored(message: Delivered) -> StoredTask:
    return StoredTask(task_name(1), message.kind, message.fields, b"", 0)


def evaluated(**changes: Any) -> wire.Evaluated:
    made = wire.Evaluated(
        task=task_name(1),
        device=NAME,
        candidate=name_of(weights(3)),
        release=device().current.version,
        rows=30,
        loss_candidate=1.0,
        loss_release=1.0,
        loss_baseline=1.0,
        difference_mean=0.0,
        difference_m2=0.0,
    )
    return msgspec.structs.replace(made, **changes)


def test_an_update_with_the_manifests_arrays_may_leave() -> None:
    check_outgoing(device(), stored(train()), *update())


def test_losses_and_refusals_may_leave_without_an_array() -> None:
    check_outgoing(device(), stored(evaluate(1, 3)), evaluated(), None)
    declined = wire.Declined(device=NAME, task=task_name(1), reason="too-few-examples")
    check_outgoing(device(), stored(train()), declined, None)


GOOD = update()[1]


@pytest.mark.parametrize(
    ("changes", "array", "complaint"),
    [
        ({}, np.append(GOOD, np.float32(0)), "model river has float32"),
        ({}, GOOD[:-1], "model river has float32"),
        ({}, GOOD.astype(np.float64), "model river has float32"),
        ({}, GOOD.reshape(1, -1), "model river has float32"),
        ({}, np.full_like(GOOD, np.nan), "hold a value that is not finite"),
        ({}, np.full_like(GOOD, np.inf), "hold a value that is not finite"),
        ({}, None, "array where none belongs, or none where one does"),
        ({"loss_before": float("nan")}, GOOD, "a figure that is not finite"),
        ({"device": "pi-2"}, GOOD, "of another device"),
        ({"base": "b" * 64}, GOOD, "not an answer to its task"),
        ({"model": "b" * 64}, GOOD, "not an answer to its task"),
        ({"task": "b" * 64}, GOOD, "not an answer to its task"),
    ],
)
def test_an_update_with_anything_else_stays(
    changes: dict[str, Any], array: Floats | None, complaint: str
) -> None:
    reply = msgspec.structs.replace(update()[0], **changes)
    with pytest.raises(PeerError, match=complaint):
        check_outgoing(device(), stored(train()), reply, array)


def test_an_array_beside_losses_stays() -> None:
    with pytest.raises(PeerError, match="an array where none belongs"):
        check_outgoing(device(), stored(evaluate(1, 3)), evaluated(), GOOD)


def test_losses_of_versions_that_were_not_asked_about_stay() -> None:
    for changes in ({"candidate": "c" * 64}, {"release": "c" * 64}):
        with pytest.raises(PeerError, match="not an answer"):
            check_outgoing(device(), stored(evaluate(1, 3)), evaluated(**changes), None)


def test_an_answer_of_another_kind_stays() -> None:
    with pytest.raises(PeerError, match="not an answer"):
        check_outgoing(device(), stored(train()), evaluated(), None)
    received = wire.Received(device=NAME, version="a" * 64, accepted=True)
    with pytest.raises(PeerError, match="not an answer"):
        check_outgoing(device(), stored(train()), received, None)


SOLVED = statistics_model(min_count=60)
GATHERED = gather(SOLVED, some_data(SOLVED, 60))


def solved_device() -> Device:
    return replace(device(), manifest=SOLVED)


def test_the_statistics_of_a_model_that_is_solved_from_them_may_leave() -> None:
    vector = pack_statistics(SOLVED, GATHERED)
    check_outgoing(solved_device(), stored(train()), update()[0], vector)


@pytest.mark.parametrize(
    ("vector", "complaint"),
    [
        (GOOD, "has float64"),
        (pack_statistics(SOLVED, GATHERED)[:-1], "has float64"),
        (pack_statistics(SOLVED, GATHERED).astype(np.float32), "has float64"),
        (pack_statistics(SOLVED, GATHERED) * np.nan, "not finite"),
        (pack_statistics(SOLVED, gather(SOLVED, some_data(SOLVED, 59))), "59 examples"),
    ],
)
def test_other_vectors_and_statistics_of_too_few_examples_stay(
    vector: Vector, complaint: str
) -> None:
    with pytest.raises(PeerError, match=complaint):
        check_outgoing(solved_device(), stored(train()), update()[0], vector)


def test_a_compressed_update_may_leave_where_that_was_asked_for() -> None:
    reply, change = update()
    sent = compress(change, device().manifest, "int8")
    plain = stored(train())
    task = msgspec.structs.replace(wire.decode_task(plain.fields), compression="int8", protocol=2)
    check_outgoing(device(), replace(plain, fields=wire.encode(task)), reply, sent)
    with pytest.raises(PeerError, match="was not asked for"):
        check_outgoing(device(), plain, reply, sent)
