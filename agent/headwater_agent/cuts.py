"""Windows to predict: each by itself, or those of a run of rows in columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final, overload

import msgspec

from headwater_agent.columns import RowRun
from headwater_agent.events import Floats, Row


class Cut(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A window to predict, and when the record that completed it was received.

    ``marked`` says that it is not to be learned from, ``missing`` which share of its cells is
    missing.
    """

    row: Row
    window: Floats
    received: int
    marked: bool
    missing: float


@final
@dataclass(frozen=True, slots=True, eq=False)
class CutRun(Sequence[Cut]):
    """Windows of which each ends with one of the rows; ``windows`` is ``[N, T, C]``."""

    rows: RowRun
    windows: Floats
    received: Sequence[int]
    marked: Sequence[bool]
    missing: Sequence[float]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Cut]:
        return map(Cut, self.rows, self.windows, self.received, self.marked, self.missing)

    @overload
    def __getitem__(self, at: int) -> Cut: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[Cut]: ...

    def __getitem__(self, at: int | slice) -> Cut | Sequence[Cut]:
        places = range(len(self))[at]
        if isinstance(places, range):
            whole = places == range(len(self))
            return self if whole else [self[place] for place in places]
        return Cut(
            self.rows[places],
            self.windows[places],
            self.received[places],
            self.marked[places],
            self.missing[places],
        )


def told_of(cut: Sequence[Cut]) -> tuple[Sequence[int], Sequence[bool], Sequence[float]]:
    """Return when windows were received, whether they are marked, and what of them is missing."""
    if type(cut) is CutRun:
        return cut.received, cut.marked, cut.missing
    return (
        [one.received for one in cut],
        [one.marked for one in cut],
        [one.missing for one in cut],
    )
