"""What attackers send instead of what they learned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from headwater_agent.events import Batch
from headwater_models.manifest import Manifest
from headwater_simulator.scenario.settings import Attacker

Floats = NDArray[np.float32]


class Conspiracy:
    """What attackers know of each other: the newest honest update of each that colludes.

    Parameters
    ----------
    rng
        Of the noise.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._learned: dict[str, Floats] = {}

    def forge(self, attacker: Attacker, name: str, learned: Floats) -> Floats:
        """Return what a device sends for what it learned, float32 ``[n]`` both."""
        strength = np.float32(attacker.strength)
        match attacker.kind:
            case "sign-flip":
                forged = -strength * learned
            case "scaling":
                forged = strength * learned
            case "noise":
                forged = learned + strength * self._noise(learned)
            case "zero":
                forged = np.zeros_like(learned)
            case "nan":
                forged = np.full_like(learned, np.nan)
            case "colluding":
                self._learned[name] = learned
                forged = -strength * np.mean(list(self._learned.values()), axis=0)
            case "label-flip":
                forged = learned
        return np.asarray(forged, np.float32)

    def _noise(self, learned: Floats) -> Floats:
        """Return noise with the norm of what was learned."""
        noise = self._rng.standard_normal(len(learned))
        noise *= np.linalg.norm(learned) / max(float(np.linalg.norm(noise)), 1e-12)
        return noise.astype(np.float32)


def mislabelled(manifest: Manifest, examples: Batch) -> Batch:
    """Return examples with turned labels: classes in reverse order, numbers mirrored at their mean.

    Of three classes the first becomes the last; of the numbers 1, 2 and 6 the 1 becomes a 5.
    """
    if manifest.task == "classification":
        turned = np.float32(len(manifest.classes) - 1) - examples.label
    else:
        known = examples.label[np.isfinite(examples.label)]
        turned = 2 * np.mean(known if known.size else np.zeros(1, np.float32)) - examples.label
    return replace(examples, label=turned)
