"""What the agent publishes: predictions, alarms, its status, as JSON for people and programs."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec

from headwater_agent.drift_settings import Watched
from headwater_agent.events import Alarm, Floats, Model, Prediction
from headwater_agent.settings import AgentSettings
from headwater_agent.topics import Pattern
from headwater_agent.watch import about
from headwater_models.manifest import Manifest

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Value = float | dict[str, float | None] | None
"""A number, the probability of each class, or each quantile; null where there is none."""


class Published(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A prediction on the wire.

    ``time`` is the end of the window that was seen, ``valid`` the time that is predicted (for a
    forecast ``horizon`` later). ``prediction`` is what the ``served`` model says; ``released``,
    ``baseline`` and ``personal`` stand beside it to compare. Of an anomaly model they are scores,
    and ``anomaly`` says whether the served one reaches ``threshold``. ``latency_ms`` runs from the
    receipt of the record that completed the window. The same ``id`` is the same prediction sent
    again.
    """

    id: str
    stream: str
    model: str
    version: str
    time: str
    valid: str
    horizon: str
    target: str
    unit: str
    prediction: Value
    served: Model
    released: Value
    baseline: Value
    personal: Value
    anomaly: bool | None = None
    threshold: float | None = None
    latency_ms: int
    quality: Literal["ok", "degraded"]


class Alarmed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An alarm on the wire.

    It is about the ``error`` of what was served, one of the ``inputs`` (then ``channel`` names
    it), or the error that the ``estimate`` expects before labels come. ``value`` is what it was
    lately and ``before`` what it had been, in ``unit`` (empty for the share of wrong classes).
    """

    stream: str
    model: str
    time: str
    about: Watched
    channel: str
    detector: str
    value: float | None
    before: float | None
    unit: str


class Publisher:
    """Turn the predictions and alarms of one model into topics and payloads.

    Parameters
    ----------
    settings
        The device's name and the output's topics.
    model
        The model's id.
    manifest
        Target, unit, horizon and classes.
    """

    def __init__(self, settings: AgentSettings, model: str, manifest: Manifest) -> None:
        self._device = settings.device
        self._topic = Pattern.parse(settings.output.topic)
        self._alarm = Pattern.parse(settings.output.alarm)
        self._model = model
        self._manifest = manifest
        self._units = {channel.name: channel.unit for channel in manifest.channels}
        self._unit = self._units.get(manifest.target, "")
        self._names = manifest.classes or tuple(f"{level:g}" for level in manifest.quantiles)
        self._encoder = msgspec.json.Encoder()

    def encode(self, prediction: Prediction, now_ms: int) -> tuple[str, bytes]:
        """Return topic and payload.

        Parameters
        ----------
        prediction
            As the pipeline made it.
        now_ms
            Wall clock of sending, UTC milliseconds.
        """
        topic = self._topic.fill({"device": self._device, "stream": prediction.stream})
        payload = Published(
            id=prediction.id,
            stream=prediction.stream,
            model=self._model,
            version=prediction.version,
            time=_iso(prediction.time),
            valid=_iso(prediction.time + self._manifest.horizon),
            horizon=str(self._manifest.horizon),
            target=self._manifest.target,
            unit=self._unit,
            prediction=self._value(getattr(prediction, prediction.served)),
            served=prediction.served,
            released=self._value(prediction.released),
            baseline=self._value(prediction.baseline),
            personal=self._value(prediction.personal),
            latency_ms=max(0, now_ms - prediction.received),
            quality=prediction.quality,
            **self._verdict(prediction),
        )
        return topic, self._encoder.encode(payload)

    def encode_alarm(self, alarm: Alarm) -> tuple[str, bytes]:
        """Return topic and payload of an alarm."""
        payload = Alarmed(
            stream=alarm.stream,
            model=self._model,
            time=_iso(alarm.time),
            about=about(alarm),
            channel=alarm.channel,
            detector=alarm.detector,
            value=_number(alarm.value),
            before=_number(alarm.before),
            unit=self._units.get(alarm.channel, self._unit),
        )
        topic = self._alarm.fill({"device": self._device, "stream": alarm.stream})
        return topic, self._encoder.encode(payload)

    def _value(self, made: Floats) -> Value:
        numbers = [_number(float(value)) for value in made]
        if self._names:
            return dict(zip(self._names, numbers, strict=True))
        return numbers[0]

    def _verdict(self, prediction: Prediction) -> dict[str, Any]:
        """Say whether the window is an anomaly, once there is a threshold."""
        threshold = prediction.thresholds[prediction.served == "personal"]
        if not math.isfinite(threshold):
            return {}
        score = float(getattr(prediction, prediction.served)[0])
        return {"anomaly": score >= threshold, "threshold": _number(threshold)}


def status(device: str, state: Literal["online", "offline"]) -> bytes:
    """Return the payload of the retained status topic."""
    return msgspec.json.encode({"device": device, "status": state})


def _number(value: float) -> float | None:
    """Return a float32 with the digits it has; None for what is not finite."""
    return float(f"{value:.7g}") if math.isfinite(value) else None


def _iso(time_ms: int) -> str:
    moment = _EPOCH + timedelta(milliseconds=time_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
