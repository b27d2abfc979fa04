"""What the agent publishes: predictions, alarms, its status, as JSON for people and programs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import repeat, starmap
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater_agent.events import Alarm, Floats, Model, Prediction
from headwater_agent.predictions import Predictions
from headwater_agent.settings import AgentSettings
from headwater_agent.topics import Pattern
from headwater_agent.watch import About, about
from headwater_models.manifest import Manifest

LONGEST_ARRAY = 100
"""Predictions in one message at most."""

_FEW = 16
"""Fewer numbers are shortened faster one by one."""

_POWERS = 22
_TENS = np.array([float(f"1e{power}") for power in range(_POWERS + 1)])
"""The powers of ten that float64 holds exactly."""

_POINT, _EXPONENT = b".e"

Quality = Literal["ok", "degraded"]

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
    quality: Quality


class PublishedBeside(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What further models say of the window of a prediction, by their names.

    The other fields are those of the prediction with the same ``id``; see :class:`Published`.
    """

    id: str
    stream: str
    time: str
    valid: str
    horizon: str
    target: str
    unit: str
    predictions: dict[str, Value]
    latency_ms: int
    quality: Quality


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
    beside
        Names of the models that predict beside it.
    """

    def __init__(
        self, settings: AgentSettings, model: str, manifest: Manifest, beside: Sequence[str] = ()
    ) -> None:
        self._device = settings.device
        self._arrays = settings.output.payload == "array"
        self._beside = tuple(beside)
        self._topics = tuple(map(Pattern.parse, (settings.output.topic, settings.beside.topic)))
        self._alarm = Pattern.parse(settings.output.alarm)
        self._model = model
        self._manifest = manifest
        self._units = {channel.name: channel.unit for channel in manifest.channels}
        self._unit = self._units.get(manifest.target, "")
        self._names = manifest.classes or tuple(f"{level:g}" for level in manifest.quantiles)
        self._horizon, self._ahead = str(manifest.horizon), int(manifest.horizon)
        self._encoder = msgspec.json.Encoder()

        @lru_cache(maxsize=16_384)
        def topics_of(stream: str) -> tuple[str, ...]:
            named = {"device": self._device, "stream": stream}
            return tuple(topic.fill(named) for topic in self._topics)

        self._topics_of = topics_of
        self._template = lru_cache(maxsize=16_384)(self._new_template)

    def encode(self, predictions: Sequence[Prediction], now_ms: int) -> list[tuple[str, bytes]]:
        """Return topics and payloads: what is served, then what models beside it say.

        Parameters
        ----------
        predictions
            As the pipeline made them.
        now_ms
            Wall clock of sending, UTC milliseconds.
        """
        if not predictions:
            return []
        made = Predictions.of(predictions)
        seen = _isos(made.times)
        valid = _isos(made.times, self._ahead) if self._ahead else seen
        messages = self._served(made, seen, valid, now_ms)
        if self._arrays:
            messages = _in_arrays(messages)
        if self._beside and made.beside is not None:
            beside = self._others(made, made.beside, seen, valid, now_ms)
            messages += _in_arrays(beside) if self._arrays else beside
        return messages

    def _served(
        self, made: Predictions, seen: list[bytes], valid: list[bytes], now_ms: int
    ) -> list[tuple[str, bytes]]:
        count = len(made)
        said = self._texts(made.said.reshape(3 * count, -1))
        released, personal, baseline = said[0::3], said[1::3], said[2::3]
        if _alike(made.served):
            served = personal if made.served[0] == "personal" else released
        else:
            served = [
                theirs if name == "personal" else ours
                for name, ours, theirs in zip(made.served, released, personal, strict=True)
            ]
        if _alike(made.received):
            latencies = [b"%d" % max(0, now_ms - made.received[0])] * count
        else:
            latencies = [b"%d" % max(0, now_ms - received) for received in made.received]
        ids = [key.encode() for key in made.ids]
        values: Iterable[tuple[bytes, ...]]
        values = zip(ids, seen, valid, served, released, baseline, personal, latencies, strict=True)
        judged: Sequence[bool] = [False] * count
        if self._manifest.task == "anomaly":
            verdicts = list(map(_verdict, made))
            judged = list(map(bool, verdicts))
            both = zip(values, verdicts, strict=True)
            values = ((*row[:-1], *verdict, row[-1]) for row, verdict in both)
        columns = (made.streams, made.versions, made.served, made.qualities, judged)
        forms: Iterator[tuple[str, bytes]]
        forms = starmap(self._template, zip(*columns, strict=True))
        if count > 1 and all(map(_alike, columns)):
            forms = repeat(next(forms), count)
        return [(topic, form % row) for (topic, form), row in zip(forms, values, strict=True)]

    def _others(
        self,
        made: Predictions,
        beside: Floats,
        seen: list[bytes],
        valid: list[bytes],
        now_ms: int,
    ) -> list[tuple[str, bytes]]:
        count = len(self._beside)
        said = self._values(beside.reshape(count * len(made), -1))
        messages = []
        for i, (stream, time, until) in enumerate(zip(made.streams, seen, valid, strict=True)):
            payload = PublishedBeside(
                id=made.ids[i],
                stream=stream,
                time=f"{time.decode()}Z",
                valid=f"{until.decode()}Z",
                horizon=self._horizon,
                target=self._manifest.target,
                unit=self._unit,
                predictions=dict(zip(self._beside, said[i * count : (i + 1) * count], strict=True)),
                latency_ms=max(0, now_ms - made.received[i]),
                quality=made.qualities[i],
            )
            messages.append((self._topics_of(stream)[1], self._encoder.encode(payload)))
        return messages

    def encode_alarm(self, alarm: Alarm) -> tuple[str, bytes]:
        """Return topic and payload of an alarm."""
        what = about(alarm)
        payload = Alarmed(
            stream=alarm.stream,
            model=self._model,
            time=f"{_iso(alarm.time).decode()}Z",
            about=what,
            channel=alarm.channel,
            detector=alarm.detector,
            value=_short(alarm.value),
            before=_short(alarm.before),
            unit="s" if what == "silence" else self._units.get(alarm.channel, self._unit),
        )
        topic = self._alarm.fill({"device": self._device, "stream": alarm.stream})
        return topic, self._encoder.encode(payload)

    def _new_template(
        self, stream: str, version: str, served: Model, quality: Quality, judged: bool
    ) -> tuple[str, bytes]:
        """Return the topic, and a payload with ``%s`` where predictions of the same kind differ."""
        hole: Any = msgspec.Raw(b"\0")
        text: Any = msgspec.Raw(b'"\0"')
        moment: Any = msgspec.Raw(b'"\0Z"')
        payload = Published(
            id=text,
            stream=stream,
            model=self._model,
            version=version,
            time=moment,
            valid=moment,
            horizon=self._horizon,
            target=self._manifest.target,
            unit=self._unit,
            prediction=hole,
            served=served,
            released=hole,
            baseline=hole,
            personal=hole,
            anomaly=hole if judged else None,
            threshold=hole if judged else None,
            latency_ms=hole,
            quality=quality,
        )
        encoded = self._encoder.encode(payload)
        return self._topics_of(stream)[0], encoded.replace(b"%", b"%%").replace(b"\0", b"%s")

    def _texts(self, made: Floats) -> list[bytes]:
        """Return what stands for each row ``[K]``, encoded."""
        if not self._names and len(made) < _FEW:
            return list(map(_text, made[:, 0].tolist()))
        return self._encoder.encode_lines(self._values(made)).split(b"\n")[:-1]

    def _values(self, made: Floats) -> list[Value]:
        """Return what stands for each row ``[K]``."""
        if made.size < _FEW:
            numbers = [[_short(value) for value in values.tolist()] for values in made]
        elif self._names:
            numbers = _shortened(made).tolist()
        else:
            texts: list[Value] = _shortened(made[:, 0]).tolist()
            return texts
        if self._names:
            return [dict(zip(self._names, row, strict=True)) for row in numbers]
        return [row[0] for row in numbers]


def _verdict(prediction: Prediction) -> tuple[bytes, ...]:
    threshold = prediction.thresholds[prediction.served == "personal"]
    if not math.isfinite(threshold):
        return ()
    score = float(getattr(prediction, prediction.served)[0])
    shown = msgspec.json.encode(_short(threshold))
    return (b"true" if score >= threshold else b"false", shown)


def _alike(column: Sequence[object]) -> bool:
    return column.count(column[0]) == len(column)


def _in_arrays(messages: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """Join the payloads of each topic into arrays of bounded length."""
    of_topic: dict[str, list[bytes]] = {}
    for topic, payload in messages:
        of_topic.setdefault(topic, []).append(payload)
    return [
        (topic, b"[" + b",".join(payloads[at : at + LONGEST_ARRAY]) + b"]")
        for topic, payloads in of_topic.items()
        for at in range(0, len(payloads), LONGEST_ARRAY)
    ]


def status(device: str, state: Literal["online", "offline"]) -> bytes:
    """Return the payload of the retained status topic."""
    return msgspec.json.encode({"device": device, "status": state})


def _short(value: float) -> float:
    """Return a float32 number with the seven digits it has; JSON has null for what is none."""
    return float(f"{value:.7g}")


def _text(value: float) -> bytes:
    """Return :func:`_short` as JSON: most numbers look like that already."""
    text = b"%.7g" % value
    plain = _POINT in text and _EXPONENT not in text
    return text if plain else msgspec.json.encode(float(text))


def _shortened(values: Floats) -> NDArray[np.float64]:
    """Return :func:`_short` of many numbers."""
    exact = values.astype(np.float64)
    size = np.abs(exact, where=np.isfinite(exact) & (exact != 0), out=np.ones_like(exact))
    digits = 6 - np.floor(np.log10(size)).astype(np.int64)
    near = np.clip(digits, -_POWERS, _POWERS)
    up, down = _TENS[np.maximum(near, 0)], _TENS[np.maximum(-near, 0)]
    short = np.asarray(np.rint(exact * up / down) / up * down)
    if (far := digits != near).any():
        short[far] = [_short(value) for value in exact[far].tolist()]
    return short


def _isos(times: NDArray[np.int64], ahead: int = 0) -> list[bytes]:
    """Return what lies so much ahead of UTC milliseconds as ISO 8601, without the Z."""
    if len(times) < _FEW:
        return [_iso(time + ahead) for time in times.tolist()]
    texts: list[bytes] = (times + ahead).astype("datetime64[ms]").astype(np.bytes_).tolist()
    return texts


def _iso(time: int) -> bytes:
    """Return UTC milliseconds as ISO 8601, without the Z."""
    minute, rest = divmod(time, 60_000)
    return f"{_iso_minute(minute)}:{rest // 1000:02}.{rest % 1000:03}".encode()


@lru_cache(maxsize=1_024)
def _iso_minute(minute: int) -> str:
    return str(np.datetime_as_string(np.datetime64(minute, "m")))
