from __future__ import annotations

from pathlib import Path

from headwater_models.graphs.gradients.table import rules, rules_by_kind
from tests.models.graphs.gradients import (
    test_activations,
    test_arithmetic,
    test_convolution,
    test_layout,
    test_normalisation,
    test_pooling,
    test_products,
    test_reductions,
    test_selection,
)

TESTED = (
    test_activations,
    test_arithmetic,
    test_convolution,
    test_layout,
    test_normalisation,
    test_pooling,
    test_products,
    test_reductions,
    test_selection,
)


def test_every_rule_is_judged_by_finite_differences_once() -> None:
    assert sorted(name for module in TESTED for name in module.CASES) == sorted(rules())


def test_the_guide_lists_the_operators_that_have_a_rule() -> None:
    guide = (Path(__file__).parents[4] / "docs" / "models.md").read_text(encoding="utf-8")
    table = guide.partition("| kind | operators |\n|---|---|\n")[2].partition("\n\n")[0]
    listed = [row.strip("| ").split(" | ") for row in table.splitlines()]
    expected = {kind: sorted(group) for kind, group in rules_by_kind().items()}
    assert {kind: operators.split(", ") for kind, operators in listed} == expected
