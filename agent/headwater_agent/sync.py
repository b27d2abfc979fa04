"""The personal model and the fleet's: what was learned here is kept when a release comes."""

from __future__ import annotations

import numpy as np

from headwater_agent.events import Version
from headwater_models.arrays import Arrays

MAX_TAKEN = 8
"""Most updates under way whose moment of taking is remembered."""


class Personal:
    """The personal model on top of a release, after the rule of the design (§4, Sync).

    On a release R' that contains the update taken when the personal model was S, the personal
    model P becomes R' + (P - S): what was learned since. Where the release contains none of this
    device's updates, S is the personal model as it was after the last release. So a device that
    learned nothing since holds exactly R'.

    Parameters
    ----------
    version
        The release to start from.
    state
        The optimiser's arrays, kept across releases.
    """

    def __init__(self, version: Version, state: Arrays) -> None:
        self.parameters: Arrays = {name: a.copy() for name, a in version.weights.items()}
        self.state: Arrays = {name: a.copy() for name, a in state.items()}
        self.anchor: Arrays = self.parameters
        self.taken: dict[int, Arrays] = {}

    def take(self, sequence: int) -> None:
        """Remember the model as it is now: an update with this sequence number is being made."""
        self.taken[sequence] = self.parameters
        while len(self.taken) > MAX_TAKEN:
            del self.taken[min(self.taken)]

    def rebase(self, version: Version, merged: int) -> None:
        """Move onto a release that contains this device's updates up to *merged*."""
        contained = [sequence for sequence in self.taken if sequence <= merged]
        since = self.taken[max(contained)] if contained else self.anchor
        moved = {
            name: (release + (self.parameters[name] - since[name])).astype(np.float32)
            for name, release in version.weights.items()
        }
        self.taken = {
            sequence: {
                name: (moved[name] - (self.parameters[name] - array)).astype(np.float32)
                for name, array in taken.items()
            }
            for sequence, taken in self.taken.items()
            if sequence > merged
        }
        self.parameters = moved
        self.anchor = version.weights
