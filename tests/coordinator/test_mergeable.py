"""A model that cannot be merged here is refused by what it is that cannot."""

from __future__ import annotations

import msgspec
import pytest

from headwater.errors import BundleError, UnsupportedError
from headwater_coordinator.mergeable import refuse_unmergeable
from headwater_models.manifest import Array, Manifest
from tests.models.bundles import tiny
from tests.models.statistics.gathered import manifest as statistics_model


def manifest(*arrays: Array) -> Manifest:
    fields = {name: getattr(tiny().manifest, name) for name in Manifest.__struct_fields__}
    return Manifest(**(fields | {"arrays": arrays, "state": ()}))


def test_a_model_with_a_rule_that_is_not_known_here_is_refused_by_name() -> None:
    model = manifest(Array(name="head", shape=(2,)), Array(name="gram", shape=(2,), merge="sum"))
    with pytest.raises(UnsupportedError, match=r"gram \(sum\)"):
        refuse_unmergeable(model)


def test_a_solved_array_needs_statistics_that_it_follows_from() -> None:
    model = manifest(Array(name="head", shape=(2,), merge="solved"))
    with pytest.raises(UnsupportedError, match=r"head \(solved\)"):
        refuse_unmergeable(model)
    refuse_unmergeable(statistics_model())


def test_statistics_that_are_not_those_of_the_learner_are_refused() -> None:
    model = statistics_model()
    with pytest.raises(BundleError, match="statistics of learner ridge"):
        refuse_unmergeable(msgspec.structs.replace(model, statistics=model.statistics[:-1]))


def test_a_model_with_nothing_to_share_is_refused() -> None:
    model = manifest(Array(name="own", shape=(2,), merge="local"))
    with pytest.raises(UnsupportedError, match="nothing to merge"):
        refuse_unmergeable(model)
