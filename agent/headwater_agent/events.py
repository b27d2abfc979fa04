"""The pipeline's alphabet: what happens to it (events) and what it asks for (effects).

Times are UTC milliseconds of the event itself unless a name says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater_models.arrays import Arrays

Floats = NDArray[np.float32]
Model = Literal["released", "personal"]
BranchName = Literal["personal", "contribution"]
MarkReason = Literal["infinite", "range", "stuck", "spike", "unit", "mixed"]


class Record(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One decoded sensor message: values of some channels of a stream at a time.

    ``values`` is float32 ``[C]`` in the manifest's units and order; ``present`` is bool ``[C]``
    and marks the channels that the message spoke of (a spoken null is present and NaN).
    ``receipt`` is what the transport wants back when the record is durable (0: nothing).
    ``marked`` is bool ``[C]`` where the guard doubts a value, which is NaN then, or the record's
    time is in doubt; None: nowhere.
    """

    stream: str
    time: int
    values: Floats
    present: NDArray[np.bool_]
    received: int = 0
    receipt: int = 0
    marked: NDArray[np.bool_] | None = None


class Label(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A label that came by itself, for a prediction named by ``id`` or by stream and ``time``.

    ``value`` is in the target's unit, a class is its index. ``receipt`` as in :class:`Record`.
    """

    value: float
    id: str = ""
    stream: str = ""
    time: int = 0
    receipt: int = 0


class Row(msgspec.Struct, frozen=True, eq=False, gc=False):
    """The records of a stream joined at one slot of the time grid; missing is NaN.

    ``observed`` is bool ``[C]``: the cells that a record gave, not held over from before. Rows
    read back from the store have none, for they are never predicted or used as labels again.
    ``marked`` says whether the guard keeps a cell of it aside, which is missing here.
    """

    stream: str
    slot: int
    values: Floats
    observed: NDArray[np.bool_]
    marked: bool = False


class Mark(msgspec.Struct, frozen=True, gc=False):
    """A value that the guard keeps aside: where it belongs, what it was, and why."""

    stream: str
    time: int
    channel: int
    value: float
    reason: MarkReason


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something about a stream changed; ``channel`` is empty where it is the model's error.

    ``value`` is what the detector saw lately and ``before`` what it had seen, in the unit of what
    it watches (a channel's, the loss's, a share, or seconds of silence).
    """

    stream: str
    time: int
    detector: Literal["adwin", "page-hinkley", "kswin", "estimate", "silence"]
    channel: str
    value: float
    before: float


class Windows(msgspec.Struct, frozen=True, eq=False, gc=False):
    """The windows that became complete in a batch, over all streams.

    ``values`` is float32 ``[N, T, C]``; ``times`` int64 ``[N]`` is the time of each last row.
    """

    streams: tuple[str, ...]
    times: NDArray[np.int64]
    values: Floats


class Prediction(msgspec.Struct, frozen=True, eq=False, gc=False):
    """What was predicted for one window before its label was known.

    ``said`` is float32 ``[3, K]``: what released, personal and baseline say, in the target's unit
    (or probabilities, or a score of how unusual the window is). ``served`` names the one that is
    published. ``thresholds`` are the scores from which on released and personal call a window an
    anomaly (NaN: none yet, or another task). ``marked`` says that the guard keeps a cell of the
    window aside. ``id`` is the same whenever the same version sees the same window again.
    ``beside`` is ``[M, K]``: what further models say.
    """

    id: str
    stream: str
    time: int
    version: str
    said: Floats
    quality: Literal["ok", "degraded"]
    received: int
    served: Model = "released"
    thresholds: tuple[float, float] = (math.nan, math.nan)
    marked: bool = False
    beside: Floats | None = None

    @property
    def released(self) -> Floats:
        """What the released model says, ``[K]``."""
        released: Floats = self.said[0]
        return released

    @property
    def personal(self) -> Floats:
        """What the personal model says, ``[K]``."""
        personal: Floats = self.said[1]
        return personal

    @property
    def baseline(self) -> Floats:
        """What one would say without a model, ``[K]``."""
        baseline: Floats = self.said[2]
        return baseline


class Example(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A window with its label. ``sequence`` counts the examples of a device from 1.

    ``time`` is that of the window's last row. ``label`` has float32's precision (a class is its
    index; 0 where an anomaly model takes the window for normal). A reserved example lies in a
    block that is never learned from; an embargoed one (neither learned nor judged on) is none.
    """

    sequence: int
    stream: str
    time: int
    window: Floats
    label: float
    reserved: bool


class Held(msgspec.Struct, frozen=True, eq=False, gc=False):
    """What would be an example, were its window not marked; it becomes one when the marks go."""

    stream: str
    time: int
    label: float
    reserved: bool


class Correction(msgspec.Struct, frozen=True, eq=False, gc=False):
    """The label of a stored example, by its sequence, was corrected before it was learned."""

    sequence: int
    label: float


class Score(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A stored prediction met its label, in the target's unit; a later one corrects it."""

    prediction: str
    label: float


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Examples laid out for training.

    ``window`` float32 ``[N, T, C]``, ``time`` int64 ``[N]``, ``label`` float32 ``[N, 1]``,
    ``weight`` float32 ``[N]``.
    """

    window: Floats
    time: NDArray[np.int64]
    label: Floats
    weight: Floats

    def parts(self, count: int) -> Iterator[Batch]:
        """Yield so many equal parts, one after the other."""
        if count == 1:
            yield self
            return
        size = len(self.weight) // count
        for own in (slice(start, start + size) for start in range(0, count * size, size)):
            yield Batch(self.window[own], self.time[own], self.label[own], self.weight[own])


@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """A released version as the pipeline needs it: its name, place in the order, and weights."""

    name: str
    sequence: int
    weights: Arrays


# Events


class Arrived(msgspec.Struct, frozen=True, eq=False, gc=False):
    """Records and labels came in, each in the order of their receipt.

    ``order`` says for each label how many of the records came before it. Without it none of the
    labels is too late for what its batch began with, or brought. ``receipts`` belong to messages
    that held nothing. With ``settle`` labels are met, everything is stored and learned from at
    once; otherwise that waits for :class:`Settle`.
    """

    records: Sequence[Record] = ()
    labels: tuple[Label, ...] = ()
    order: tuple[int, ...] = ()
    receipts: tuple[int, ...] = ()
    settle: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Settle:
    """Let what came meet its labels, and store what was made of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """Learn for a while: at most so many batches of the examples that wait."""

    batches: int


@dataclass(frozen=True, slots=True, eq=False)
class Cleared:
    """A person says that marked values were right: they are put back into their rows.

    ``examples`` are those that were held back for them and may be used after all; their windows
    come with the values put back, their ``sequence`` is not yet given (0).
    """

    marks: tuple[Mark, ...]
    rows: tuple[Row, ...]
    examples: tuple[Example, ...]


class Inferred(msgspec.Struct, frozen=True, eq=False, gc=False):
    """The answer to :class:`Infer`: ``[N, K]`` for each model asked, ``[N, M, K]`` beside them."""

    windows: Windows
    outputs: dict[Model, Floats]
    beside: Floats | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """The answer to :class:`Train`: what the steps made, and each row's loss before its step."""

    parameters: Arrays
    state: Arrays
    losses: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """An update with this sequence number is being made from all examples so far."""

    sequence: int


@dataclass(frozen=True, slots=True, eq=False)
class Released:
    """A new version is there; it contains this device's updates up to ``merged``."""

    version: Version
    merged: int


@dataclass(frozen=True, slots=True, eq=False)
class Ticked:
    """Time passed: what is due is done."""


@dataclass(frozen=True, slots=True, eq=False)
class Refined:
    """The answer to :class:`Refine`, at any later time: what became of the version it names.

    ``parameters`` is None where there were too few examples.
    """

    version: str
    parameters: Arrays | None


Event = (
    Arrived | Settle | Study | Inferred | Trained | Taken | Released | Refined | Cleared | Ticked
)

# Effects


class Infer(msgspec.Struct, frozen=True, eq=False, gc=False):
    """Run the model on windows once for each set of parameters; answer with :class:`Inferred`."""

    windows: Windows
    parameters: dict[Model, Arrays]


@dataclass(frozen=True, slots=True, eq=False)
class Train:
    """Take optimiser steps of a branch, one after the other; answer with :class:`Trained`.

    ``batch`` holds the examples of all of them, equally many for each of ``learning_rates``.
    """

    batch: Batch
    parameters: Arrays
    state: Arrays
    learning_rates: tuple[float, ...]
    branch: BranchName

    def steps(self) -> Iterator[tuple[Batch, float]]:
        """Yield the examples and the learning rate of each."""
        return zip(self.batch.parts(len(self.learning_rates)), self.learning_rates, strict=True)


@dataclass(frozen=True, slots=True, eq=False)
class Refine:
    """Learn the stored examples in epochs, from a release and the personal model's local arrays.

    Answer with :class:`Refined` when it is done; everything else goes on meanwhile.
    """

    version: str
    start: Arrays


class Publish(msgspec.Struct, frozen=True, eq=False, gc=False):
    """Send predictions out."""

    predictions: Sequence[Prediction]


@dataclass(frozen=True, slots=True, eq=False)
class Warn:
    """Tell the device's owner that streams have changed."""

    alarms: tuple[Alarm, ...]


@dataclass(frozen=True, slots=True)
class Happened:
    """Something about the served model, or about learning, that an owner wants to read later."""

    kind: Literal["promoted", "demoted", "reset", "paused", "resumed", "overloaded", "heard"]
    detail: str


@dataclass(frozen=True, slots=True, eq=False)
class Store:
    """Make these durable in one transaction, then give the receipts back to the transport.

    ``progress`` holds, for each stream the batch touched, the encoded state of its rows (records
    that wait for the rest of their row); the latest replaces the earlier. So a receipt can be
    given back although its row is not complete yet. ``standing`` holds in the same way what the
    labels changed: the score of a stream, and under no name the account, evidence and score of
    the device. ``cleared`` are earlier marks that go, as do the held windows that are among the
    examples now. ``erased`` names streams (empty: all) of which no example up to a sequence, and
    nothing that was held back, is kept.
    """

    rows: Sequence[Row] = ()
    predictions: Sequence[Prediction] = ()
    scores: tuple[Score, ...] = ()
    examples: Sequence[Example] = ()
    marks: tuple[Mark, ...] = ()
    held: tuple[Held, ...] = ()
    cleared: tuple[Mark, ...] = ()
    corrections: tuple[Correction, ...] = ()
    progress: tuple[tuple[str, bytes], ...] = ()
    standing: tuple[tuple[str, bytes], ...] = ()
    receipts: tuple[int, ...] = ()
    erased: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """Make the whole learning state durable, in the transaction of what was stored before it.

    Examples up to ``learned_through`` are in the state; those after it are learned again at start.
    """

    state: bytes
    learned_through: int


class Refuse(msgspec.Struct, frozen=True, eq=False, gc=False):
    """Count a record or a label that cannot be used, with a word that says why.

    Its receipt comes back with the batch it was in, for other records may have the same one.
    """

    reason: Literal["late", "full", "duplicate", "clock", "label"]
    stream: str


Effect = Infer | Train | Refine | Publish | Warn | Happened | Store | Checkpoint | Refuse
