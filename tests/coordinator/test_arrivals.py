from __future__ import annotations

import numpy as np

from headwater import wire
from headwater.objects import digest
from headwater_coordinator import events as e
from headwater_coordinator.arrivals import read_arrival
from headwater_coordinator.excerpt import Excerpt
from headwater_coordinator.link import Arrival
from headwater_models.arrays import packed_size
from headwater_models.compression import compress, decompress
from tests.models.bundles import tiny

MANIFEST = tiny("mlp").manifest
FIELDS = wire.encode(wire.Declined(device="d1", task="0" * 64, reason="failed"))
CHANGE = np.random.default_rng(0).normal(0, 0.01, packed_size(MANIFEST)).astype(np.float32)


def test_a_vector_comes_as_it_was_sent() -> None:
    found = read_arrival(Arrival("a", FIELDS, CHANGE), MANIFEST)
    assert isinstance(found, e.Replied)
    assert found.reply == wire.decode_reply(FIELDS)
    assert found.vector is CHANGE
    assert (found.digest, found.size) == (digest(FIELDS, CHANGE), len(FIELDS) + CHANGE.nbytes)


def test_a_compressed_one_is_what_it_stands_for_and_counts_as_what_was_sent() -> None:
    sent = compress(CHANGE, MANIFEST, "int8")
    found = read_arrival(Arrival("a", FIELDS, sent), MANIFEST)
    assert isinstance(found, e.Replied)
    assert found.vector is not None
    np.testing.assert_array_equal(found.vector, decompress(sent, MANIFEST))
    assert (found.digest, found.size) == (digest(FIELDS, sent), len(FIELDS) + sent.nbytes)


def test_what_cannot_be_read_fails_with_words() -> None:
    garbage = np.array([2, 1, 2], np.uint8)
    for arrival in (Arrival("a", b"\xff"), Arrival("a", FIELDS, garbage)):
        found = read_arrival(arrival, MANIFEST)
        assert isinstance(found, e.Failed)
        assert found.kind == "unreadable"
        assert found.reason
        sent = b"" if arrival.vector is None else arrival.vector.tobytes()
        assert found.excerpt == Excerpt.of(arrival.fields + sent)


def test_a_failure_stays_one() -> None:
    lost = read_arrival(Arrival("a", failure="The device went.", lost=True), MANIFEST)
    assert lost == e.Failed("a", "The device went.", "lost")
    excerpt = Excerpt.of(b"one of them")
    strange = Arrival("a", failure="It sent 900 parts.", excerpt=excerpt)
    expected = e.Failed("a", "It sent 900 parts.", "unreadable", excerpt)
    assert read_arrival(strange, MANIFEST) == expected
