"""What goes with a task beside what the core asks: terms, receipts, and the publisher's word."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from headwater import wire
from headwater_coordinator import events as e
from headwater_coordinator.receipts import Booked
from headwater_coordinator.state import Device
from headwater_models.keys import SigningKey
from headwater_models.signing import sign_receipt


class Supplements:
    """Adds to each task what its device can read.

    Parameters
    ----------
    model
        The model's id.
    key
        The release key, which signs receipts.
    delegation
        The publisher's signed statement.
    terms
        Of tasks to train, by the strategy and the settings.
    owed
        Returns what a node is owed receipts for, to go out with an ask.
    """

    def __init__(
        self,
        model: str,
        key: SigningKey,
        delegation: str,
        *,
        terms: Mapping[str, object],
        owed: Callable[[str, str], Sequence[Booked]],
    ) -> None:
        self._model = model
        self._terms = terms
        self._owed = owed
        self.renew(key, delegation)

    def renew(self, key: SigningKey, delegation: str) -> None:
        """Sign with another key, and hand out another statement of the publisher."""
        self._key = key
        fits = len(delegation) <= wire.MAX_DELEGATION
        self._delegation: str | msgspec.UnsetType = delegation if fits else msgspec.UNSET

    def add(self, effect: e.Ask, device: Device) -> wire.Task:
        """Return the task with what belongs to it."""
        match effect.task:
            case wire.Train() as task if self._terms and device.protocol >= wire.TERMS:
                return msgspec.structs.replace(task, protocol=wire.TERMS, **self._terms)
            case wire.CheckIn() as task if task.protocol >= wire.RECEIPTS:
                receipts = self._receipts(effect, device)
                return msgspec.structs.replace(task, receipts=receipts, delegation=self._delegation)
            case wire.Release() | wire.Evaluate() as task if device.protocol >= wire.DELEGATION:
                return msgspec.structs.replace(
                    task, protocol=wire.DELEGATION, delegation=self._delegation
                )
            case task:
                return task

    def _receipts(self, effect: e.Ask, device: Device) -> tuple[str, ...]:
        """Sign what was received of a device and it was not told, the oldest first."""
        return tuple(
            sign_receipt(
                self._key,
                model=self._model,
                device=device.name,
                number=one.number,
                kind=one.kind,
                message=one.digest,
                task=one.task,
                time_ms=one.time_ms,
            )
            for one in self._owed(effect.node, effect.ask)
        )
