"""What a device learned on top of a release, and how it moves when the next release comes."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater_agent.events import Version
from headwater_models.arrays import Arrays

MAX_TAKEN = 8
"""Most updates under way whose moment of taking is remembered."""

Packed = dict[str, tuple[str, tuple[int, ...], bytes]]
"""Arrays as a checkpoint holds them: dtype, shape and little-endian bytes by name."""


class SavedBranch(msgspec.Struct):
    """A branch as a checkpoint holds it."""

    parameters: Packed
    state: Packed
    anchor: Packed
    taken: dict[int, Packed]
    examples: int
    taken_examples: dict[int, int]


class Branch:
    """Parameters that learn on top of a release, after the rule of the design (§4, Sync).

    On a release R' that contains the update taken when the branch was S, the branch P becomes
    R' + (P - S): what was learned since. Where the release contains none of this device's
    updates, S is the branch as it was after the last release. So a branch that learned nothing
    since holds exactly R', and loss and repetition of releases and updates are harmless: whatever
    was learned is either in the release or on top of it, once.

    Parameters
    ----------
    version
        The release to start from.
    state
        The optimiser's arrays before its first step.
    local
        Names of the arrays that stay on the device: no release moves them.
    keeps_state
        Whether the optimiser's arrays survive a release: yes for the personal model, no for the
        contribution, which starts again from each release.

    Attributes
    ----------
    parameters, state
        What predicts or is offered, and the optimiser's arrays.
    examples
        How many examples were learned since the anchor.
    """

    def __init__(
        self,
        version: Version,
        state: Arrays,
        *,
        local: AbstractSet[str] = frozenset(),
        keeps_state: bool = True,
    ) -> None:
        self.parameters: Arrays = {name: a.copy() for name, a in version.weights.items()}
        self.state: Arrays = {name: a.copy() for name, a in state.items()}
        self.anchor: Arrays = self.parameters
        self.taken: dict[int, Arrays] = {}
        self.examples = 0
        self._taken_examples: dict[int, int] = {}
        self._start = {name: a.copy() for name, a in state.items()}
        self._local = local
        self._keeps_state = keeps_state

    def trained(self, parameters: Arrays, state: Arrays, examples: int) -> None:
        """Take over what a step on some examples made."""
        self.parameters, self.state = parameters, state
        self.examples += examples

    def take(self, sequence: int) -> None:
        """Remember the branch as it is now: an update with this sequence number is being made."""
        self.taken[sequence] = self.parameters
        self._taken_examples[sequence] = self.examples
        while len(self.taken) > MAX_TAKEN:
            self._forget(min(self.taken))

    def examples_taken(self, sequence: int) -> int:
        """Return how many examples since the anchor were learned when it was taken; 0: unknown."""
        return self._taken_examples.get(sequence, 0)

    def rebase(self, version: Version, merged: int) -> None:
        """Move onto a release that contains this device's updates up to *merged*."""
        contained = [sequence for sequence in self.taken if sequence <= merged]
        last = max(contained, default=0)
        since = self.taken[last] if contained else self.anchor
        given = self._taken_examples[last] if contained else 0
        for sequence in contained:
            self._forget(sequence)
        moved = self._moved(version.weights, self.parameters, since)
        self.taken = {
            sequence: self._moved(moved, array, self.parameters)
            for sequence, array in self.taken.items()
        }
        self._taken_examples = {s: count - given for s, count in self._taken_examples.items()}
        self.examples -= given
        self.parameters = moved
        self.anchor = {n: moved[n] if n in self._local else a for n, a in version.weights.items()}
        if not self._keeps_state:
            self._restart()

    def begin(self, version: Version) -> Arrays:
        """Return what learning from a version begins at: its arrays, and the local ones of here."""
        return version.weights | {name: self.parameters[name] for name in self._local}

    def adopt(self, parameters: Arrays, since: Arrays) -> None:
        """Go over to other parameters, and keep what was learned since they were begun.

        Parameters
        ----------
        parameters
            Learned apart, local arrays too.
        since
            What the branch was when that was begun.
        """
        moved = {
            name: (array + (self.parameters[name] - since[name])).astype(np.float32)
            for name, array in parameters.items()
        }
        self.taken = {s: self._moved(moved, a, self.parameters) for s, a in self.taken.items()}
        self.parameters = moved

    def reset(self, version: Version) -> None:
        """Forget everything learned here and start from a release again, local arrays too."""
        self.parameters = {name: a.copy() for name, a in version.weights.items()}
        self.anchor = self.parameters
        self.taken, self._taken_examples, self.examples = {}, {}, 0
        self._restart()

    def forget(self, version: Version) -> None:
        """Forget everything, as :meth:`reset` does."""
        self.reset(version)

    def save(self) -> SavedBranch:
        """Return all that :meth:`restore` needs."""
        return SavedBranch(
            parameters=pack_arrays(self.parameters),
            state=pack_arrays(self.state),
            anchor=pack_arrays(self.anchor),
            taken={sequence: pack_arrays(arrays) for sequence, arrays in self.taken.items()},
            examples=self.examples,
            taken_examples=self._taken_examples,
        )

    def restore(self, saved: SavedBranch) -> None:
        """Go on where :meth:`save` was called."""
        self.parameters, self.state = unpack_arrays(saved.parameters), unpack_arrays(saved.state)
        self.anchor = unpack_arrays(saved.anchor)
        self.taken = {sequence: unpack_arrays(p) for sequence, p in saved.taken.items()}
        self.examples, self._taken_examples = saved.examples, saved.taken_examples

    def _moved(self, onto: Arrays, array: Arrays, since: Arrays) -> Arrays:
        """Return ``onto + (array - since)``; local arrays stay what they are in *array*."""
        return {
            name: array[name]
            if name in self._local
            else (onto[name] + (array[name] - since[name])).astype(np.float32)
            for name in array
        }

    def _forget(self, sequence: int) -> None:
        del self.taken[sequence]
        del self._taken_examples[sequence]

    def _restart(self) -> None:
        self.state = {name: a.copy() for name, a in self._start.items()}


def pack_arrays(arrays: dict[str, NDArray[Any]]) -> Packed:
    """Return arrays as they are stored."""
    return {
        name: (a.dtype.str, a.shape, np.ascontiguousarray(a).tobytes())
        for name, a in arrays.items()
    }


def unpack_arrays(packed: Packed) -> dict[str, NDArray[Any]]:
    """Return what :func:`pack_arrays` was given.

    Raises
    ------
    ValueError
        When bytes and shape do not fit, or the dtype is none of numbers.
    """
    found = {}
    for name, (dtype, shape, raw) in packed.items():
        if dtype not in ("<f4", "<f8"):
            raise ValueError(f"{name} is of dtype {dtype!r}")
        found[name] = np.frombuffer(raw, dtype).reshape(shape).copy()
    return found
