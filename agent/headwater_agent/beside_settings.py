"""Which further models predict beside the first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from headwater.errors import SettingsError

MOST = 1_000
"""Models that may predict beside the first."""


class BesideSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Models that predict the same from the same windows, and neither learn nor federate.

    ``models`` are bundles, or patterns such as ``challengers/*.zip``; a model is called by the
    name of its file. What all of them say of a window goes out as one message on ``topic``.
    """

    models: tuple[str, ...] = ()
    topic: str = "headwater/{device}/{stream}/beside"

    def under(self, folder: Path) -> BesideSettings:
        """Return the same with absolute paths, relative ones taken from a folder."""
        return msgspec.structs.replace(self, models=tuple(str(folder / one) for one in self.models))

    def bundles(self) -> dict[str, Path]:
        """Return where the models lie, by name.

        Raises
        ------
        SettingsError
            When a pattern finds nothing, two have the same name, or there are too many.
        """
        found: dict[str, Path] = {}
        for pattern in self.models:
            for path in _matching(pattern):
                name = path.name.removesuffix(".zip")
                if found.setdefault(name, path) != path:
                    raise SettingsError(
                        f"beside.models: {path} and {found[name]} have the same name; rename one."
                    )
        if len(found) > MOST:
            raise SettingsError(f"beside.models: {len(found)} models; at most {MOST} can be run.")
        return found


def _matching(pattern: str) -> Iterator[Path]:
    path = Path(pattern)
    anchor, rest = Path(path.anchor or "."), path.relative_to(path.anchor)
    found = sorted(anchor.glob(str(rest)))
    if not found:
        raise SettingsError(
            f"beside.models: {pattern} finds no model; name a bundle, or take the entry out."
        )
    yield from found
