"""What a scenario file may say, with its defaults; the file is checked whole before a run.

Durations are of the virtual clock. Devices are numbered through all groups, from 0, in the order
of the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from headwater.settings import Duration
from headwater_agent.pipeline_settings import LearnerSettings, ServeSettings
from headwater_coordinator.settings import Buffered, Firewall, Gate, Rounds, Updates
from headwater_models.graphs.builders.specification import Activation, Kind, Width
from headwater_models.manifest import Learner, Optimiser

HOUR = Duration(3_600_000)
DAY = Duration(24 * HOUR)

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Positive = Annotated[float, msgspec.Meta(gt=0, le=1e12)]
Amount = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
Factor = Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The network that the fleet learns; what it reads and predicts follows from the data.

    Parameters
    ----------
    kind, hidden, activation, personal, learner
        See :class:`headwater_models.graphs.builders.ModelSpec`.
    optimiser
        Of the training step.
    window
        Rows that a prediction sees; tables have one.
    bundle
        A folder with a model that is there already; then nothing else is said here.
    """

    kind: Kind = "mlp"
    hidden: tuple[Width, ...] = (32,)
    activation: Activation = "relu"
    personal: Literal["none", "head", "blend"] = "none"
    learner: Learner = "gradient"
    optimiser: Optimiser = Optimiser()
    window: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 1
    bundle: Path | None = None


# Data


