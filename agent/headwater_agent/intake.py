"""What came since the last settling, on its way through the pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from headwater_agent.columns import receipts_of
from headwater_agent.events import (
    Alarm,
    Arrived,
    Floats,
    Happened,
    Label,
    Refuse,
    Row,
    Score,
)
from headwater_agent.predictions import Predictions
from headwater_agent.streams import Joined, Streams


@dataclass(slots=True)
class Intake:
    """Records and labels between their arrival and their storing, and what was made of them.

    Attributes
    ----------
    places
        For each label, how many of the rows were there before it came.
    patient
        Whether the order of the labels among the records is unknown.
    predicted
        How many of the windows that were cut have a prediction.
    predictions, windows
        These, in pieces, and what they were made of, ``[N, T, C]``.
    """

    joined: Joined = field(default_factory=Joined)
    labels: list[Label] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    patient: bool = False
    receipts: dict[int, None] = field(default_factory=dict)
    predicted: int = 0
    predictions: list[Predictions] = field(default_factory=list)
    windows: list[Floats] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether nothing came of it that has to be stored or labelled."""
        return not (self.joined.touched or self.receipts or self.labels)

    def take(self, event: Arrived, streams: Streams) -> list[Refuse | Happened]:
        """Join records to rows, and note how many there are before each label.

        Each receipt counts once. Returns what is to be told.
        """
        told: list[Refuse | Happened] = []
        start = 0
        if event.labels:
            self.labels += event.labels
            self.patient |= len(event.order) < len(event.labels)
            for count in event.order or [len(event.records)] * len(event.labels):
                told += streams.join(event.records[start:count], self.joined)
                self.places.append(len(self.joined.rows))
                start = count
        rest = event.records[start:] if start else event.records
        told += streams.join(rest, self.joined)
        if event.receipts:
            self.receipts |= dict.fromkeys(filter(None, event.receipts))
        own = [*[label.receipt for label in event.labels], *receipts_of(event.records)]
        if any(own):
            self.receipts |= dict.fromkeys(filter(None, own))
        return told

    def in_order(self) -> Iterator[Row | Label]:
        """Yield rows and labels as they came."""
        start = 0
        for place, label in zip(self.places, self.labels, strict=True):
            yield from self.joined.rows[start:place]
            yield label
            start = place
        yield from self.joined.rows[start:]
