"""What ``coordinator.toml`` may say, with its defaults; the file is checked whole at start."""

from __future__ import annotations

from collections.abc import Iterator
from math import floor, log2
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from headwater import metrics_settings
from headwater.errors import SettingsError
from headwater.metrics_settings import MetricsSettings
from headwater.settings import Duration, convert, load_toml
from headwater_coordinator import location
from headwater_coordinator.location import DatabaseSettings
from headwater_coordinator.strategies import Strategy, choose

Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
Share = Annotated[float, msgspec.Meta(gt=0, le=1)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class Front(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The only door for devices: where it listens and what one peer may ask of it.

    ``max_body`` is in bytes; ``rate`` in requests per second of one peer address, of which
    ``burst`` may come at once; ``concurrency`` requests of one peer are served at a time.
    """

    host: str = "127.0.0.1"
    port: Port = 8443
    max_body: Annotated[int, msgspec.Meta(ge=65_536, le=2**30)] = 8 * 2**20
    rate: Annotated[float, msgspec.Meta(gt=0, le=100_000)] = 200.0
    burst: Positive = 2_000
    concurrency: Positive = 64


class SuperLink(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Flower's server, on loopback only: its port and how often its queues are looked at."""

    port: Port = 8444
    poll: Duration = Duration(500)


class Discipline(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds for every discipline.

    What devices are asked to do (``epochs``, ``batch``, ``learning_rate``) is the manifest's
    unless it stands here. ``weight_cap`` is the largest number of examples that counts for one
    device. An update may be ``max_staleness`` releases old when it comes; a candidate needs
    ``min_devices`` updates.

    A device is asked how it is doing every ``check_in``, less often where the fleet is so large
    that more than ``arrivals`` devices came per second; releases are handed out at that rate too,
    and devices look for messages at most so often.
    It has until ``deadline`` for an update. From the second failure in a row on it is asked for
    nothing for ``backoff``, then for twice as long each time, an hour at most. An unanswered
    message is dropped after ``message_ttl``.
    """

    min_devices: Positive = 2
    deadline: Duration = Duration(600_000)
    epochs: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1
    batch: Annotated[int, msgspec.Meta(ge=1, le=4096)] | None = None
    learning_rate: Annotated[float, msgspec.Meta(gt=0, le=10)] | None = None
    weight_cap: Positive = 10_000
    max_staleness: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 1
    selection: Literal["uniform", "fair", "guided"] = "uniform"
    exploration: Annotated[float, msgspec.Meta(ge=0.05, le=1)] | None = None
    check_in: Duration = Duration(600_000)
    arrivals: Annotated[float, msgspec.Meta(gt=0, le=100_000)] = 50.0
    backoff: Duration = Duration(10_000)
    message_ttl: Duration = Duration(3_600_000)

    @property
    def explored(self) -> float:
        """The share of devices that guided selection picks by fairness."""
        return 0.2 if self.exploration is None else self.exploration


class Rounds(Discipline, frozen=True, kw_only=True, tag_field="discipline", tag="rounds"):
    """Synchronous rounds.

    A round wants updates of ``fraction`` of the devices that are ready, at least ``min_devices``
    and at most ``max_devices``. It asks ``over_selection`` times as many and ends with the first
    so many answers, at the latest after ``deadline``; the next one opens ``pause`` later.
    """

    max_devices: Positive = 100
    fraction: Share = 1.0
    over_selection: Annotated[float, msgspec.Meta(ge=1, le=10)] = 1.0
    pause: Duration = Duration(60_000)


class Buffered(Discipline, frozen=True, kw_only=True, tag_field="discipline", tag="buffered"):
    """Buffered asynchronous federation.

    At most ``concurrency`` devices train at a time; ``buffer`` updates make a candidate, where so
    many devices are there.
    """

    max_staleness: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 10
    buffer: Positive = 10
    concurrency: Positive = 100


class Firewall(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far from what is usual an update may be, in a model that learns by gradients.

    Once ``least`` updates were accepted, one is refused whose norm is above ``norm_multiple``
    times the median of the newest 200, or whose cosine with the direction in which the fleet moves
    is below ``least_cosine``. It may say that it is of ``examples_multiple`` times as many
    examples as follows from its device's records and earlier updates, and a device may send
    ``per_hour`` updates in an hour. What is refused so is kept: the newest ``quarantine`` of them,
    with at most ``quarantine_bytes`` of vectors.
    """

    least: Annotated[int, msgspec.Meta(ge=5, le=200)] = 20
    norm_multiple: Annotated[float, msgspec.Meta(gt=1, le=1e6)] = 30.0
    least_cosine: Annotated[float, msgspec.Meta(ge=-1, le=0.9)] = -1.0
    examples_multiple: Annotated[float, msgspec.Meta(ge=1, le=1e6)] = 100.0
    per_hour: Positive = 10_000
    quarantine: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 100
    quarantine_bytes: Annotated[int, msgspec.Meta(ge=0, le=2**40)] = 256 * 2**20


class Gate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a candidate must show before it is released.

    ``fraction`` of the devices, at least ``min_evaluators``, compare it with the release on
    their reserved rows within ``deadline``. It may be worse by at most ``tolerance``, a share of
    the release's loss, or must be better by at least ``margin``, a share too; with neither, its
    loss must not be higher at all.

    ``test`` says of what that must hold: of the mean over all rows (``none``), of its upper bound
    at ``confidence`` over the devices (``t``), or of so many devices that chance does not explain
    it (``sign``). With ``worst_device_tolerance`` no single device may be worse by more than that
    share of its own loss. With ``worst_group_tolerance`` no group may be: of none of which at least
    ``group_devices`` have judged may more than half be worse by more than that share.
    """

    fraction: Share = 1.0
    min_evaluators: Positive = 1
    max_evaluators: Positive = 100
    deadline: Duration = Duration(600_000)
    tolerance: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    margin: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0
    test: Literal["none", "t", "sign"] = "none"
    confidence: Annotated[float, msgspec.Meta(ge=0.5, lt=1)] | None = None
    worst_device_tolerance: Annotated[float, msgspec.Meta(ge=0, le=10)] | None = None
    worst_group_tolerance: Annotated[float, msgspec.Meta(ge=0, le=10)] | None = None
    group_devices: Annotated[int, msgspec.Meta(ge=2)] = 5

    @property
    def confident(self) -> float:
        """The confidence of a test."""
        return 0.95 if self.confidence is None else self.confidence

    @property
    def fewest(self) -> int:
        """Devices below which the test cannot be passed, whatever they find."""
        match self.test:
            case "none":
                return 1
            case "t":
                return 2
            case "sign":
                return floor(-log2(1 - self.confident)) + 1


class Updates(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How devices send what they learned.

    ``compression`` is ``none``, ``float16`` (half of the bytes), ``int8`` (a quarter) or ``top-k``:
    the share ``keep`` of the entries, the largest ones, as ``int8``. What a device loses by it goes
    into its next update. ``norm_bound`` is the largest Euclidean norm of an update, 0: any; a
    device shortens what is longer before it sends it.
    """

    compression: Literal["none", "float16", "int8", "top-k"] = "none"
    keep: Share = 0.1
    norm_bound: Annotated[float, msgspec.Meta(ge=0, le=1e9)] = 0.0

    @property
    def terms(self) -> dict[str, Any]:
        """What a task to train says of it."""
        terms: dict[str, Any] = {}
        if self.compression != "none":
            terms["compression"] = self.compression
        if self.compression == "top-k":
            terms["keep"] = self.keep
        if self.norm_bound:
            terms["norm_bound"] = self.norm_bound
        return terms


def _averaged() -> dict[str, Any]:
    return {"name": "fedavg"}


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole of ``coordinator.toml``; every section may be left out.

    ``strategy`` is a name and the arguments of that strategy (:mod:`.strategies.table`).
    """

    front: Front = Front()
    superlink: SuperLink = SuperLink()
    federation: Rounds | Buffered = Rounds()
    gate: Gate = Gate()
    firewall: Firewall = Firewall()
    update: Updates = Updates()
    metrics: MetricsSettings = MetricsSettings()
    database: DatabaseSettings = DatabaseSettings()
    strategy: dict[str, Any] = msgspec.field(default_factory=_averaged)


def read_settings(path: Path) -> Settings:
    """Read and check the settings.

    Raises
    ------
    SettingsError
        With a line for each wrong key, or a sentence for a combination that cannot work.
    """
    raw = load_toml(path)
    complaints = list(misplaced(raw))
    if not complaints:
        settings = convert(raw, Settings, source=str(path))
        strategy = choose(settings.strategy, source=str(path))
        complaints = list(impossible(settings.federation, settings.gate, strategy))
        complaints += [words for words, wrong in _impossible_ports(settings).items() if wrong]
        complaints += metrics_settings.find_complaints(settings.metrics)
        complaints += location.find_complaints(settings.database)
    if complaints:
        raise SettingsError("\n".join(f"{path}: {complaint}" for complaint in complaints))
    return settings


def misplaced(raw: dict[str, Any]) -> Iterator[str]:
    """Name the discipline in a file's ``[federation]`` where there is none.

    Yields
    ------
    str
        A complaint for each key of the other discipline, which is taken out.
    """
    section = raw.setdefault("federation", {})
    if not isinstance(section, dict):
        return
    kinds = {"rounds": Rounds, "buffered": Buffered}
    named = section.setdefault("discipline", "rounds")
    for other in kinds.keys() - {named} if named in kinds else ():
        theirs = set(kinds[other].__struct_fields__) - set(kinds[named].__struct_fields__)
        for key in sorted(theirs & section.keys()):
            del section[key]
            yield f'federation.{key}: only with federation.discipline = "{other}"; remove it'


def impossible(how: Rounds | Buffered, gate: Gate, strategy: Strategy) -> Iterator[str]:
    """Yield what is wrong with ``[federation]``, ``[gate]`` and ``[strategy]`` taken together."""
    checks = (
        _impossible_discipline(how)
        | _impossible_gate(gate)
        | {
            "federation.deadline and gate.deadline must be at least 1s": (
                min(how.deadline, gate.deadline) < 1_000
            ),
            "federation.message_ttl must be at least federation.deadline and gate.deadline": (
                how.message_ttl < max(how.deadline, gate.deadline)
            ),
            f"federation.min_devices must be at least {strategy.least}, for strategy "
            f"{type(strategy).__name__.lower()} with these arguments": how.min_devices
            < strategy.least,
        }
    )
    return (words for words, wrong in checks.items() if wrong)


def _impossible_ports(settings: Settings) -> dict[str, bool]:
    return {
        "superlink.port must differ from front.port": settings.superlink.port
        == settings.front.port,
        "superlink.poll must lie between 50ms and 1min": not 50
        <= settings.superlink.poll
        <= 60_000,
    }


def _impossible_gate(gate: Gate) -> dict[str, bool]:
    return {
        "gate.max_evaluators must be at least gate.min_evaluators": (
            gate.max_evaluators < gate.min_evaluators
        ),
        "gate.tolerance and gate.margin exclude each other; leave one out": (
            gate.tolerance > 0 and gate.margin > 0
        ),
        'gate.confidence is for gate.test = "t" or "sign"': (
            gate.confidence is not None and gate.test == "none"
        ),
        f"gate.min_evaluators must be at least {gate.fewest} for gate.test = "
        f'"{gate.test}" at this confidence': gate.min_evaluators < gate.fewest,
    }


def _impossible_discipline(how: Rounds | Buffered) -> dict[str, bool]:
    common = {
        'federation.exploration is for federation.selection = "guided"': (
            how.exploration is not None and how.selection != "guided"
        ),
    }
    if isinstance(how, Rounds):
        return common | {
            "federation.max_devices must be at least federation.min_devices": (
                how.max_devices < how.min_devices
            ),
        }
    return common | {
        "federation.buffer must be at least federation.min_devices": how.buffer < how.min_devices,
        "federation.concurrency must be at least federation.min_devices": (
            how.concurrency < how.min_devices
        ),
    }
