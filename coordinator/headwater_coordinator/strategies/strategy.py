"""What a strategy is: arguments, and a rule that turns updates into new shared weights.

A strategy is made from the ``[strategy]`` table of ``coordinator.toml``: its fields are the
arguments, checked like any other setting. It keeps nothing between merges. What a server optimiser
must remember is a :data:`State` that goes in and comes out; the books keep the one that came out
beside the candidate, and it goes into the next merge if that candidate is released.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from headwater.errors import StorageError, UnsupportedError
from headwater_coordinator.strategies.updates import Floats, Numbers, Updates

State = Mapping[str, NDArray[np.floating]]
"""Named float arrays; a number is an array without an axis. Empty: nothing is remembered."""


@dataclass(frozen=True, slots=True, eq=False)
class Merged:
    """What a merge gives: the new shared weights, float32 ``[n]``, and the state after it.

    ``voteless`` are the devices whose updates the rule left out, for what it knows of them.
    """

    vector: Floats
    state: State = field(default_factory=dict)
    voteless: tuple[str, ...] = ()


class Strategy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule with its arguments."""

    @property
    def least(self) -> int:
        """Of how many updates the rule must be sure."""
        return 1

    def merge(self, shared: Floats, updates: Updates, state: State) -> Merged:
        """Merge updates onto the shared weights.

        Parameters
        ----------
        shared
            The packed weights of the release, float32 ``[n]``; they are not changed.
        updates
            At least one, each a difference to the release that its device started from: one that
            started earlier moves the result by what it learned and does not pull it back.
        state
            What the last merge that was released gave; empty at first.

        Raises
        ------
        UnsupportedError
            When no finite weights follow, or there are too few updates for the rule.
        """
        raise NotImplementedError

    def check_enough(self, updates: Updates) -> None:
        """Refuse fewer updates than the rule needs; raises as :meth:`merge`."""
        if len(updates) < self.least:
            raise UnsupportedError(
                f"{type(self).__name__} needs {self.least} updates with these arguments, "
                f"and there are {len(updates)}; raise federation.min_devices."
            )


def moved(shared: Floats, step: Numbers) -> Floats:
    """Return shared weights moved by a step, float32 ``[n]``.

    Raises
    ------
    UnsupportedError
        When a weight is not finite after it.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return finite((shared + step).astype(np.float32))


def finite(vector: Floats) -> Floats:
    """Return the weights that a merge gave; raises as :func:`moved`."""
    if not np.isfinite(vector).all():
        raise UnsupportedError(
            "The merge gives a weight that is not finite; its updates are dropped. "
            "Lower the server's learning rate in [strategy]."
        )
    return vector


def encode_state(state: State) -> bytes:
    """Encode a state for the books; the same numbers come back, bit for bit."""
    return save({name: np.array(array, order="C") for name, array in state.items()})


def decode_state(data: bytes) -> State:
    """Read what :func:`encode_state` wrote.

    Raises
    ------
    StorageError
        When it is anything else.
    """
    try:
        return dict(load(data))
    except SafetensorError as error:
        raise StorageError(f"The state of the strategy cannot be read: {error}.") from error
