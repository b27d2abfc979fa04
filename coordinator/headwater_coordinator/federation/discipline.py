"""The discipline: when devices are asked for updates, and when these are merged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from headwater import wire
from headwater_coordinator.events import Effect
from headwater_coordinator.federation.fleet import Asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What devices are asked to do, settings and manifest put together."""

    model: str
    epochs: int
    batch: int
    learning_rate: float

    def task(self, name: str, base: str, number: int) -> wire.Train:
        """Return the task for one device."""
        return wire.Train(
            task=name,
            model=self.model,
            base=base,
            round=number,
            epochs=self.epochs,
            batch=self.batch,
            learning_rate=self.learning_rate,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a federation stands: what it waits for, and what has come of it."""

    phase: str
    asked: int
    open: int
    """Devices that have not answered."""

    accepted: int
    wanted: int
    """Updates that make a candidate."""


class Discipline(Protocol):
    """One way to hold a federation; it decides, and the core keeps the books."""

    @property
    def standing(self) -> Standing:
        """How far it is."""

    @property
    def due_ms(self) -> int | None:
        """When :meth:`advance` has something to do if nothing comes; None: never."""

    def settled(self, asked: Asked, outcome: wire.Reply | None, *, refused: bool) -> None:
        """Count the answer to a question of training; None: it will not come."""

    def hasten(self) -> None:
        """Let a device ask for training: wait no longer than is needed."""

    def advance(self, now: int) -> Iterator[Effect]:
        """Do what is due, when all that came by *now* is counted."""
