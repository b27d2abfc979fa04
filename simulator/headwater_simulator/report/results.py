"""The results of a run, as the report's JSON holds them; the same run gives the same bytes.

No figure in it was measured by a wall clock: how long a run took is said at its end and not here.
Times are milliseconds of the virtual clock since the beginning of the scenario. Losses are those of
the gate (absolute error of a forecast in its unit, log loss of a classification), each over rows
that no device learned from. An accuracy is None where the task has none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from headwater.errors import StorageError
from headwater_models.files import storage_errors

FORMAT = 1
"""Version of the fields below."""

FILE = "report.json"
"""What a report for programs is called in its folder."""

MOST_BYTES = 256 * 1024 * 1024
"""A larger file is no report."""

MOST_DEVICES = 1_000
"""Devices that the report lists singly; of more it holds an even sample by their number."""


Engine = Literal["virtual", "live", "ray"]
"""What a scenario ran on."""


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """How a figure is spread over devices: of how many, mean and quantiles."""

    devices: int
    mean: float
    p10: float
    median: float
    p90: float


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """How good a release is on the devices that judge, all releases on the same rows.

    ``time_ms`` is when it was made. ``loss`` and ``accuracy`` are over all their rows; ``groups``
    has the mean loss of each.
    """

    sequence: int
    time_ms: int
    round: int
    loss: float
    baseline: float
    accuracy: float | None
    spread: Spread
    groups: dict[str, float]


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """How well the agents of a group predicted their streams up to a moment, since the one before.

    Of so many ``labels``: mean error of the baseline, of the release, of the personal models, and
    of what was published. Each prediction was made before its label was seen.
    """

    time_ms: int
    group: str
    labels: int
    baseline: float
    released: float
    personal: float
    served: float


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One round, or one filled buffer: what devices were asked and what came of it.

    ``outcome`` is ``released``, ``refused`` (by the gate), ``void`` (too few updates), ``same``
    (the merge changed nothing) or ``open`` (the run ended). ``words`` are the gate's.
    """

    number: int
    opened_ms: int
    closed_ms: int | None
    asked: int
    accepted: int
    refused: int
    declined: int
    failed: int
    staleness_mean: float
    staleness_max: int
    bytes_up: int
    outcome: Literal["released", "refused", "void", "same", "open"]
    words: str


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the release history; the first is the model that the fleet began with."""

    sequence: int
    version: str
    time_ms: int
    round: int
    words: str


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """One device at the end.

    ``first``, ``last`` and ``alone`` are losses on its own rows that it never learned from: of the
    first release, of the last one, and of what it comes to from the first by learning alone, from
    all its examples, as often as the most diligent device took part. None where it has too few
    rows. ``served`` is the loss of what it published, of a stream. ``updates`` were accepted.
    """

    name: str
    group: str
    examples: int
    updates: int
    refused: int
    declined: int
    lost: int
    first: float | None
    last: float | None
    alone: float | None
    served: float | None
    bytes_up: int
    bytes_down: int
    online: float
    attacks: bool


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """The devices of a group at the end.

    ``gained`` and ``lost`` count the devices whose last release is at least a hundredth better, or
    worse, than what they come to alone; ``even`` the others of those that can be judged.
    """

    name: str
    devices: int
    first: Spread | None
    last: Spread | None
    alone: Spread | None
    gained: int
    lost: int
    even: int
    updates: int
    bytes_up: int
    bytes_down: int


class Attack(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the updates of attackers of one kind.

    ``refused`` ones were refused by the firewall; ``accepted`` ones went to the strategy, which may
    have left them out.
    """

    kind: str
    devices: int
    sent: int
    refused: int
    accepted: int


class Presence(msgspec.Struct, frozen=True, kw_only=True):
    """How many devices were there, and at work, at a moment."""

    time_ms: int
    online: int
    training: int


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """Something that the scenario did to the fleet, in words."""

    time_ms: int
    words: str


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """An update that the firewall refused, and why; the newest hundred are kept."""

    time_ms: int
    device: str
    attacks: bool
    reason: str


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of the whole run.

    ``device_rounds`` are trainings done, ``late`` those of them that ended when nobody waited any
    more; ``records`` went through agents; ``lost_messages`` and
    ``repeated_messages`` are the network's. ``looped`` counts computations that could not be done
    for many devices in one call; ``stacked`` those that were. ``false_refusals`` are refused
    updates of devices that do not attack.
    """

    rounds: int = 0
    releases: int = 0
    refused_candidates: int = 0
    device_rounds: int = 0
    late: int = 0
    records: int = 0
    updates_accepted: int = 0
    updates_refused: int = 0
    false_refusals: int = 0
    declined: int = 0
    messages: int = 0
    lost_messages: int = 0
    repeated_messages: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    stacked: int = 0
    looped: int = 0


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run. ``scenario`` is JSON: the scenario file, resolved to all its settings.

    Numbers are finite, as JSON knows no others.
    """

    format: int = FORMAT
    name: str
    about: str
    engine: Engine
    seed: int
    devices: int
    length_ms: int
    unit: str
    """Of the losses; empty where it has none."""
    versions: dict[str, str]
    scenario: str
    totals: Totals
    curve: tuple[Point, ...]
    served: tuple[Served, ...] = ()
    rounds: tuple[Round, ...]
    releases: tuple[Release, ...]
    groups: tuple[Group, ...]
    listed: tuple[Device, ...]
    attacks: tuple[Attack, ...]
    refusals: tuple[Refusal, ...]
    presence: tuple[Presence, ...]
    incidents: tuple[Incident, ...]


def standing(last: float, alone: float) -> Literal["gained", "lost", "even"]:
    """Say how a device does with the last release, against what it comes to alone.

    Examples
    --------
    >>> standing(9.9, 10), standing(10.1, 10), standing(10.09, 10)
    ('gained', 'lost', 'even')
    """
    hundredth = abs(alone) / 100
    if alone - last >= hundredth and last != alone:
        return "gained"
    return "lost" if last - alone >= hundredth and last != alone else "even"


class _Format(msgspec.Struct):
    format: int


def encode(report: msgspec.Struct) -> bytes:
    """Return a report's JSON, indented, with a line feed at the end."""
    data = msgspec.json.encode(report, order="deterministic")
    return msgspec.json.format(data, indent=1) + b"\n"


def read(path: Path) -> Results:
    """Read a report: a file that :func:`encode` made, or the folder that it lies in.

    Raises
    ------
    StorageError
        When it cannot be read, is no report, or is of a newer Headwater.
    """
    file = path / FILE if path.is_dir() else path
    with storage_errors(file, "read"), file.open("rb") as opened:
        data = opened.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise StorageError(f"{file} is no report of a simulation: it is over {MOST_BYTES} bytes.")
    try:
        made = msgspec.json.decode(data, type=_Format).format
        if made > FORMAT:
            raise StorageError(
                f"{file} was written by a newer Headwater (format {made}, this one reads up to "
                f"{FORMAT}); read it with that one."
            )
        return msgspec.json.decode(data, type=Results)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StorageError(f"{file} is no report of a simulation: {error}.") from error


def read_runs(path: Path) -> tuple[Results, ...]:
    """Read one report, or those in the folders of a folder, as runs with several seeds leave them.

    Raises
    ------
    StorageError
        When there is none, or one of them cannot be read.
    """
    if path.is_dir() and not (path / FILE).exists():
        found = sorted(path.glob(f"*/{FILE}"))
        if not found:
            raise StorageError(f"{path} holds no {FILE}, nor does a folder in it.")
        return tuple(read(file) for file in found)
    return (read(path),)
