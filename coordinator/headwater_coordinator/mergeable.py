"""Which models this coordinator can merge at all."""

from __future__ import annotations

from headwater.errors import UnsupportedError
from headwater_models.manifest import Manifest
from headwater_models.statistics import check_layout

AVERAGED = ("mean", "local")
"""Merge rules of a model that learns by gradients; ``local`` arrays are left alone."""

SOLVED = ("mean", "solved", "local")
"""Those of a model that is solved from statistics; its ``mean`` arrays stay as they are."""


def refuse_unmergeable(manifest: Manifest) -> None:
    """Refuse a model whose arrays merge by a rule that this coordinator does not have.

    Raises
    ------
    BundleError
        When its statistics are not those of its learner.
    UnsupportedError
        Naming the arrays, or saying that there is nothing to merge.
    """
    check_layout(manifest)
    known = SOLVED if manifest.statistics else AVERAGED
    rules = {array.name: array.merge for array in manifest.arrays if array.merge not in known}
    if rules:
        named = ", ".join(f"{name} ({rule})" for name, rule in rules.items())
        raise UnsupportedError(
            f"Model {manifest.name} has arrays that this coordinator cannot merge: {named}; "
            f"for its learner it knows the rules {', '.join(known)}."
        )
    if not manifest.shared:
        raise UnsupportedError(
            f"Every array of model {manifest.name} is local, so there is nothing to merge."
        )
