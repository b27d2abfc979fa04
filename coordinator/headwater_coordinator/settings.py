"""What ``coordinator.toml`` may say, with its defaults; the file is checked whole at start."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from headwater.errors import SettingsError
from headwater.settings import Duration, read_toml
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


class Rounds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a round is held.

    A round asks ``fraction`` of the devices that are ready, at least ``min_devices`` and at most
    ``max_devices``, and ends with the last answer or after ``deadline``; the next one opens
    ``pause`` later. What devices are asked to do (``epochs``, ``batch``, ``learning_rate``) is
    the manifest's unless it stands here. ``weight_cap`` is the largest number of examples that
    counts for one device. An update may be ``max_staleness`` releases old. A device is asked
    how it is doing every ``check_in``, and offered the release again ``deadline`` after an offer
    that led to nothing; an unanswered message is dropped after ``message_ttl``.
    """

    min_devices: Positive = 2
    max_devices: Positive = 100
    fraction: Share = 1.0
    deadline: Duration = Duration(600_000)
    pause: Duration = Duration(60_000)
    epochs: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1
    batch: Annotated[int, msgspec.Meta(ge=1, le=4096)] | None = None
    learning_rate: Annotated[float, msgspec.Meta(gt=0, le=10)] | None = None
    weight_cap: Positive = 10_000
    max_staleness: Annotated[int, msgspec.Meta(ge=0, le=100)] = 1
    check_in: Duration = Duration(600_000)
    message_ttl: Duration = Duration(3_600_000)


class Gate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a candidate must show before it is released.

    ``fraction`` of the devices, at least ``min_evaluators``, compare it with the release on
    their reserved rows within ``deadline``. It may be worse by at most ``tolerance``, a share of
    the release's loss; 0 asks for a loss that is not higher at all.
    """

    fraction: Share = 1.0
    min_evaluators: Positive = 1
    max_evaluators: Positive = 100
    deadline: Duration = Duration(600_000)
    tolerance: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0


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
    federation: Rounds = Rounds()
    gate: Gate = Gate()
    update: Updates = Updates()
    strategy: dict[str, Any] = msgspec.field(default_factory=_averaged)


def read_settings(path: Path) -> Settings:
    """Read and check the settings.

    Raises
    ------
    SettingsError
        With a line for each wrong key, or a sentence for a combination that cannot work.
    """
    settings = read_toml(path, Settings)
    strategy = choose(settings.strategy, source=str(path))
    complaints = [
        complaint for complaint, wrong in _impossible(settings, strategy).items() if wrong
    ]
    if complaints:
        raise SettingsError("\n".join(f"{path}: {complaint}" for complaint in complaints))
    return settings


def _impossible(settings: Settings, strategy: Strategy) -> dict[str, bool]:
    rounds, gate = settings.federation, settings.gate
    return {
        "federation.max_devices must be at least federation.min_devices": (
            rounds.max_devices < rounds.min_devices
        ),
        "gate.max_evaluators must be at least gate.min_evaluators": (
            gate.max_evaluators < gate.min_evaluators
        ),
        "superlink.port must differ from front.port": (
            settings.superlink.port == settings.front.port
        ),
        "superlink.poll must lie between 50ms and 1min": (
            not 50 <= settings.superlink.poll <= 60_000
        ),
        "federation.deadline and gate.deadline must be at least 1s": (
            min(rounds.deadline, gate.deadline) < 1_000
        ),
        "federation.message_ttl must be at least federation.deadline and gate.deadline": (
            rounds.message_ttl < max(rounds.deadline, gate.deadline)
        ),
        f"federation.min_devices must be at least {strategy.least}, for strategy "
        f"{settings.strategy['name']} with these arguments": (rounds.min_devices < strategy.least),
    }


TEMPLATE = """\
# Settings of a Headwater coordinator. Every key may be left out; its default stands here.

[front]                      # the only door for devices (TLS)
host = "{host}"
port = {port}
# max_body = 8388608         # bytes of one request
# rate = 200.0               # requests per second of one address, of which ...
# burst = 2000               # ... so many may come at once
# concurrency = 64           # requests of one address served at a time

[superlink]                  # Flower's server; it listens on 127.0.0.1 only
port = {superlink_port}
# poll = "500ms"             # how often the coordinator looks for answers

[federation]
# min_devices = 2            # a round needs so many, and so many updates
# max_devices = 100
# fraction = 1.0             # of the devices that are ready, how many take part
# deadline = "10min"         # a round waits so long for the slowest
# pause = "1min"             # between two rounds
# epochs = 1                 # over what each device has buffered
# batch = 64                 # default: the manifest's
# learning_rate = 0.001      # default: the manifest's
# weight_cap = 10000         # examples that count for one device, at most
# max_staleness = 1          # releases that an update's base may be old
# check_in = "10min"         # how often a device is asked how it is doing
# message_ttl = "1h"         # an unanswered message is dropped after this

[strategy]                   # how updates become a candidate: docs/strategies.md
name = "fedavg"              # fedprox, fedavgm, fedadagrad, fedadam, fedyogi, qfedavg, fedmedian,
                             # fedtrimmedavg, krum, multikrum, bulyan, fedbuff, fedasync;
                             # arguments follow by their names, as server_momentum of fedavgm

[update]
# compression = "none"       # "float16", "int8", "top-k": half, a quarter, a twentieth of the bytes
# keep = 0.1                 # share of the entries that top-k sends
# norm_bound = 0.0           # devices shorten updates with a larger norm; 0: never

[gate]
# fraction = 1.0             # of the devices, how many compare candidate and release
# min_evaluators = 1
# max_evaluators = 100
# deadline = "10min"
# tolerance = 0.0            # share of the release's loss by which a candidate may be worse
"""
"""What ``init`` writes; the figures behind the hash signs are the defaults (a test compares)."""
