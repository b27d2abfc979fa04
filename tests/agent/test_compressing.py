from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.wire import Train
from headwater_agent.compressing import prepare, read_lost, write_lost
from headwater_models.arrays import packed_size
from headwater_models.compression import decompress
from tests.models.bundles import tiny

BUNDLE = tiny("mlp")
MANIFEST = BUNDLE.manifest
SIZE = packed_size(MANIFEST)
RNG = np.random.default_rng(0)


def asked(**terms: Any) -> Train:
    task = Train(task="0" * 64, model=BUNDLE.model_id, base="1" * 64, round=1)
    return msgspec.structs.replace(task, **terms)


def change(size: float = 0.01) -> np.ndarray:
    return RNG.normal(0, size, SIZE).astype(np.float32)


def test_without_terms_a_change_is_sent_as_it_is() -> None:
    made = change()
    sent, lost = prepare(asked(), made, MANIFEST, None)
    assert sent is made
    assert lost is None


def test_what_is_longer_than_allowed_is_shortened_and_keeps_its_direction() -> None:
    made = change()
    sent, _ = prepare(asked(norm_bound=0.01), made, MANIFEST, None)
    assert np.linalg.norm(sent) == pytest.approx(0.01, rel=1e-5)
    np.testing.assert_allclose(sent / np.linalg.norm(sent), made / np.linalg.norm(made), rtol=1e-4)
    same, _ = prepare(asked(norm_bound=1e6), made, MANIFEST, None)
    np.testing.assert_array_equal(same, made)


@pytest.mark.parametrize("method", ["float16", "int8", "top-k"])
def test_what_is_sent_and_what_is_lost_are_the_change(method: str) -> None:
    made = change()
    sent, lost = prepare(asked(compression=method, keep=0.2), made, MANIFEST, None)
    assert sent.dtype == np.uint8
    assert sent.nbytes < made.nbytes
    assert lost is not None
    assert (lost != 0).any()
    np.testing.assert_allclose(decompress(sent, MANIFEST) + lost, made, atol=1e-8)


@given(st.integers(1, 12))
def test_in_the_end_the_fleet_gets_all_of_it(updates: int) -> None:
    task = asked(compression="top-k", keep=0.1)
    made = [change() for _ in range(updates)]
    got, lost = np.zeros(SIZE, np.float32), None
    for one in made:
        sent, lost = prepare(task, one, MANIFEST, lost)
        got += decompress(sent, MANIFEST)
    assert lost is not None
    np.testing.assert_allclose(got + lost, np.sum(made, axis=0), atol=1e-6)


def test_the_bound_holds_for_what_is_sent_with_what_was_lost_before() -> None:
    task = asked(compression="int8", norm_bound=0.05)
    sent, _ = prepare(task, change(), MANIFEST, np.full(SIZE, 1, np.float32))
    assert np.linalg.norm(decompress(sent, MANIFEST)) <= 0.05 * 1.02


def test_statistics_and_what_is_not_finite_are_sent_as_they_are() -> None:
    task = asked(compression="int8", norm_bound=0.01)
    statistics = np.full(7, 100.0)
    assert prepare(task, statistics, MANIFEST, None)[0] is statistics
    broken = np.full(SIZE, np.nan, np.float32)
    assert prepare(task, broken, MANIFEST, None)[0] is broken


def test_what_would_grow_is_sent_as_it_is() -> None:
    manifest = tiny("linear").manifest
    small = np.ones(packed_size(manifest), np.float32)
    sent, lost = prepare(asked(compression="float16"), small, manifest, None)
    assert sent.nbytes <= small.nbytes
    if sent.dtype == np.float32:
        assert lost is None


def test_what_was_lost_is_kept_by_model_until_there_is_nothing(tmp_path: Path) -> None:
    lost = change()
    assert read_lost(tmp_path, "a", SIZE) is None
    write_lost(tmp_path, "a", lost)
    found = read_lost(tmp_path, "a", SIZE)
    assert found is not None
    np.testing.assert_array_equal(found, lost)
    assert read_lost(tmp_path, "b", SIZE) is None
    assert read_lost(tmp_path, "a", SIZE + 1) is None
    write_lost(tmp_path, "a", None)
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_finite_on_the_disk_is_let_go(tmp_path: Path) -> None:
    write_lost(tmp_path, "a", np.full(SIZE, np.inf, np.float32))
    assert read_lost(tmp_path, "a", SIZE) is None
