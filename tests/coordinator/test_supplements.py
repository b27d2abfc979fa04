"""Each task goes out with what its device can read, and with no more."""

from __future__ import annotations

import msgspec
import pytest

from headwater import wire
from headwater_coordinator import events as e
from headwater_coordinator.receipts import Booked
from headwater_coordinator.state import Device
from headwater_coordinator.supplements import Supplements
from headwater_models.keys import SigningKey
from headwater_models.signing import sign_model, verify_receipt

KEY, NEW = SigningKey.from_seed(bytes(32)), SigningKey.from_seed(b"n" * 32)
MODEL, HASH = "1" * 64, "2" * 64
SAID = sign_model(KEY, model=MODEL, created=1)
CHECK_IN = wire.CheckIn(protocol=2)
TRAIN = wire.Train(task=HASH, model=MODEL, base=HASH, round=1)
EVALUATE = wire.Evaluate(
    task=HASH, model=MODEL, candidate=HASH, release=HASH, round=1, statement="{}"
)
RELEASE = wire.Release(model=MODEL, version=HASH, statement="{}")


def supplements(delegation: str = SAID) -> Supplements:
    def owed(node: str, ask: str) -> list[Booked]:
        assert (node, ask) == ("SHA256:a", "ask")
        return [Booked(7, "update", HASH, HASH, 10)]

    return Supplements(MODEL, KEY, delegation, terms={"norm_bound": 2.0}, owed=owed)


def added(made: Supplements, task: wire.Task, protocol: int = 2) -> wire.Task:
    device = Device("SHA256:a", "a", protocol=protocol)
    found = made.add(e.Ask("ask", device.node, task, None, 1), device)
    assert wire.decode_task(wire.encode(found)) == found
    return found


@pytest.mark.parametrize("task", [wire.CheckIn(), TRAIN, EVALUATE, RELEASE])
def test_a_device_of_the_protocol_before_gets_the_task_as_it_is(task: wire.Task) -> None:
    assert added(supplements(), task, protocol=1) == task


def test_a_task_to_train_has_the_terms() -> None:
    found = added(supplements(), TRAIN)
    assert found == msgspec.structs.replace(TRAIN, norm_bound=2.0, protocol=2)


def test_whatever_a_device_must_believe_comes_with_the_publishers_statement() -> None:
    for task in (CHECK_IN, RELEASE, EVALUATE):
        found = added(supplements(), task)
        assert isinstance(found, wire.CheckIn | wire.Release | wire.Evaluate)
        assert (found.delegation, found.protocol) == (SAID, 2)


def test_receipts_are_signed_with_the_key_that_signs_now() -> None:
    made = supplements()
    for key in (KEY, NEW):
        made.renew(key, SAID)
        found = added(made, CHECK_IN)
        assert isinstance(found, wire.CheckIn)
        assert isinstance(found.receipts, tuple)
        (receipt,) = (verify_receipt(one) for one in found.receipts)
        assert (receipt.key, receipt.device, receipt.number) == (key.public, "a", 7)


def test_another_statement_takes_the_place_of_the_one_before() -> None:
    made = supplements()
    other = sign_model(KEY, model=MODEL, created=2)
    made.renew(KEY, other)
    found = added(made, RELEASE)
    assert isinstance(found, wire.Release)
    assert found.delegation == other


def test_a_statement_that_is_too_long_stays_here() -> None:
    found = added(supplements("x" * (wire.MAX_DELEGATION + 1)), RELEASE)
    assert isinstance(found, wire.Release)
    assert found.delegation is msgspec.UNSET
