"""Streams that say nothing any more: noticed once per silence, and again when they speak.

No clock in here: the caller says how much time went by in which a record could have come.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from headwater.settings import Duration
from headwater_models.manifest import Grid

PERIODS = 10
"""Periods of the grid without a record that are silence at least, where the owner says nothing."""


class StreamsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a stream counts as silent; 0: never, None: :func:`usual_silence`."""

    silent_after: Duration | None = None


def usual_silence(grid: Grid) -> int:
    """Return after how many milliseconds a stream is silent where the owner did not say."""
    return max(PERIODS * int(grid.period), int(grid.max_gap))


@dataclass(frozen=True, slots=True)
class Passed:
    """So many seconds of the monotonic clock went by in which records could have come."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Turn:
    """A stream fell silent, or spoke again after a silence; ``seconds`` of it so far."""

    stream: str
    speaks: bool
    seconds: float


class Silence:
    """Notice when streams fall silent.

    Parameters
    ----------
    after_s
        Seconds without a record that are a silence; 0: none are.

    Attributes
    ----------
    silent
        The streams that are, in the order in which that was noticed.
    """

    def __init__(self, after_s: float) -> None:
        self.silent: dict[str, None] = {}
        self._after_s = after_s
        self._now = 0.0
        self._heard: dict[str, float] = {}

    def passed(self, seconds: float, heard: Iterable[str]) -> list[Turn]:
        """Let time go by.

        Parameters
        ----------
        seconds
            Since the last call.
        heard
            The streams of which a record came meanwhile. A stream is known from its first on.

        Returns
        -------
        list of Turn
            What changed; first the streams that speak again.
        """
        self._now += seconds
        turns = []
        for stream in heard:
            before = self._heard.pop(stream, self._now)
            self._heard[stream] = self._now
            if stream in self.silent:
                del self.silent[stream]
                turns.append(Turn(stream, speaks=True, seconds=self._now - before))
        return turns + self._fallen_silent()

    def _fallen_silent(self) -> list[Turn]:
        """Look at the streams from the one on that was not heard for the longest time."""
        turns: list[Turn] = []
        if not self._after_s:
            return turns
        for stream, heard in self._heard.items():
            if self._now - heard < self._after_s:
                break
            if stream not in self.silent:
                self.silent[stream] = None
                turns.append(Turn(stream, speaks=False, seconds=self._now - heard))
        return turns
