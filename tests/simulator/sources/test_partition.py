"""Rows go to one device each, in the way that was asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import SettingsError
from headwater_simulator.scenario.settings import Table
from headwater_simulator.sources.holding import LEAST
from headwater_simulator.sources.partition import Labelled, Places, deal

KINDS = ("iid", "dirichlet", "label", "size")


def rows(count: int, classes: int = 4, clients: int = 3, seed: int = 0) -> Labelled:
    rng = np.random.default_rng(seed)
    weights = np.arange(1, classes + 1) / np.arange(1, classes + 1).sum()
    labels = rng.choice(classes, count, p=weights)
    return Labelled(labels, rng.integers(0, clients, count), classes)


def dealt(given_rows: Labelled, devices: int, seed: int = 0, **chosen: Any) -> list[Places]:
    settings = Table(files=(), label="y", **chosen)
    return deal(given_rows, devices, settings, np.random.default_rng(seed))


def shares(given_rows: Labelled, places: Places) -> np.ndarray[Any, Any]:
    counts = np.bincount(given_rows.labels[places], minlength=given_rows.classes)
    return np.asarray(counts / counts.sum())


@given(
    kind=st.sampled_from(KINDS),
    devices=st.integers(2, 12),
    extra=st.integers(0, 2_000),
    alpha=st.sampled_from([1e-3, 0.1, 1.0, 1e6]),
    seed=st.integers(0, 2**32 - 1),
)
def test_no_row_is_dealt_twice_and_each_device_has_enough(
    kind: Any, devices: int, extra: int, alpha: float, seed: int
) -> None:
    there = rows(40 * LEAST + extra, seed=seed)
    parts = dealt(there, devices, seed, partition=kind, alpha=alpha, labels=2)
    everything = np.concatenate(parts)
    assert len(parts) == devices
    assert min(map(len, parts)) >= LEAST
    assert all((np.diff(part) > 0).all() for part in parts)
    assert len(set(everything.tolist())) == len(everything)
    left = len(there.labels) - len(everything)
    assert left < devices if kind == "dirichlet" else left == 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_says_who_gets_what(kind: Any) -> None:
    one, same, other = (dealt(rows(4_000), 8, seed, partition=kind) for seed in (1, 1, 2))
    assert all(map(np.array_equal, one, same))
    assert not all(map(np.array_equal, one, other))


def test_iid_devices_have_the_classes_of_the_whole_and_equal_amounts() -> None:
    there = rows(20_000)
    parts = dealt(there, 10, partition="iid")
    assert {len(part) for part in parts} == {2_000}
    whole = shares(there, np.arange(20_000))
    for part in parts:
        np.testing.assert_allclose(shares(there, part), whole, atol=0.05)


def test_dirichlet_devices_have_equal_amounts() -> None:
    assert {len(part) for part in dealt(rows(4_005), 10, partition="dirichlet")} == {400}


def test_dirichlet_goes_from_one_class_to_the_classes_of_the_whole() -> None:
    there = rows(40_000, classes=8)
    largest = {
        alpha: np.mean(
            [
                shares(there, part).max()
                for part in dealt(there, 20, partition="dirichlet", alpha=alpha)
            ]
        )
        for alpha in (0.01, 1.0, 1e6)
    }
    assert largest[0.01] > 0.7
    assert largest[0.01] > largest[1.0] + 0.1
    assert largest[1.0] > largest[1e6] + 0.1
    for part in dealt(there, 20, partition="dirichlet", alpha=1e6):
        np.testing.assert_allclose(shares(there, part), shares(there, np.arange(40_000)), atol=0.06)


def test_dirichlet_shares_vary_as_the_distribution_does() -> None:
    """A class of prior p has a share with variance p (1 - p) / (alpha + 1)."""
    rng = np.random.default_rng(2)
    there = Labelled(rng.integers(0, 4, 80_000), np.zeros(80_000, np.intp), 4)
    parts = dealt(there, 400, partition="dirichlet", alpha=3.0)
    first = np.array([shares(there, part) for part in parts])
    assert first.var() == pytest.approx(0.25 * 0.75 / 4, rel=0.15)


@pytest.mark.parametrize("labels", [1, 2, 3])
def test_by_label_each_device_has_so_many_classes_and_every_class_is_dealt(labels: int) -> None:
    there = rows(12_000, classes=5)
    parts = dealt(there, 10, partition="label", labels=labels)
    assert all(len(set(there.labels[part].tolist())) == labels for part in parts)


def test_by_size_amounts_spread_by_sigma_and_nobody_has_too_few() -> None:
    for sigma in (0.5, 2.0):
        parts = dealt(rows(200_000), 300, partition="size", sigma=sigma)
        beyond = np.array([len(part) - LEAST for part in parts])
        assert np.log(beyond[beyond > 0]).std() == pytest.approx(sigma, rel=0.2)


def test_by_client_each_device_is_a_client_of_the_files() -> None:
    there = rows(1_000, clients=3)
    parts = dealt(there, 2, partition="client")
    assert [set(there.clients[part].tolist()) for part in parts] == [{0}, {1}]
    assert [len(part) for part in parts] == [np.count_nonzero(there.clients == c) for c in (0, 1)]


@pytest.mark.parametrize("kind", KINDS)
def test_too_few_rows_are_refused_with_what_to_change(kind: Any) -> None:
    with pytest.raises(SettingsError, match=r"needs 70 to learn and to judge; lower groups\.dev"):
        dealt(rows(500), 10, partition=kind)


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"partition": "client"}, r"data\.client: the files have 3 clients for 10 devices"),
        ({"partition": "label", "labels": 9}, r"data\.labels: a device cannot have 9 of 4"),
    ],
)
def test_what_cannot_be_dealt_is_refused(chosen: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        dealt(rows(9_000), 10, **chosen)


def test_classes_that_would_go_to_nobody_are_refused() -> None:
    with pytest.raises(SettingsError, match="leave some of 8 classes to nobody"):
        dealt(rows(9_000, classes=8), 3, partition="label", labels=2)


@pytest.mark.parametrize("kind", ["dirichlet", "label"])
def test_numbers_are_not_dealt_by_class(kind: Any) -> None:
    numbers = Labelled(np.zeros(900, np.intp), np.zeros(900, np.intp), 0)
    with pytest.raises(SettingsError, match="choose iid, size or client"):
        dealt(numbers, 3, partition=kind)


def test_a_class_of_which_there_is_no_row_is_dealt_to_nobody() -> None:
    some = rows(4_000, classes=4)
    more = Labelled(some.labels, some.clients, 6)
    for kind in KINDS:
        assert len(dealt(more, 5, partition=kind)) == 5
