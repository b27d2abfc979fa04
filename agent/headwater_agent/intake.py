"""One batch on its way through the pipeline: what came, in its order, and what was made of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from headwater_agent.events import Alarm, Arrived, Happened, Label, Record, Refuse, Row, Score
from headwater_agent.streams import Joined, Streams


@dataclass(slots=True)
class Intake:
    """A batch between its arrival and its storing.

    Attributes
    ----------
    places
        For each label, how many of the rows were there before it came.
    patient
        Whether the order of the labels among the records is unknown.
    """

    joined: Joined = field(default_factory=Joined)
    labels: tuple[Label, ...] = ()
    places: list[int] = field(default_factory=list)
    patient: bool = False
    receipts: dict[int, None] = field(default_factory=dict)
    scores: list[Score] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)

    @classmethod
    def of(cls, event: Arrived) -> Intake:
        """Begin a batch; each receipt counts once."""
        items: tuple[Label | Record, ...] = (*event.labels, *event.records)
        return cls(
            labels=event.labels,
            patient=len(event.order) < len(event.labels),
            receipts=dict.fromkeys(item.receipt for item in items if item.receipt),
        )

    @property
    def empty(self) -> bool:
        """Whether nothing came of it that has to be stored or labelled."""
        return not (self.joined.touched or self.receipts or self.labels)

    def join(self, event: Arrived, streams: Streams) -> Iterator[Refuse | Happened]:
        """Join the records to rows, and note how many there are before each label."""
        start = 0
        for count in event.order or [len(event.records)] * len(event.labels):
            yield from streams.join(event.records[start:count], self.joined)
            self.places.append(len(self.joined.rows))
            start = count
        yield from streams.join(event.records[start:], self.joined)

    def in_order(self) -> Iterator[Row | Label]:
        """Yield rows and labels as they came."""
        start = 0
        for place, label in zip(self.places, self.labels, strict=True):
            yield from self.joined.rows[start:place]
            yield label
            start = place
        yield from self.joined.rows[start:]
