"""What settings must keep beyond their types: each breach as ``path.of.key: what is wrong``."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from headwater import metrics_settings
from headwater_agent.broker_settings import PORTS
from headwater_agent.rivers import settings as rivers
from headwater_agent.schedule import parse_hours
from headwater_agent.topics import Pattern, overlaps

if TYPE_CHECKING:
    from headwater_agent.broker_settings import Broker
    from headwater_agent.federation_settings import Federation
    from headwater_agent.settings import (
        AgentSettings,
        Input,
        LabelInput,
        Learn,
        StoreSettings,
        Trust,
    )

_PUBLIC_KEY = re.compile(r"[0-9a-f]{64}")


def find_complaints(settings: AgentSettings) -> Iterator[str]:
    """Yield every combination that cannot work, with the path of its key."""
    yield from _broker_complaints(settings.broker)
    yield from _input_complaints(settings)
    yield from _label_complaints(settings)
    yield from _output_complaints(settings)
    yield from _federation_complaints(settings.federation)
    yield from _trust_complaints(settings.trust)
    yield from _store_complaints(settings.store)
    yield from _learn_complaints(settings.learn)
    yield from _linger_complaints(settings)
    yield from metrics_settings.find_complaints(settings.metrics)


def _input_complaints(settings: AgentSettings) -> Iterator[str]:
    if not settings.inputs:
        yield "input: at least one input is needed"
    ours = dict(_own_topics(settings))
    for i, item in enumerate(settings.inputs):
        path = f"input[{i}]" if isinstance(settings.input, tuple) else "input"
        yield from _one_input_complaints(path, item, ours)


def _linger_complaints(settings: AgentSettings) -> Iterator[str]:
    if not settings.broker.linger:
        return
    labels, late = settings.labels, "get that of their receipt, which is one for all that waited"
    if any(item.time.format == "none" for item in settings.inputs):
        yield (
            f"broker.linger: records without a time of their own {late}; name input.time, or "
            "leave it 0s"
        )
    if labels is not None and not labels.id and labels.time.format == "none":
        yield (
            f"broker.linger: labels without a time or an id {late}; name labels.time or labels.id, "
            "or leave it 0s"
        )


def _own_topics(settings: AgentSettings) -> Iterator[tuple[str, str]]:
    """Yield what this agent publishes to, by the key that says so."""
    for key in ("topic", "alarm", "status"):
        pattern = _pattern(getattr(settings.output, key))
        if pattern is not None:
            yield f"output.{key}", pattern.fill({"device": settings.device})
    pattern = _pattern(settings.beside.topic)
    if settings.beside.models and pattern is not None:
        yield "beside.topic", pattern.fill({"device": settings.device})


def _label_complaints(settings: AgentSettings) -> Iterator[str]:
    labels = settings.labels
    if labels is None:
        return
    yield from _subscription_complaints("labels", labels, dict(_own_topics(settings)))
    pattern = _pattern(labels.pattern)
    if pattern is None:
        return
    if set(pattern.names) - {"", "stream"}:
        yield "labels.pattern: only {stream} has a meaning; write + for a level to skip"
    for item in settings.inputs:
        read = _pattern(item.pattern)
        if read is not None and overlaps(pattern.filter, read.filter):
            yield f"labels.pattern: {labels.pattern!r} would also read input {item.pattern!r}"
    if labels.id and (labels.stream or labels.time.field):
        yield "labels.id: a label with an id needs neither stream nor time; remove these"


def _trust_complaints(trust: Trust) -> Iterator[str]:
    if trust.publisher == "" and not trust.allow_unsigned:
        yield (
            "trust.publisher: this key is required; for a model without a signature write "
            "allow_unsigned = true instead"
        )
    elif trust.publisher and not _PUBLIC_KEY.fullmatch(trust.publisher):
        yield "trust.publisher: must be a public key, 64 hexadecimal digits"


def _store_complaints(store: StoreSettings) -> Iterator[str]:
    if store.rows < store.examples:
        yield "store.rows: must be at least store.examples, which need their rows"


def _learn_complaints(learn: Learn) -> Iterator[str]:
    if learn.river is None:
        return
    yield from rivers.find_complaints(learn.river)
    if learn.refine.epochs:
        yield "learn.refine.epochs: a river model learns each example once; leave it 0"


def _pattern(text: str) -> Pattern | None:
    try:
        return Pattern.parse(text)
    except ValueError:
        return None


def _split(url: str) -> SplitResult | None:
    """Take a URL apart; None where it has no host or a port that is none."""
    try:
        parts = urlsplit(url)
        usable = parts.hostname and parts.port != 0
    except ValueError:
        return None
    return parts if usable else None


def _broker_complaints(broker: Broker) -> Iterator[str]:
    parts = _split(broker.url)
    if parts is None or parts.scheme not in PORTS or parts.path or parts.query:
        yield "broker.url: must be mqtt://HOST:PORT, or mqtts://HOST:PORT for TLS"
    elif parts.username is not None:
        yield "broker.url: write the user as broker.username and the password beside it"
    elif parts.scheme == "mqtt" and (broker.ca or broker.cert or broker.key):
        yield "broker.url: certificates are given, so it must begin with mqtts://"
    if broker.password and broker.password_file is not None:
        yield "broker.password_file: give either password or password_file, not both"
    if (broker.password or broker.password_file is not None) and not broker.username:
        yield "broker.username: a password needs a user name"
    if (broker.cert is None) != (broker.key is None):
        yield "broker.cert: a client certificate needs both cert and key"
    if not 5_000 <= broker.keepalive <= 65_535_000:
        yield "broker.keepalive: must be from 5s to 65535s"
    if not 1_000 <= broker.retry <= 3_600_000:
        yield "broker.retry: must be from 1s to 1h"
    if not 0 <= broker.linger <= 1_000:
        yield "broker.linger: must be from 0s to 1s"


def _one_input_complaints(path: str, item: Input, ours: Mapping[str, str]) -> Iterator[str]:
    yield from _subscription_complaints(path, item, ours)
    pattern = _pattern(item.pattern)
    if pattern is not None and (unknown := set(pattern.names) - {"", "stream", "channel"}):
        yield f"{path}.pattern: {{{min(unknown)}}} has no meaning; write + for a level to skip"


def _subscription_complaints(
    path: str, item: Input | LabelInput, ours: Mapping[str, str]
) -> Iterator[str]:
    try:
        pattern = Pattern.parse(item.pattern)
    except ValueError as error:
        yield f"{path}.pattern: {error}"
        return
    for key, topic in ours.items():
        if overlaps(pattern.filter, topic):
            yield (
                f"{path}.pattern: {item.pattern!r} would read this agent's own {topic!r}; "
                f"change it or {key}"
            )
    if item.qos == 2:
        yield f"{path}.qos: 2 is not supported; take 1, repetitions are recognised by event time"
    if item.stream and "stream" in pattern.names:
        yield f"{path}.stream: the pattern names the stream already; remove one of the two"
    if "/" in item.share or "+" in item.share or "#" in item.share:
        yield f"{path}.share: the name of a share has no '/', '+' or '#'"
    if (item.time.format == "none") != (item.time.field == ""):
        yield f"{path}.time: give both field and format, or neither for the time of receipt"


def _output_complaints(settings: AgentSettings) -> Iterator[str]:
    output = settings.output
    for key, text, names in (
        ("output.topic", output.topic, {"device", "stream"}),
        ("output.alarm", output.alarm, {"device", "stream"}),
        ("output.status", output.status, {"device"}),
        ("beside.topic", settings.beside.topic, {"device", "stream"}),
    ):
        try:
            pattern = Pattern.parse(text)
        except ValueError as error:
            yield f"{key}: {error}"
            continue
        if set(pattern.names) - {"", *names}:
            yield f"{key}: only {' and '.join(f'{{{n}}}' for n in sorted(names))} are filled"
        if {"+", "#"} & set(pattern.levels):
            yield f"{key}: a wildcard cannot be published to"


def _federation_complaints(federation: Federation) -> Iterator[str]:
    if not federation.enabled and not federation.coordinator:
        return
    parts = _split(federation.coordinator)
    if parts is None or parts.scheme not in ("https", "http") or parts.username is not None:
        yield "federation.coordinator: must be https://HOST:PORT"
    elif parts.scheme == "http" and not _loopback(parts.hostname or ""):
        yield "federation.coordinator: http:// is for this machine only; write https://"
    if federation.poll < 1_000:
        yield "federation.poll: must be at least 1s"
    if federation.every is not None and federation.every < 60_000:
        yield "federation.every: must be at least 1min; for less, leave it out"
    yield from _allowance_complaints(federation)


def _allowance_complaints(federation: Federation) -> Iterator[str]:
    for i, hours in enumerate(federation.hours):
        try:
            parse_hours(hours)
        except ValueError as error:
            yield f"federation.hours[{i}]: {error}"
    if federation.allow and not federation.allow[0].startswith("/"):
        yield "federation.allow: the program needs an absolute path: /etc/headwater/on-mains"
    if not 1_000 <= federation.allow_timeout <= 300_000:
        yield "federation.allow_timeout: must be from 1s to 5min"


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
