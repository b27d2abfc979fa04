"""Which models this coordinator can merge at all."""

from __future__ import annotations

from headwater.errors import UnsupportedError
from headwater_models.manifest import Manifest

RULES = ("mean", "local")
"""Merge rules of the manifest that are carried out; ``local`` arrays are left alone."""


def refuse_unmergeable(manifest: Manifest) -> None:
    """Refuse a model whose arrays merge by a rule that this coordinator does not have.

    Raises
    ------
    UnsupportedError
        Naming the arrays, or saying that there is nothing to merge.
    """
    rules = {array.name: array.merge for array in manifest.arrays if array.merge not in RULES}
    if rules:
        named = ", ".join(f"{name} ({rule})" for name, rule in rules.items())
        raise UnsupportedError(
            f"Model {manifest.name} has arrays that this coordinator cannot merge: {named}; "
            f"it knows the rules {' and '.join(RULES)}."
        )
    if not manifest.shared:
        raise UnsupportedError(
            f"Every array of model {manifest.name} is local, so there is nothing to merge."
        )
