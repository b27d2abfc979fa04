"""The manifest: what a model is for, what it reads, and how each of its arrays merges."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec

from headwater.errors import BundleError
from headwater.settings import Duration, decode_hook, encode_hook

FORMAT = 1
"""Version of the manifest's fields; a newer one is refused."""

Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Merge = Literal["mean", "sum", "moments", "local"]
Task = Literal["classification", "regression", "forecast", "anomaly"]
Loss = Literal["mse", "mae", "huber", "cross_entropy"]


class Channel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One measured quantity: a column of the window.

    ``minimum`` and ``maximum`` bound what a working sensor can report, in ``unit``.
    """

    name: Name
    unit: str = ""
    minimum: float
    maximum: float


class Grid(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The time grid on which the records of a stream become rows.

    ``period`` is the time between rows; a silence over ``max_gap`` ends the window; a record may
    come ``lateness`` behind the newest one; ``hold`` rows in a row may repeat a channel's last
    value where it is missing (0: none, it stays NaN).
    """

    period: Duration
    max_gap: Duration
    lateness: Duration = Duration(0)
    hold: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 0


class Reserve(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which event-time blocks are never learned from, so that candidates can be judged on them."""

    share: Annotated[float, msgspec.Meta(ge=0, le=0.5)] = 0.1
    block: Duration


class Optimiser(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The step that ``train.onnx`` takes; ``learning_rate`` and ``batch`` are the defaults."""

    name: Literal["sgd", "adam"] = "adam"
    learning_rate: Annotated[float, msgspec.Meta(gt=0, le=10)] = 1e-3
    batch: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 32


class Array(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One array of the weights file and the rule by which it merges."""

    name: Name
    shape: tuple[Annotated[int, msgspec.Meta(ge=1, le=2**24)], ...]
    dtype: Literal["float32"] = "float32"
    merge: Merge = "mean"

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that is fixed about a model but its weights.

    ``window`` is the number of rows T. A forecast predicts channel ``target`` ``horizon`` after
    the window's last row; a regression or classification predicts the label that the settings
    join. ``inputs`` are those of ``infer.onnx`` beside the parameters: ``window`` and, where the
    graph uses the clock, ``time`` (UTC milliseconds of the last row). ``state`` lists the
    optimiser's arrays as ``train.onnx`` names them; they start at zero and never leave the device.
    """

    format: int = FORMAT
    name: Name
    task: Task
    channels: tuple[Channel, ...]
    grid: Grid
    window: Annotated[int, msgspec.Meta(ge=1, le=65_536)]
    target: str = ""
    horizon: Duration = Duration(0)
    classes: tuple[str, ...] = ()
    learner: Literal["gradient"] = "gradient"
    loss: Loss
    baseline: Literal["persistence", "majority"]
    optimiser: Optimiser
    reserve: Reserve
    inputs: tuple[Literal["window", "time"], ...] = ("window",)
    arrays: tuple[Array, ...]
    state: tuple[Array, ...] = ()

    @property
    def outputs(self) -> int:
        """Width K of a prediction: one probability for each class, else one value."""
        return len(self.classes) if self.task == "classification" else 1

    @property
    def shared(self) -> tuple[Array, ...]:
        """The arrays that leave the device, in the order in which they are packed."""
        return tuple(array for array in self.arrays if array.merge != "local")

    @property
    def target_index(self) -> int:
        """Column of the target channel in the window (forecasts only)."""
        return [channel.name for channel in self.channels].index(self.target)

    def encode(self) -> bytes:
        """Return the canonical JSON: the same manifest gives the same bytes."""
        return msgspec.json.encode(self, enc_hook=encode_hook, order="deterministic")

    @classmethod
    def decode(cls, text: bytes) -> Manifest:
        """Read and check a manifest.

        Raises
        ------
        BundleError
            Naming the field and what is wrong with it.
        """
        try:
            manifest = msgspec.json.decode(text, type=cls, dec_hook=decode_hook)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BundleError(f"manifest.json: {error}. Build the bundle again.") from error
        manifest.check()
        return manifest

    def check(self) -> None:
        """Refuse combinations that no model can have.

        Raises
        ------
        BundleError
            Naming the field and what is wrong with it.
        """
        for complaint in self._complaints():
            raise BundleError(f"manifest.json: {complaint}.")

    def _complaints(self) -> list[str]:
        names = [channel.name for channel in self.channels]
        arrays = [array.name for array in (*self.arrays, *self.state)]
        checks = {
            f"format {self.format} is newer than this program's {FORMAT}; update headwater": (
                self.format > FORMAT
            ),
            "channels: at least one is needed": not names,
            "channels: each name may stand once": len(set(names)) != len(names),
            "channels: minimum must be below maximum": any(
                not channel.minimum < channel.maximum for channel in self.channels
            ),
            "arrays: each name may stand once, among the state's too": (
                len(set(arrays)) != len(arrays)
            ),
            "grid.period must be above zero": self.grid.period <= 0,
            "grid.max_gap must be at least grid.period": self.grid.max_gap < self.grid.period,
            "reserve.block must be a multiple of grid.period": (
                self.reserve.block <= 0 or self.reserve.block % max(self.grid.period, 1) != 0
            ),
            f"target {self.target!r} must name one of the channels": (
                self.task == "forecast" and self.target not in names
            ),
            "horizon must be a multiple of grid.period above zero": (
                self.task == "forecast"
                and (self.horizon <= 0 or self.horizon % max(self.grid.period, 1) != 0)
            ),
            "classes: a classification needs at least two": (
                self.task == "classification" and len(self.classes) < 2
            ),
            "loss and task do not fit: cross_entropy is for classification and nothing else": (
                (self.task == "classification") != (self.loss == "cross_entropy")
            ),
            "inputs must begin with window": self.inputs[:1] != ("window",),
        }
        return [complaint for complaint, wrong in checks.items() if wrong]
