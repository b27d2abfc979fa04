"""The agent's settings: one TOML file, read once, checked whole, frozen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec

from headwater.errors import SettingsError
from headwater.metrics_settings import MetricsSettings
from headwater.settings import Duration, read_toml
from headwater_agent.beside_settings import BesideSettings
from headwater_agent.broker_settings import Broker
from headwater_agent.drift_settings import DriftSettings
from headwater_agent.federation_settings import Federation
from headwater_agent.guard.settings import GuardSettings
from headwater_agent.output_settings import Output
from headwater_agent.pipeline_settings import (
    LabelRules,
    LearnerSettings,
    PipelineSettings,
    RefineSettings,
    ServeSettings,
)
from headwater_agent.rivers.settings import RiverSettings
from headwater_agent.settings_rules import find_complaints
from headwater_agent.silence import StreamsSettings
from headwater_agent.synchronised import ClockRule
from headwater_agent.threshold_settings import ThresholdSettings
from headwater_agent.topics import Pattern
from headwater_models.manifest import Manifest

PASSWORD_VARIABLE = "HEADWATER_BROKER_PASSWORD"  # noqa: S105 - the name of a variable
"""Environment variable that overrides the broker's password."""

Slug = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Positive = Annotated[int, msgspec.Meta(ge=1, le=2**31)]

S = TypeVar("S", bound=msgspec.Struct)

_UNKNOWN_RECEIVE_MAXIMUM = 20
"""What an MQTT 3.1.1 broker sends unacknowledged at least (mosquitto's default)."""


