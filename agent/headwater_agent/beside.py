"""Models that predict beside the first on the same windows: equal graphs in one call."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from headwater.errors import SettingsError
from headwater_agent.beside_settings import BesideSettings
from headwater_agent.events import Floats, Inferred
from headwater_models.bundle import Bundle
from headwater_models.manifest import Manifest
from headwater_models.stacked import Together, together

_SHARED = ("task", "grid", "window", "target", "horizon", "classes", "quantiles")
"""What the manifests of all models must agree on, beside the channels."""


class Beside:
    """The sessions of the models.

    Parameters
    ----------
    bundles
        By name, in the order of their predictions; none: nothing is computed.
    outputs
        Width K of a prediction.
    """

    def __init__(self, bundles: Mapping[str, Bundle], outputs: int) -> None:
        self.names = tuple(bundles)
        self.versions = tuple(bundle.version_id for bundle in bundles.values())
        self._outputs = outputs
        groups: dict[tuple[bytes, bytes | None], list[int]] = {}
        models = list(bundles.values())
        for place, bundle in enumerate(models):
            groups.setdefault((bundle.infer, bundle.stacked), []).append(place)
        self._groups: list[tuple[list[int], Together]] = [
            (places, together(models[places[0]], [models[place].weights for place in places]))
            for places in groups.values()
        ]

    @property
    def calls(self) -> int:
        """How many calls it takes for all of them: one for all that have equal graphs."""
        return len(self._groups)

    def join(self, answer: Inferred) -> Inferred:
        """Return the answer with what the models say: float32 ``[N, M, K]``."""
        if not self.names:
            return answer
        windows = answer.windows
        said: Floats = np.empty((len(windows.times), len(self.names), self._outputs), np.float32)
        for places, run in self._groups:
            said[:, places] = run(windows.values, windows.times).transpose(1, 0, 2)
        return replace(answer, beside=said)


def load_beside(
    settings: BesideSettings, manifest: Manifest, *, publisher: str | None
) -> dict[str, Bundle]:
    """Load the models.

    Parameters
    ----------
    settings
        Where they lie.
    manifest
        Of the first model, which they must be comparable with.
    publisher
        Who must have signed them; None: nobody.

    Raises
    ------
    SettingsError
        When there are none where they should be, or one predicts something else.
    BundleError
        When one is damaged, or not signed as it must be.
    """
    paths = settings.bundles()
    if paths and manifest.task == "anomaly":
        raise SettingsError(
            "beside.models: the scores of anomaly models have no common unit; run each of them "
            "in an agent of its own."
        )
    return {name: _loaded(path, manifest, publisher) for name, path in paths.items()}


def _loaded(path: Path, manifest: Manifest, publisher: str | None) -> Bundle:
    bundle = Bundle.load(path, publisher=publisher)
    other = bundle.manifest
    differs = [name for name in _SHARED if getattr(other, name) != getattr(manifest, name)]
    if _channels(other) != _channels(manifest):
        differs.insert(0, "channels")
    if differs:
        raise SettingsError(
            f"beside.models: {path} differs from the first model in {', '.join(differs)}; "
            "run it in an agent of its own."
        )
    return bundle


def _channels(manifest: Manifest) -> list[tuple[str, str]]:
    return [(channel.name, channel.unit) for channel in manifest.channels]
