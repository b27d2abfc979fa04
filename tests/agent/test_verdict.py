from __future__ import annotations

import numpy as np
import pytest

from headwater import wire
from headwater.errors import BundleError
from headwater_agent.client import Delivered
from headwater_agent.correspondence import StoredVersion
from headwater_agent.verdict import Verdict, delegated, holds, judge, newest
from tests.agent.federating import (
    delegation,
    device,
    evaluate,
    name_of,
    packed,
    release,
    statement,
    task_name,
    weights,
)
from tests.models.bundles import PUBLISHER, RELEASE, STRANGER


def judged(
    message: Delivered,
    versions: dict[str, StoredVersion] | None = None,
    array: np.ndarray[tuple[int], np.dtype[np.float32]] | None = None,
) -> Verdict:
    vector = message.array if array is None else array
    task = wire.decode_task(message.fields)
    return judge(device(), versions or {}, task_name(1), task, vector, now=0)


def reason(verdict: Verdict) -> str:
    assert isinstance(verdict.reply, wire.Declined)
    assert verdict.version is None
    return verdict.reply.reason


def received(seed: int, sequence: int) -> dict[str, StoredVersion]:
    version = judged(release(seed, sequence)).version
    assert version is not None
    return {version.version: version}


def test_a_release_signed_by_the_delegate_or_the_publisher_is_accepted() -> None:
    for verdict in (judged(release(3, 2)), judged(release(3, 2, key=PUBLISHER))):
        assert isinstance(verdict.reply, wire.Received)
        assert verdict.version is not None
        assert verdict.weights is not None
        assert packed(verdict.weights).tobytes() == packed(weights(3)).tobytes()


def test_a_release_signed_by_a_stranger_is_declined() -> None:
    assert reason(judged(release(3, 2, key=STRANGER))) == "bad-signature"


def test_weights_other_than_the_signed_ones_are_declined() -> None:
    for array in (packed(weights(4)), packed(weights(3))[:-1], np.zeros(0, np.float32)):
        assert reason(judged(release(3, 2), array=array)) == "bad-signature"


def test_weights_that_are_not_finite_are_declined() -> None:
    array = packed(weights(3))
    array[0] = np.nan
    assert reason(judged(release(3, 2), array=array)) == "bad-signature"


def test_a_statement_about_another_version_is_declined() -> None:
    good = wire.decode_task(release(3, 2).fields)
    assert isinstance(good, wire.Release)
    other = wire.Release(
        model=good.model, version=good.version, statement=statement(weights(4), 2, "release")
    )
    message = Delivered(wire.Kind.RELEASE, wire.encode(other), packed(weights(3)), b"")
    assert reason(judged(message)) == "bad-signature"


def test_a_candidate_is_never_served_and_a_release_never_judged() -> None:
    assert reason(judged(release(3, 2, kind="candidate"))) == "bad-signature"
    assert reason(judged(evaluate(1, 3, kind="release"))) == "bad-signature"


def test_a_candidate_does_not_take_the_place_of_the_release_it_became() -> None:
    again = release(3, 5, kind="candidate")
    assert reason(judged(again, received(3, 5))) == "bad-signature"


def test_an_older_sequence_is_declined_also_as_a_rollback() -> None:
    versions = received(3, 5)
    for kind in ("release", "rollback"):
        again = release(4, 5, kind="rollback" if kind == "rollback" else "release")
        assert reason(judged(again, versions)) == "older-sequence"
    assert reason(judged(release(4, 1))) == "older-sequence"


def test_the_same_release_again_is_accepted_and_keeps_the_highest_merged() -> None:
    first = judged(release(3, 5, merged=7)).version
    assert first is not None
    for merged, expected in ((4, 7), (9, 9)):
        again = judged(release(3, 5, merged=merged), {first.version: first})
        assert isinstance(again.reply, wire.Received)
        assert again.version is not None
        assert again.version.merged == expected


def test_a_candidate_that_is_released_already_is_not_stored_again() -> None:
    verdict = judged(evaluate(1, 3), received(3, 5))
    assert (verdict.reply, verdict.version) == (None, None)


@pytest.mark.parametrize("sequence", [2, 3])
def test_the_newest_is_the_release_with_the_highest_sequence(sequence: int) -> None:
    versions = received(3, sequence)
    assert newest(device(), {}) == device().current
    assert newest(device(), versions).version == name_of(weights(3))


def test_whom_a_device_trusts_follows_the_later_statement() -> None:
    assert delegated(device(), None) is device()
    renewed = delegated(device(), delegation(STRANGER))
    assert renewed.trusted.release_keys == (STRANGER.public,)
    assert delegated(renewed, delegation(RELEASE, later=0)).trusted == renewed.trusted
    with pytest.raises(BundleError, match="trusted here"):
        delegated(device(), delegation(STRANGER, publisher=STRANGER))


def test_a_stored_version_of_a_key_that_is_trusted_no_longer_does_not_hold() -> None:
    (version,) = received(3, 2).values()
    assert holds(device(), version)
    stranger = statement(weights(3), 2, "release", STRANGER)
    foreign = StoredVersion(version.version, "release", 2, stranger, 0, 0)
    assert not holds(device(), foreign)
