"""Statements: who may say what, what follows what, and what a release may change."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import BundleError
from headwater_models.keys import SigningKey
from headwater_models.manifest import Array
from headwater_models.signing import (
    MAX_STATEMENT_BYTES,
    VersionStatement,
    check_change,
    check_follows,
    later,
    sign_model,
    sign_receipt,
    sign_succession,
    sign_version,
    verify_model,
    verify_receipt,
    verify_version,
)
from tests.models.bundles import CREATED, PUBLISHER, RELEASE, STRANGER, manifest_with

MODEL = "a" * 64
OTHER = "b" * 64
VERSION = "c" * 64


def model_text(key: SigningKey = PUBLISHER, **fields: Any) -> str:
    defaults: dict[str, Any] = {
        "model": MODEL,
        "release_keys": [RELEASE.public],
        "created": CREATED,
    }
    return sign_model(key, **(defaults | fields))


def version_text(key: SigningKey = RELEASE, **fields: Any) -> str:
    defaults: dict[str, Any] = {
        "kind": "release",
        "model": MODEL,
        "version": VERSION,
        "sequence": 1,
    }
    return sign_version(key, **(defaults | fields))


def version(**fields: Any) -> VersionStatement:
    return verify_version(version_text(**fields), trusted=RELEASE.public)


TRUSTED = verify_model(model_text())


def test_a_model_statement_says_who_may_release() -> None:
    found = verify_model(model_text(), model=MODEL, publisher=PUBLISHER.public)
    assert found.signers == (PUBLISHER.public, RELEASE.public)
    assert (found.model, found.created) == (MODEL, CREATED)


def test_a_version_of_a_delegated_key_is_taken() -> None:
    found = verify_version(version_text(parent=OTHER), trusted=TRUSTED)
    assert (found.kind, found.version, found.sequence) == ("release", VERSION, 1)
    assert (found.parent, found.key) == (OTHER, RELEASE.public)


def test_the_publisher_may_sign_versions_itself() -> None:
    assert verify_version(version_text(PUBLISHER), trusted=TRUSTED).key == PUBLISHER.public


def test_a_version_of_a_key_without_delegation_is_refused() -> None:
    with pytest.raises(BundleError, match="does not delegate"):
        verify_version(version_text(STRANGER), trusted=TRUSTED)


def test_a_key_that_a_later_statement_leaves_out_is_revoked() -> None:
    without = verify_model(model_text(release_keys=[], created=CREATED + 1))
    assert without.created > TRUSTED.created
    with pytest.raises(BundleError, match="does not delegate"):
        verify_version(version_text(), trusted=without)


def test_of_two_statements_the_later_one_holds() -> None:
    found = later(TRUSTED, model_text(release_keys=[STRANGER.public], created=CREATED + 1))
    assert found.release_keys == (STRANGER.public,)
    for created in (CREATED - 1, CREATED):
        again = model_text(release_keys=[STRANGER.public], created=created)
        assert later(TRUSTED, again) is TRUSTED
        assert later(found, again) is found


def test_a_later_statement_of_another_publisher_or_model_is_refused() -> None:
    for text, words in (
        (model_text(STRANGER, created=CREATED + 1), "trusted here"),
        (model_text(model=OTHER, created=CREATED + 1), "about model"),
        (version_text(), "model statement"),
    ):
        with pytest.raises(BundleError, match=words):
            later(TRUSTED, text)


KEYS = [PUBLISHER, *(SigningKey.from_seed(bytes([n]) * 32) for n in range(1, 5))]


def handed_down(keys: list[SigningKey], **fields: Any) -> str:
    """A statement of the last of the keys, each of which came in the place of the one before."""
    links = [
        sign_succession(one, successor=after.public, created=CREATED)
        for one, after in pairwise(keys)
    ]
    return model_text(keys[-1], **{"successions": links, "created": CREATED + 1, **fields})


@given(length=st.integers(1, 5), data=st.data())
def test_a_key_that_came_in_the_publishers_place_is_believed_as_the_publisher(
    length: int, data: st.DataObject
) -> None:
    keys = KEYS[:length]
    trusted = data.draw(st.sampled_from(keys))
    found = verify_model(handed_down(keys), publisher=trusted.public)
    assert found.publisher == keys[-1].public
    assert later(verify_model(model_text(trusted)), handed_down(keys)) == found


def test_a_publishers_key_that_was_replaced_speaks_no_more() -> None:
    new = later(TRUSTED, handed_down(KEYS[:2]))
    with pytest.raises(BundleError, match="trusted here"):
        later(new, model_text(created=CREATED + 2))
    with pytest.raises(BundleError, match="does not delegate"):
        verify_version(version_text(PUBLISHER), trusted=new)
    beside = handed_down([PUBLISHER, STRANGER], created=CREATED + 2)
    with pytest.raises(BundleError, match="trusted here"):
        later(new, beside)


def test_successions_that_do_not_lead_from_one_key_to_the_next_are_refused() -> None:
    first, second, third = (
        sign_succession(one, successor=after.public, created=CREATED)
        for one, after in pairwise(KEYS[:4])
    )
    strangers = sign_succession(STRANGER, successor=KEYS[1].public, created=CREATED)
    for links, key, words in (
        ([first], KEYS[2], "do not lead to its key"),
        ([first, third], KEYS[3], "do not lead to its key"),
        ([second, first], KEYS[2], "do not lead to its key"),
        ([first.replace(PUBLISHER.public, STRANGER.public)], KEYS[1], "changed after it was"),
        (["{}"], KEYS[1], "damaged"),
        ([version_text()], KEYS[1], "changed after it was"),
        ([first] * 17, KEYS[1], "length <= 16"),
    ):
        with pytest.raises((BundleError, msgspec.ValidationError), match=words):
            verify_model(model_text(key, successions=links), publisher=PUBLISHER.public)
    with pytest.raises(BundleError, match="trusted here"):
        verify_model(model_text(KEYS[1], successions=[strangers]), publisher=PUBLISHER.public)


def test_a_succession_names_the_key_that_signs_it() -> None:
    lent = sign_succession(STRANGER, successor=KEYS[1].public, created=CREATED)
    said = msgspec.json.decode(lent)["statement"] | {"publisher": PUBLISHER.public}
    text = msgspec.json.encode(said)
    signature = STRANGER.sign(b"headwater succession statement 1\n" + text)
    forged = msgspec.json.encode(
        {"statement": msgspec.Raw(text), "key": STRANGER.public, "signature": signature}
    ).decode()
    with pytest.raises(BundleError, match="not signed by the key that it replaces"):
        verify_model(model_text(KEYS[1], successions=[forged]), publisher=PUBLISHER.public)


def test_one_key_alone_can_be_trusted() -> None:
    assert verify_version(version_text(), trusted=RELEASE.public).version == VERSION
    with pytest.raises(BundleError, match="does not delegate"):
        verify_version(version_text(), trusted=PUBLISHER.public)


def test_another_publisher_is_refused() -> None:
    with pytest.raises(BundleError, match="is the publisher trusted here"):
        verify_model(model_text(STRANGER), publisher=PUBLISHER.public)


def test_a_statement_about_another_model_is_refused() -> None:
    with pytest.raises(BundleError, match="about model bbbbbbbbbbbb, not about aaaaaaaaaaaa"):
        verify_model(model_text(model=OTHER), model=MODEL)
    with pytest.raises(BundleError, match="about model bbbbbbbbbbbb"):
        verify_version(version_text(model=OTHER), trusted=TRUSTED)
    with pytest.raises(BundleError, match="about model bbbbbbbbbbbb"):
        verify_version(version_text(model=OTHER), trusted=RELEASE.public, model=MODEL)


def test_a_statement_cannot_pass_for_one_of_another_kind() -> None:
    with pytest.raises(BundleError, match="The version statement was changed"):
        verify_version(model_text(), trusted=PUBLISHER.public)
    with pytest.raises(BundleError, match="The model statement was changed"):
        verify_model(version_text(PUBLISHER))


def test_a_signature_of_one_key_cannot_speak_in_the_name_of_another() -> None:
    forged = version_text(STRANGER).replace(
        f'"key":"{STRANGER.public}"}}', f'"key":"{RELEASE.public}"}}'
    )
    with pytest.raises(BundleError, match="changed after it was signed, or signed by another"):
        verify_version(forged, trusted=TRUSTED)


def test_naming_the_delegated_key_and_signing_with_ones_own_is_refused() -> None:
    statement = VersionStatement(
        kind="release", model=MODEL, version=VERSION, sequence=9, key=RELEASE.public
    )
    text = msgspec.json.encode(statement)
    signature = STRANGER.sign(b"headwater version statement 1\n" + text)
    forged = msgspec.json.encode(
        {"statement": msgspec.Raw(text), "key": STRANGER.public, "signature": signature}
    )
    with pytest.raises(BundleError, match="not signed by the key it names"):
        verify_version(forged, trusted=TRUSTED)


@given(st.data())
def test_a_statement_with_a_changed_byte_is_refused(data: st.DataObject) -> None:
    for text in (version_text().encode(), model_text().encode()):
        at = data.draw(st.integers(0, len(text) - 1))
        flip = data.draw(st.integers(1, 255))
        changed = text[:at] + bytes([text[at] ^ flip]) + text[at + 1 :]
        with pytest.raises(BundleError):
            verify_version(changed, trusted=TRUSTED)
        with pytest.raises(BundleError):
            verify_model(changed, publisher=PUBLISHER.public)


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", '{"statement":' + "[" * 60_000, " " + version_text(), version_text() + "\n"],
)
def test_what_is_no_statement_is_refused(text: str) -> None:
    with pytest.raises(BundleError, match="The version statement"):
        verify_version(text, trusted=TRUSTED)


def test_an_endless_statement_is_not_read() -> None:
    with pytest.raises(BundleError, match="longer than"):
        verify_version(" " * (MAX_STATEMENT_BYTES + 1), trusted=TRUSTED)


def test_a_statement_without_sense_cannot_be_signed() -> None:
    with pytest.raises(msgspec.ValidationError):
        version_text(sequence=0)


def test_the_first_release_follows_nothing() -> None:
    check_follows(None, version())


@given(st.integers(1, 2**53), st.integers(1, 2**53), st.sampled_from(["release", "rollback"]))
def test_only_a_higher_sequence_follows(here: int, there: int, kind: str) -> None:
    current = msgspec.structs.replace(version(), sequence=here)
    statement = msgspec.structs.replace(version(kind=kind), sequence=there)
    if there > here:
        check_follows(current, statement)
    else:
        with pytest.raises(BundleError, match=f"sequence {there}, but {here} is here already"):
            check_follows(current, statement)


def test_a_rollback_is_a_new_statement_about_an_older_version_and_nothing_old_comes_again() -> None:
    first, second = version(sequence=1), version(sequence=2, version=OTHER)
    back = version(kind="rollback", sequence=3, version=VERSION)
    check_follows(first, second)
    check_follows(second, back)
    for old in (first, second, back):
        with pytest.raises(BundleError, match="is here already"):
            check_follows(back, old)


def test_a_candidate_never_serves() -> None:
    with pytest.raises(BundleError, match="is a candidate: never served"):
        check_follows(None, version(kind="candidate"))


def test_a_release_of_another_model_does_not_follow() -> None:
    with pytest.raises(BundleError, match="about model bbbbbbbbbbbb"):
        check_follows(version(), version(model=OTHER, sequence=2))


def test_a_release_may_change_what_merges_and_nothing_local_or_frozen() -> None:
    manifest = manifest_with(
        Array(name="w", shape=(2,)),
        Array(name="head", shape=(2,), merge="solved"),
        Array(name="own", shape=(2,), merge="local"),
        Array(name="base", shape=(2,), frozen=True),
    )
    parent = {array.name: np.ones(2, np.float32) for array in manifest.arrays}
    moved = {name: np.nextafter(array, 2) for name, array in parent.items()}
    check_change(manifest, parent, {**parent, "w": moved["w"], "head": moved["head"]})
    with pytest.raises(BundleError, match="changes own, which the manifest keeps local"):
        check_change(manifest, parent, {**parent, "own": moved["own"]})
    with pytest.raises(BundleError, match="changes base, which the manifest freezes"):
        check_change(manifest, parent, {**parent, "base": moved["base"]})
    with pytest.raises(BundleError, match="missing: own"):
        check_change(manifest, parent, {n: a for n, a in parent.items() if n != "own"})


def receipt_text(key: SigningKey = RELEASE, **fields: Any) -> str:
    defaults: dict[str, Any] = {
        "model": MODEL,
        "device": "pump-1",
        "number": 3,
        "kind": "update",
        "message": VERSION,
        "task": OTHER,
        "time_ms": 5,
    }
    return sign_receipt(key, **(defaults | fields))


def test_a_receipt_of_a_delegated_key_is_taken() -> None:
    found = verify_receipt(receipt_text(), trusted=TRUSTED)
    assert (found.device, found.number, found.kind) == ("pump-1", 3, "update")
    assert (found.message, found.task, found.time_ms) == (VERSION, OTHER, 5)
    assert verify_receipt(receipt_text(task=None), trusted=TRUSTED).task is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (receipt_text(STRANGER), "does not delegate"),
        (receipt_text(model=OTHER), "is about model"),
        (receipt_text().replace("pump-1", "pump-2"), "changed after it was signed"),
        (version_text(), "signed by another key"),
        ("{}", "damaged"),
    ],
    ids=["stranger", "another model", "changed", "a version's statement", "damaged"],
)
def test_other_receipts_are_refused(text: str, why: str) -> None:
    with pytest.raises(BundleError, match=why):
        verify_receipt(text, trusted=TRUSTED)


def test_without_trust_a_receipt_is_proved_to_be_as_it_was_signed() -> None:
    assert verify_receipt(receipt_text(STRANGER)).key == STRANGER.public
    with pytest.raises(BundleError, match="changed after it was signed"):
        verify_receipt(receipt_text(STRANGER).replace("pump-1", "pump-2"))


def test_a_receipt_fits_into_a_check_in_whatever_it_says() -> None:
    longest = receipt_text(device="d" * 64, kind="k" * 64, number=2**53, time_ms=2**53)
    assert len(longest) <= 1_024
