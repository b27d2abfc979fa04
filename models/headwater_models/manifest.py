"""The manifest: what a model is for, what it reads, and how each of its arrays merges."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Annotated, Literal

import msgspec

from headwater.errors import BundleError
from headwater.settings import Duration, decode_hook, encode_hook

FORMAT = 2
"""Version of the manifest's fields; a newer one is refused."""

MAX_MISSING = 0.5
"""Largest share of missing cells in a window that is still predicted."""

Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Rows = Annotated[int, msgspec.Meta(ge=1, le=65_536)]
Level = Annotated[float, msgspec.Meta(gt=0, lt=1)]
Merge = Literal["mean", "sum", "moments", "solved", "local"]
"""``mean``: weights. ``sum``: statistics that add up. ``moments``: count, mean and M2 by row.
``solved``: computed from the merged statistics. ``local``: never leaves the device."""

Task = Literal["classification", "regression", "forecast", "anomaly"]
Learner = Literal["gradient", "ridge", "naive_bayes"]
Loss = Literal["mse", "mae", "huber", "quantile", "cross_entropy"]


class Channel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One measured quantity: a column of the window.

    ``minimum`` and ``maximum`` bound what a working sensor can report, in ``unit``. A channel with
    ``categories`` holds their indices; messages may say the name or the index.
    """

    name: Name
    unit: str = ""
    minimum: float
    maximum: float
    categories: tuple[str, ...] = ()


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


class Schedule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the learning rate moves with the steps taken.

    It rises linearly over the first ``warmup`` steps; then it stays (``constant``), falls with the
    root of the steps (``inverse_sqrt``), or over ``steps`` along half a cosine or a line down to
    the share ``floor``, where it stays.
    """

    kind: Literal["constant", "inverse_sqrt", "cosine", "linear"] = "constant"
    warmup: Annotated[int, msgspec.Meta(ge=0, le=10**9)] = 0
    steps: Annotated[int, msgspec.Meta(ge=0, le=10**9)] = 0
    floor: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0

    def __post_init__(self) -> None:
        if self.kind in ("cosine", "linear") and not self.steps:
            raise ValueError(f"schedule {self.kind} needs steps, the number until its floor")


class Optimiser(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The step of ``train.onnx``; ``learning_rate``, ``schedule`` and ``batch`` are defaults.

    ``momentum`` is that of the optimiser of this name; ``weight_decay`` is added to the gradient,
    and taken off the weight itself by ``adamw``; gradients whose joint norm is above ``clip`` are
    brought down to it (0: never).
    """

    name: Literal["sgd", "momentum", "adam", "adamw"] = "adam"
    learning_rate: Annotated[float, msgspec.Meta(gt=0, le=10)] = 1e-3
    batch: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 32
    momentum: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    clip: Annotated[float, msgspec.Meta(ge=0, le=1e6)] = 0.0
    schedule: Schedule = Schedule()


class Array(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One array and the rule by which it merges.

    A ``frozen`` one is never trained. ``depends_on`` names the arrays that a statistic holds for
    (a Gram matrix holds only for its backbone): a release that changes one of them resets it.
    """

    name: Name
    shape: tuple[Annotated[int, msgspec.Meta(ge=1, le=2**24)], ...]
    dtype: Literal["float32", "float64"] = "float32"
    merge: Merge = "mean"
    frozen: bool = False
    depends_on: tuple[Name, ...] = ()

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def trained(self) -> bool:
        """Whether ``train.onnx`` changes it."""
        return not self.frozen and self.merge != "solved"


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """All that is fixed about a model but its weights.

    ``window`` is the number of rows T. A forecast predicts channel ``target`` ``horizon`` after
    the window's last row; a regression or classification predicts the label that the settings
    join. ``inputs`` are those of ``infer.onnx`` beside the parameters: ``window`` and, where the
    graph uses the clock, ``time`` (UTC milliseconds of the last row). ``state`` lists the
    optimiser's arrays as ``train.onnx`` names them; they start at zero and never leave the device.

    A ``statistics`` learner has, beside the ``arrays`` that predict, ``statistics`` (float64) that
    a device gathers and contributes from ``min_count`` examples on; the ``solved`` arrays follow
    from them, with ``ridge`` as the penalty of a ridge regression.
    """

    format: int = FORMAT
    name: Name
    task: Task
    channels: tuple[Channel, ...]
    grid: Grid
    window: Rows
    target: str = ""
    horizon: Duration = Duration(0)
    classes: tuple[str, ...] = ()
    quantiles: tuple[Level, ...] = ()
    learner: Learner = "gradient"
    ridge: Annotated[float, msgspec.Meta(gt=0, le=1e9)] = 1.0
    min_count: Annotated[int, msgspec.Meta(ge=1, le=2**31)] = 50
    loss: Loss
    baseline: Literal["persistence", "majority"]
    optimiser: Optimiser
    reserve: Reserve
    inputs: tuple[Literal["window", "time"], ...] = ("window",)
    arrays: tuple[Array, ...]
    state: tuple[Array, ...] = ()
    statistics: tuple[Array, ...] = ()

    @property
    def outputs(self) -> int:
        """Width K of a prediction: one value for each class or quantile, else a single one."""
        return max(1, len(self.classes), len(self.quantiles))

    @cached_property
    def shared(self) -> tuple[Array, ...]:
        """The arrays that make up a version of the fleet, in the order in which they are packed."""
        return tuple(array for array in self.arrays if array.merge != "local")

    @cached_property
    def packed_size(self) -> int:
        """Number of elements of the shared arrays."""
        return sum(array.size for array in self.shared)

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
        arrays = [array.name for array in (*self.arrays, *self.state, *self.statistics)]
        checks = {
            f"format {self.format} is newer than this program's {FORMAT}; update headwater": (
                self.format > FORMAT
            ),
            "channels: at least one is needed": not names,
            "channels: each name may stand once": len(set(names)) != len(names),
            "channels: minimum must be below maximum": any(
                not channel.minimum < channel.maximum for channel in self.channels
            ),
            "arrays: each name may stand once, among state and statistics too": (
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
            "quantiles: give them in ascending order with loss quantile, and only then": (
                (self.loss == "quantile") != bool(self.quantiles)
                or list(self.quantiles) != sorted(set(self.quantiles))
            ),
            "arrays: each is float32 and merges by mean, solved or local": any(
                a.dtype != "float32" or a.merge not in ("mean", "solved", "local")
                for a in self.arrays
            ),
            "statistics: each is float64 and merges by sum or moments": any(
                a.dtype != "float64" or a.merge not in ("sum", "moments") for a in self.statistics
            ),
            "statistics: they belong to another learner than gradient, and it needs them": (
                (self.learner != "gradient") != bool(self.statistics)
            ),
            "depends_on must name arrays of the manifest": any(
                not set(a.depends_on) <= set(arrays) for a in (*self.arrays, *self.statistics)
            ),
            "inputs must begin with window": self.inputs[:1] != ("window",),
        }
        return [complaint for complaint, wrong in checks.items() if wrong]
