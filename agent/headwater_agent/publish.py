"""What the agent publishes: predictions, alarms, its status, as JSON for people and programs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater_agent.events import Alarm, Floats, Model, Prediction
from headwater_agent.settings import AgentSettings
from headwater_agent.topics import Pattern
from headwater_agent.watch import About, about
from headwater_models.manifest import Manifest

_FEW = 16
"""Below so many numbers, each is written and read again."""

_POWERS = 22
_TENS = np.array([float(f"1e{power}") for power in range(_POWERS + 1)])
"""The powers of ten that float64 holds exactly."""

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
    it), the error that the ``estimate`` expects before labels come, or the stream's ``silence``.
    ``value`` is what it was lately and ``before`` what it had been, in ``unit`` (empty for the
    share of wrong classes): a stream that fell silent had been so for 0 s before, and one that
    speaks again is so for 0 s now.
    """

    stream: str
    model: str
    time: str
    about: About
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
        self._horizon = str(manifest.horizon)
        self._encoder = msgspec.json.Encoder()

        @lru_cache(maxsize=16_384)
        def topic_of(stream: str) -> str:
            return self._topic.fill({"device": self._device, "stream": stream})

        self._topic_of = topic_of

    def encode(self, predictions: Sequence[Prediction], now_ms: int) -> list[tuple[str, bytes]]:
        """Return topics and payloads, one for each prediction.

        Parameters
        ----------
        predictions
            As the pipeline made them.
        now_ms
            Wall clock of sending, UTC milliseconds.
        """
        if not predictions:
            return []
        manifest = self._manifest
        count, times = len(predictions), [made.time for made in predictions]
        moments = _iso([*times, *(time + int(manifest.horizon) for time in times)])
        seen, valid = moments[:count], moments[count:]
        said = self._values(
            [
                *(made.released for made in predictions),
                *(made.personal for made in predictions),
                *(made.baseline for made in predictions),
            ]
        )
        values = {
            "released": said[:count],
            "personal": said[count : 2 * count],
            "baseline": said[2 * count :],
        }
        verdicts = self._verdicts(predictions)
        encode, topic = self._encoder.encode, self._topic_of
        return [
            (
                topic(made.stream),
                encode(
                    Published(
                        id=made.id,
                        stream=made.stream,
                        model=self._model,
                        version=made.version,
                        time=seen[i],
                        valid=valid[i],
                        horizon=self._horizon,
                        target=manifest.target,
                        unit=self._unit,
                        prediction=values[made.served][i],
                        served=made.served,
                        released=values["released"][i],
                        baseline=values["baseline"][i],
                        personal=values["personal"][i],
                        latency_ms=max(0, now_ms - made.received),
                        quality=made.quality,
                        **verdicts[i],
                    )
                ),
            )
            for i, made in enumerate(predictions)
        ]

    def encode_alarm(self, alarm: Alarm) -> tuple[str, bytes]:
        """Return topic and payload of an alarm."""
        (time,) = _iso([alarm.time])
        value, before = _shortened(np.array([alarm.value, alarm.before])).tolist()
        what = about(alarm)
        payload = Alarmed(
            stream=alarm.stream,
            model=self._model,
            time=time,
            about=what,
            channel=alarm.channel,
            detector=alarm.detector,
            value=value,
            before=before,
            unit="s" if what == "silence" else self._units.get(alarm.channel, self._unit),
        )
        topic = self._alarm.fill({"device": self._device, "stream": alarm.stream})
        return topic, self._encoder.encode(payload)

    def _values(self, made: Sequence[Floats]) -> list[Value]:
        numbers = np.reshape(_shortened(np.concatenate(made)), (len(made), -1)).tolist()
        if self._names:
            return [dict(zip(self._names, row, strict=True)) for row in numbers]
        return [row[0] for row in numbers]

    def _verdicts(self, predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
        """Say of each whether its window is an anomaly, once there is a threshold."""
        if self._manifest.task != "anomaly":
            return [{}] * len(predictions)
        return [_verdict(prediction) for prediction in predictions]


def _verdict(prediction: Prediction) -> dict[str, Any]:
    threshold = prediction.thresholds[prediction.served == "personal"]
    if not math.isfinite(threshold):
        return {}
    score = float(getattr(prediction, prediction.served)[0])
    return {"anomaly": score >= threshold, "threshold": float(_shortened(np.array([threshold]))[0])}


def status(device: str, state: Literal["online", "offline"]) -> bytes:
    """Return the payload of the retained status topic."""
    return msgspec.json.encode({"device": device, "status": state})


def _shortened(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return float32 numbers with the seven digits they have; JSON has null for the others."""
    exact = values.astype(np.float64)
    if exact.size < _FEW:
        return np.array([float(f"{value:.7g}") for value in exact.tolist()])
    size = np.abs(exact, where=np.isfinite(exact) & (exact != 0), out=np.ones_like(exact))
    digits = 6 - np.floor(np.log10(size)).astype(np.int64)
    near = np.clip(digits, -_POWERS, _POWERS)
    up, down = _TENS[np.maximum(near, 0)], _TENS[np.maximum(-near, 0)]
    short = np.asarray(np.rint(exact * up / down) / up * down)
    if (far := digits != near).any():
        short[far] = [float(f"{value:.7g}") for value in exact[far].tolist()]
    return short


def _iso(times: Sequence[int]) -> list[str]:
    moments = np.array(times, np.int64).astype("M8[ms]")
    return np.datetime_as_string(moments, timezone="UTC").tolist()  # type: ignore[no-any-return]
