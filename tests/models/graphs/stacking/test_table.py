from __future__ import annotations

from pathlib import Path

from headwater_models.graphs.gradients import table as gradients
from headwater_models.graphs.stacking.table import rules
from tests.models.graphs.stacking import (
    test_convolution,
    test_elementwise,
    test_layout,
    test_normalisation,
    test_products,
    test_reductions,
    test_selection,
)

TESTED = (
    test_convolution,
    test_elementwise,
    test_layout,
    test_normalisation,
    test_products,
    test_reductions,
    test_selection,
)


def test_whatever_can_be_differentiated_can_be_stacked_and_is_judged_by_a_loop() -> None:
    judged = {name for module in TESTED for name in module.CASES}
    assert judged == set(gradients.rules())
    assert judged <= set(rules())


def test_the_guide_names_what_can_be_stacked_beyond_that() -> None:
    guide = (Path(__file__).parents[4] / "docs" / "models.md").read_text(encoding="utf-8")
    more = ", ".join(sorted(set(rules()) - set(gradients.rules())))
    assert f"and {more}." in guide