class Drift(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A change of what a generated series does, from ``at`` on.

    ``sudden``: at once. ``gradual``: old and new take turns over ``over``, the new one more and
    more often. ``incremental``: from one to the other over ``over``. ``recurring``: new and old
    alternate, each for ``over``. What changes is the level (by ``size``, in standard deviations of
    the noise) or the season (turned by ``size`` of a period). Without ``groups`` all drift. Every
    channel drifts, and gradual drifts take turns anew on each device and in each row.
    """

    kind: Literal["sudden", "gradual", "incremental", "recurring"] = "sudden"
    what: Literal["level", "season"] = "level"
    at: Duration
    over: Duration = DAY
    size: Factor = 5.0
    groups: tuple[Name, ...] = ()


class Series(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind",
    tag="series",
):  # fmt: skip
    """Generated sensor streams, one for each device, whose first channel is forecast.

    Each channel is a level, a ``trend`` (per day), a ``season`` with an ``amplitude``, a
    ``second_season`` with half of it, and autocorrelated noise with the deviation ``noise``
    (``memory`` is its correlation from row to row). Devices differ in level and amplitude by up to
    the share ``spread``. ``missing`` is the share of values that are lost.

    With a ``label_delay`` the first channel is not measured, but told so much later, as by a
    laboratory: it is predicted ``horizon`` ahead from the others (a regression).
    """

    channels: Annotated[int, msgspec.Meta(ge=1, le=256)] = 3
    period: Duration = HOUR
    horizon: Duration = Duration(6 * HOUR)
    trend: Factor = 0.0
    amplitude: Amount = 3.0
    season: Duration = DAY
    second_season: Duration = Duration(7 * DAY)
    noise: Amount = 1.0
    memory: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.7
    spread: Amount = 0.5
    missing: Share = 0.0
    label_delay: Duration = Duration(0)
    drifts: tuple[Drift, ...] = ()


class Replay(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind",
    tag="replay",
):  # fmt: skip
    """Records of a CSV or Parquet file, dealt to devices by the column ``client``.

    Without ``client`` each of ``files`` is one client. Where there are fewer clients than devices,
    clients are used again. With ``target`` it is a forecast ``horizon`` ahead, with ``label`` a
    classification, or a regression where the labels are numbers of more than twenty kinds; labels
    come ``label_delay`` later. ``channels`` are by default all columns of numbers. ``time`` names
    the column of event times; without it one is taken that by its name or its dates says when, and
    where none does rows are ``period`` apart. The first record of each client is moved to the
    scenario's beginning. With ``loop`` a client's records begin again after the last one.
    """

    files: tuple[Path, ...]
    client: str = ""
    time: str = ""
    channels: tuple[str, ...] = ()
    period: Duration
    target: str = ""
    horizon: Duration = Duration(0)
    label: str = ""
    label_delay: Duration = Duration(0)
    loop: bool = True


class Air(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind",
    tag="air",
):  # fmt: skip
    """Hourly air quality of four stations in Beijing, which lie in the package.

    PM2.5 is forecast ``horizon`` ahead. Devices share the stations in turn; those that share one
    begin at different weeks of it, and then days, so that of up to 5,800 devices none repeats
    another's records at the same time.
    """

    horizon: Duration = Duration(6 * HOUR)


class Table(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind",
    tag="table",
):  # fmt: skip
    """Labelled rows of CSV or Parquet files, dealt out to the devices at once.

    ``partition`` says how: ``iid`` at random; ``dirichlet`` with shares of each class drawn with
    ``alpha``; ``label`` with ``labels`` classes for each device; ``size`` at random, in sizes of a
    log-normal distribution with ``sigma``; ``client`` one client of the files for each device, by
    the column ``client``, or file by file where none is named. The share ``held`` of each device's
    rows is never learned from: 20 rows at least, as long as 50 are left to learn from.
    """

    files: tuple[Path, ...]
    label: str
    channels: tuple[str, ...] = ()
    partition: Literal["iid", "dirichlet", "label", "size", "client"] = "iid"
    alpha: Positive = 0.5
    labels: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 2
    sigma: Amount = 1.0
    client: str = ""
    held: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.2


class Synthetic(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind",
    tag="synthetic",
):  # fmt: skip
    """Classification data as in FedProx (Li et al., MLSys 2020): synthetic(alpha, beta).

    ``beta`` says how much the inputs of devices differ. ``alpha`` was meant to say how much their
    true models do, which differ whatever it is: it moves all classes of a device alike, so that no
    label depends on it. With ``iid`` neither models nor inputs differ. A device has ``least`` rows
    and, beyond, a log-normal number with mean ``mean_log`` and deviation ``sigma_log``; ``rows``
    gives all devices the same number. ``held`` is as in a table.
    """

    alpha: Amount = 1.0
    beta: Amount = 1.0
    iid: bool = False
    features: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 60
    classes: Annotated[int, msgspec.Meta(ge=2, le=1000)] = 10
    least: Count = 50
    mean_log: Factor = 4.0
    sigma_log: Amount = 2.0
    rows: Count | None = None
    held: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.2


Data = Series | Replay | Air | Table | Synthetic


# Devices


class Link(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The way between a device and the coordinator; every message draws anew.

    A message takes ``latency``, times a log-normal factor with deviation ``jitter``, and its bytes
    at ``down`` or ``up`` bytes a second (0: no time). It is lost with probability ``loss``, comes
    twice with ``duplication``, and with ``reordering`` is held up for ``held``, so that later ones
    overtake it. A device looks for messages every ``poll``, and less often where it is told to.
    """

    latency: Duration = Duration(50)
    jitter: Amount = 0.3
    up: Amount = 0.0
    down: Amount = 0.0
    loss: Share = 0.0
    duplication: Share = 0.0
    reordering: Share = 0.0
    held: Duration = Duration(5_000)
    poll: Duration = Duration(5_000)


class Duty(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a device is connected: ``on``, then ``off``, over and over, shifted at random.

    With ``weekends`` false it is off from Saturday to Sunday, UTC. It measures and learns all the
    time.
    """

    on: Duration = DAY
    off: Duration = Duration(0)
    weekends: bool = True


class Battery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What limits a device that runs off mains: it declines to train while the charge is too low.

    ``capacity`` is counted in seconds of training; ``charge`` seconds come back in an hour.
    """

    capacity: Positive
    charge: Amount


class Group(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Devices that are alike.

    ``speed`` is how many rows a device learns from in a second; ``speed_spread`` the deviation of
    the logarithm of it between devices (heavy-tailed from about 1). ``delay`` is added to each
    training. ``memory`` is how many examples it keeps. ``clock_skew`` is the most that its clock
    is wrong, either way. It appears ``joins`` after the beginning.
    """

    name: Name
    devices: Count
    speed: Positive = 10_000.0
    speed_spread: Amount = 0.0
    delay: Duration = Duration(0)
    memory: Count = 4_096
    link: Link = Link()
    duty: Duty = Duty()
    battery: Battery | None = None
    clock_skew: Duration = Duration(0)
    joins: Duration = Duration(0)
    leaves: Duration | None = None


# What goes wrong


class Outage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the network that is cut off for a while; without ``groups`` all of it."""

    start: Duration
    length: Duration
    groups: tuple[Name, ...] = ()


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that breaks on a share of the devices of some groups.

    ``crash``: the agent starts again from its last checkpoint. ``power-cut``: it is gone for
    ``length``, and what it had not stored is lost. ``stuck``: a channel repeats its value.
    ``spikes``: one value in twenty is ``size`` deviations off. ``unit``: a channel is multiplied by
    ``size``. ``clock-jump``: its clock is ``size`` hours wrong. They last for ``length``.
    """

    kind: Literal["crash", "power-cut", "stuck", "spikes", "unit", "clock-jump"]
    start: Duration
    length: Duration = HOUR
    share: Share = 1.0
    size: Factor = 10.0
    channel: Annotated[int, msgspec.Meta(ge=0, le=255)] = 0
    groups: tuple[Name, ...] = ()


class Attacker(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a share of the devices of some groups sends instead of what it learned.

    ``sign-flip``: its negative, ``strength`` times. ``scaling``: ``strength`` times as much.
    ``noise``: noise of ``strength`` times its norm beside it. ``zero``: nothing learned.
    ``nan``: no numbers. ``label-flip``: it learns from turned labels. ``colluding``: all
    attackers send the same direction, ``strength`` times their mean, against it.
    """

    kind: Literal["sign-flip", "scaling", "noise", "zero", "nan", "label-flip", "colluding"]
    share: Share = 0.2
    strength: Positive = 1.0
    start: Duration = Duration(0)
    groups: tuple[Name, ...] = ()


# The two sides


class Agent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How devices learn, beside what the federation asks of them; see ``agent.toml``."""

    learn: LearnerSettings = LearnerSettings()
    serve: ServeSettings = ServeSettings()
    guard: bool = True
    drift: bool = False


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole of a scenario file.

    ``federation``, ``gate``, ``firewall``, ``update`` and ``strategy`` are those of
    ``coordinator.toml``. A run ends after ``length``, or with release ``releases``. At each release
    it is measured on ``judges`` devices how good it is.
    """

    about: str = ""
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)] = 1
    length: Duration
    releases: Count | None = None
    judges: Count = 200
    model: Model = Model()
    data: Data
    groups: Annotated[tuple[Group, ...], msgspec.Meta(min_length=1, max_length=1000)]
    outages: tuple[Outage, ...] = ()
    faults: tuple[Fault, ...] = ()
    attackers: tuple[Attacker, ...] = ()
    agent: Agent = Agent()
    federation: Rounds | Buffered = Rounds()
    gate: Gate = Gate()
    firewall: Firewall = Firewall()
    update: Updates = Updates()
    strategy: dict[str, Any] = msgspec.field(default_factory=lambda: {"name": "fedavg"})

    @property
    def devices(self) -> int:
        """How many devices there are."""
        return sum(group.devices for group in self.groups)

    def group_of(self, device: int) -> Group:
        """Return the group of a device, by its number."""
        for group in self.groups:
            if device < group.devices:
                return group
            device -= group.devices
        raise IndexError(device)