class Trust(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose model may run: the publisher's public key, in 64 hexadecimal digits."""

    publisher: str = ""
    allow_unsigned: bool = False


class ChannelField(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a channel stands in a message and in which unit.

    ``field`` is a key or a path such as ``data.temp``; ``topic`` is the word that stands for the
    channel where the pattern has ``{channel}``. Both default to the channel's name.
    """

    field: str = ""
    unit: str = ""
    topic: str = ""


class TimeField(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the event time stands; ``none`` takes the moment of receipt.

    An ISO time without an offset is read as UTC. A time more than ``ahead`` in the future is
    refused.
    """

    field: str = ""
    format: Literal["none", "iso8601", "s", "ms", "us", "ns"] = "none"
    ahead: Duration = Duration(86_400_000)


class Input(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One subscription and how its messages become records.

    ``stream`` is the payload's field that names the stream where the pattern has no ``{stream}``;
    without either, the device is the stream. ``share`` names a shared subscription. ``channels``
    left out means every channel of the model under its own name.
    """

    pattern: str
    qos: Annotated[int, msgspec.Meta(ge=0, le=2)] = 1
    share: str = ""
    stream: str = ""
    channels: dict[str, ChannelField] = {}
    time: TimeField = TimeField()
    numbers_in_text: bool = True
    max_payload: Annotated[int, msgspec.Meta(ge=1, le=16 * 2**20)] = 65_536

    @property
    def subscription(self) -> str:
        """The filter to subscribe to, with the share's name where there is one."""
        topic_filter = Pattern.parse(self.pattern).filter
        return f"$share/{self.share}/{topic_filter}" if self.share else topic_filter


class LabelInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The topic on which labels come, and how each finds its prediction.

    With ``id`` that field holds the id of a published prediction. Without it the label belongs to
    the prediction of its stream that speaks of the row which the label's time falls into, and
    where there is none, to the one that speaks of the time nearest to it, at most ``tolerance``
    away. ``value`` is the field with the label: a number, a class's name or index, for anomalies
    true or false. A label, or a correction of one, may come until the stream is ``late`` beyond
    the time that the prediction speaks of.
    """

    pattern: str
    qos: Annotated[int, msgspec.Meta(ge=0, le=2)] = 1
    share: str = ""
    id: str = ""
    value: str = "label"
    stream: str = ""
    time: TimeField = TimeField()
    tolerance: Duration = Duration(0)
    late: Duration = Duration(3_600_000)
    max_payload: Annotated[int, msgspec.Meta(ge=1, le=16 * 2**20)] = 65_536

    @property
    def subscription(self) -> str:
        """The filter to subscribe to, with the share's name where there is one."""
        topic_filter = Pattern.parse(self.pattern).filter
        return f"$share/{self.share}/{topic_filter}" if self.share else topic_filter


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept and when it is durable.

    ``process`` survives a killed process, ``power`` a power cut as well. ``rows``, ``examples``
    and ``predictions`` are the newest that are kept, over all streams; ``outbox`` are the messages
    of ours that wait for the broker.
    """

    durability: Literal["process", "power"] = "process"
    commit_every: Duration = Duration(1_000)
    commit_records: Positive = 1_000
    rows: Positive = 1_000_000
    examples: Positive = 100_000
    predictions: Positive = 100_000
    outbox: Positive = 10_000


class Learn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the device learns. ``batch`` and ``learning_rate`` default to the model's.

    An update for the fleet is trained on the newest ``buffer`` examples when it is asked for
    (``replay``), or grows beside the personal model as the stream goes by (``stream``). With
    ``river`` a model of river is the personal one, in the place of the bundle's training graph.
    ``budget`` is how long learning may keep predictions waiting; what it cannot keep up with is
    sampled.
    """

    enabled: bool = True
    training: Literal["replay", "stream"] = "replay"
    refine: RefineSettings = RefineSettings()
    river: RiverSettings | None = None
    batch: Annotated[int, msgspec.Meta(ge=1, le=4096)] | None = None
    learning_rate: Annotated[float, msgspec.Meta(gt=0, le=10)] | None = None
    buffer: Positive = 20_000
    budget: Duration = Duration(20)


class AgentSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything an agent is told. Made by :func:`load_settings`."""

    device: Slug
    bundle: Path
    input: Input | tuple[Input, ...]
    state: Path = Path("state")
    clock: ClockRule = "synchronised"
    trust: Trust = Trust()
    broker: Broker = Broker()
    output: Output = Output()
    beside: BesideSettings = BesideSettings()
    store: StoreSettings = StoreSettings()
    learn: Learn = Learn()
    serve: ServeSettings = ServeSettings()
    labels: LabelInput | None = None
    guard: GuardSettings = GuardSettings()
    anomaly: ThresholdSettings = ThresholdSettings()
    drift: DriftSettings = DriftSettings(enabled=False)
    streams: StreamsSettings = StreamsSettings()
    federation: Federation = Federation()
    metrics: MetricsSettings = MetricsSettings()

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The inputs, also where the file has a single table."""
        return self.input if isinstance(self.input, tuple) else (self.input,)

    @property
    def client_id(self) -> str:
        """The MQTT client id, the same at every start."""
        return self.broker.client_id or f"headwater-{self.device}"

    @property
    def subscriptions(self) -> tuple[tuple[str, int], ...]:
        """Every filter that is subscribed to, with its QoS."""
        found = [(item.subscription, item.qos) for item in self.inputs]
        if self.labels is not None:
            found.append((self.labels.subscription, self.labels.qos))
        return tuple(found)

    @property
    def commit_records(self) -> int:
        """Records after which a group is committed.

        Never more than the broker sends without an acknowledgement, or it would stop until
        ``commit_every`` is over. An MQTT 3.1.1 broker cannot be told; 20 is mosquitto's default.
        """
        v5 = self.broker.version == "5"
        sent = self.broker.receive_maximum if v5 else _UNKNOWN_RECEIVE_MAXIMUM
        return min(self.store.commit_records, sent)

    @property
    def status_topic(self) -> str:
        """The retained topic that says whether this agent is online."""
        return Pattern.parse(self.output.status).fill({"device": self.device})

    @property
    def output_filter(self) -> str:
        """The filter that covers every prediction of this agent."""
        return Pattern.parse(self.output.topic).fill({"device": self.device})

    @property
    def agent_db(self) -> Path:
        """The agent's own database."""
        return self.state / "agent" / "agent.db"

    @property
    def live(self) -> Path:
        """What the agent says of itself each second."""
        return self.agent_db.parent / "live.json"

    @property
    def beside_ranks(self) -> Path:
        """How well the models beside the first do."""
        return self.agent_db.parent / "beside.json"

    @property
    def requests(self) -> Path:
        """Where an owner's wishes wait for the agent."""
        return self.state / "agent" / "requests"

    @property
    def refined(self) -> Path:
        """Where a trainer leaves the refined personal model for the agent."""
        return self.agent_db.parent / "refined.safetensors"

    @property
    def exchange(self) -> Path:
        """The federation client's folder: ``exchange.db``, received versions, its key."""
        return self.state / "exchange"

    @property
    def exchange_db(self) -> Path:
        """The federation client's database."""
        return self.exchange / "exchange.db"

    @property
    def node_key(self) -> Path:
        """The federation client's private key."""
        return self.federation.key or self.exchange / "node.key"

    @property
    def share(self) -> Path:
        """What the agent hands to the federation client: status and finished updates."""
        return self.state / "share"

    def pipeline(self, manifest: Manifest) -> PipelineSettings:
        """Return what the core is told, with the model's defaults where the file says nothing."""
        learn, labels, optimiser = self.learn, self.labels, manifest.optimiser
        rules = LabelRules()
        if labels is not None:
            late, tolerance = int(labels.late), int(labels.tolerance)
            rules = LabelRules(outside=True, late=late, tolerance=tolerance)
        return PipelineSettings(
            learn=LearnerSettings(
                enabled=learn.enabled,
                batch=learn.batch or optimiser.batch,
                learning_rate=learn.learning_rate or optimiser.learning_rate,
                schedule=optimiser.schedule,
                training=learn.training,
                refine=learn.refine,
            ),
            serve=self.serve,
            labels=rules,
            guard=self.guard,
            anomaly=self.anomaly,
            drift=self.drift,
            streams=self.streams,
        )

    def check(self, source: str) -> None:
        """Refuse combinations that cannot work.

        Raises
        ------
        SettingsError
            With one line for each: ``source: path.of.key: what is wrong and what to do``.
        """
        complaints = [f"{source}: {complaint}" for complaint in find_complaints(self)]
        if complaints:
            raise SettingsError("\n".join(complaints))


def load_settings(path: Path, environ: Mapping[str, str]) -> AgentSettings:
    """Read an agent's settings; relative paths are taken from the file's folder.

    Parameters
    ----------
    path
        The TOML file.
    environ
        The environment; ``HEADWATER_BROKER_PASSWORD`` overrides the broker's password.

    Raises
    ------
    SettingsError
        Naming every wrong key.
    """
    settings = read_toml(path, AgentSettings)
    settings.check(str(path))
    folder = path.absolute().parent
    broker = _resolve(settings.broker, folder, "password_file", "ca", "cert", "key")
    return msgspec.structs.replace(
        _resolve(settings, folder, "bundle", "state"),
        broker=msgspec.structs.replace(broker, password=_password(broker, environ)),
        beside=settings.beside.under(folder),
        federation=_resolve(settings.federation, folder, "ca", "key"),
        metrics=_resolve(settings.metrics, folder, "textfile"),
    )


def _resolve(table: S, folder: Path, *keys: str) -> S:
    """Make the paths of a table absolute."""
    values = {key: getattr(table, key) for key in keys}
    return msgspec.structs.replace(
        table, **{key: folder / value for key, value in values.items() if value is not None}
    )


def _password(broker: Broker, environ: Mapping[str, str]) -> str:
    if PASSWORD_VARIABLE in environ:
        return environ[PASSWORD_VARIABLE]
    if broker.password_file is None:
        return broker.password
    try:
        return broker.password_file.read_text(encoding="utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"broker.password_file: {broker.password_file} cannot be read "
            f"({type(error).__name__}); check that it exists and is yours."
        ) from error
