"""What a record's moves are at first sight."""

from __future__ import annotations

import msgspec

from headwater_agent.guard.sizes import BINS


class Unusual(msgspec.Struct, frozen=True, gc=False):
    """A move that surprises, by its place in :class:`.MoveSizes`."""

    channel: int
    place: int
    surprise: float


class Look(msgspec.Struct, gc=False):
    """A record at first sight.

    ``ordinary`` are the places of the moves that do not surprise. Of the other channels ``begun``
    are those with nothing to measure a move from and ``beyond`` those outside their range; those
    that have spoken of this time or a later one already are left out. ``still`` are those that
    repeat a value for longer than :data:`.SHORTEST`. ``evidence`` is that of all moves.
    """

    time: int
    values: list[float]
    evidence: float
    ordinary: list[int]
    unusual: list[Unusual]
    begun: list[int]
    beyond: list[int]
    still: list[int]

    @property
    def measured(self) -> int:
        """How many channels can be judged."""
        return len(self.ordinary) + len(self.unusual) + len(self.begun)

    def said(self) -> list[int]:
        """Return the channels that can be judged."""
        ordinary = [place // BINS for place in self.ordinary]
        return [*ordinary, *self.begun, *(one.channel for one in self.unusual)]
