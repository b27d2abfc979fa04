"""What ``headwater agent init`` writes: a commented ``agent.toml`` made from the bundle."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator

from headwater_models.bundle import Bundle

_BARE = re.compile(r"[A-Za-z0-9_-]+")

_HEAD = """\
# Settings of a Headwater agent. `headwater agent check` says what is wrong with them.
# A key behind a # shows its default. Durations are written as "500ms", "30s", "5min", "6h", "1d".

device = {device}    # lower case; what the broker and the coordinator know this agent by
bundle = {bundle}    # the model: a folder or a .zip; relative paths start at this file
state = {state}    # databases and keys
# clock = "synchronised"    # wait until a time service has set it; "trusted" where there is none

[trust]
{trust}

[broker]
url = {broker}    # mqtts:// for TLS
# version = "5"    # or "3.1.1"
# username = ""
# password_file = ""    # or the environment variable HEADWATER_BROKER_PASSWORD
# password = ""
# ca = ""    # whom to trust instead of the system's certificate authorities
# cert = ""    # the certificate that this client shows, and its key
# key = ""
# client_id = "headwater-{name}"
# keepalive = "30s"
# retry = "60s"    # longest pause between two attempts to connect
# session_expiry = "1d"    # how long the broker keeps messages for an agent that is away
# receive_maximum = 1000    # unacknowledged messages that the broker sends at most
# linger = "0s"    # how long messages may wait for more; "50ms" saves much work on fast streams

"""

_INPUT = """\
# What to read. For several kinds of messages write [[input]] instead, once for each kind.
[input]
pattern = "sensors/{stream}"    # or "sensors/{stream}/{channel}" for one value a message
# qos = 1
# share = ""    # name of a shared subscription
# stream = ""    # the payload's field that names the stream, where the pattern has no {stream}
# numbers_in_text = true    # read "12.5" as a number
# max_payload = 65536

# When it was measured; without this, the moment of receipt.
# [input.time]
# field = "time"
# format = "iso8601"    # or s, ms, us, ns since 1970
# ahead = "1d"    # refuse times further in the future

# Where each channel stands in the payload ("data.temp" for a nested field) and in which unit it
# comes; it is converted to the model's.
"""

_TAIL = """
[output]
topic = "headwater/{device}/{stream}/prediction"
alarm = "headwater/{device}/{stream}/alarm"
status = "headwater/{device}/status"
# qos = 1
# retain = false
# payload = "single"    # "array": those that are made of a stream together in one message

# Further models that predict the same from the same windows, and learn nothing: bundles, or
# patterns such as "challengers/*.zip". What all of them say of a window is one message.
# [beside]
# models = []
# topic = "headwater/{device}/{stream}/beside"

[store]
# durability = "process"    # "power" survives a power cut as well, and writes more to the flash
# commit_every = "1s"
# commit_records = 1000
# rows = 1000000    # the newest that are kept, over all streams
# examples = 100000
# predictions = 100000
# outbox = 10000    # messages of ours that wait for the broker

"""

_LEARN = """\
[learn]
# enabled = true
# batch = {batch}    # these two are the model's by default
# learning_rate = {rate}
# training = "replay"    # "stream": the update grows as the stream goes by
# buffer = 20000    # newest examples that an update for the fleet is trained on
# budget = "20ms"    # how long learning may keep predictions waiting

# Let the personal model learn the stored examples again, from each release on.
# [learn.refine]
# epochs = 0    # passes over the newest of the buffer; 0: never
# every = 1000    # and again after so many examples

# Let a model of river be the personal one; a linear one is shared with the fleet by its weights.
# [learn.river]
# model = "river.linear_model.LogisticRegression"
# arguments = {{}}
# before = []    # transformers before it, such as "river.preprocessing.StandardScaler"
# inputs = "features"    # of the bundle's graph; "channels": as they were measured
#   rows = 1    # how many of the newest rows, with channels

# Whether what was learned here may be published, and what that may cost.
[serve]
# personal = true
# clip = 0.0    # largest loss that counts, in the target's unit; 0: from the channel's range
# excess = 20.0    # most that it may cost above the release, in clips, over the whole stream
# alpha = 0.05

# Labels from outside, by the prediction's id, or by stream and time.
# [labels]
# pattern = "labels/{{stream}}"
# id = ""    # the payload's field with the id; without it stream and time decide
# value = "label"
# time = {{ field = "time", format = "iso8601" }}
# tolerance = "0s"    # how far off the nearest may be where no row of its time was predicted
# late = "1h"

"""

_GUARD = """\
# What is kept out of learning: values that cannot be, and what does not follow from the stream's
# earlier records. `headwater agent quarantine` shows it and puts back what was right.
[guard]
# enabled = true
# cell = 7.0    # smaller marks more: how rarely a channel moves so far, in nats
# row = 3.0    # smaller marks more: how much less than usual speaks for a record, in nats
# stuck = 8.0    # how many times longer than ever a channel must repeat a value; 0: never marked
# burst = 0.5    # share of the newest records with a mark from which on learning pauses
# records = 32

"""

_DRIFT = """\
# When an anomaly model calls a window one; set from its own scores, without labels.
[anomaly]
# risk = 0.001    # share of normal windows that may be called anomalies
# tail = 0.1    # share of the highest scores from which that is judged
# smoothing = 10    # windows that the score is a mean over
# warm_up = 100    # scores that are only learned from
# memory = 10000    # scores after which an old one counts for 1/e
# patience = 1000    # anomalies in a row after which they are the new normal

# A change in the errors or the inputs of a stream. River's detectors take 10 MB.
[drift]
enabled = false    # detectors on error and inputs are river's, which take 10 MB
# watch = ["error", "inputs", "estimate"]
# mean_of = 24    # values in each mean that a detector sees
# quiet = "1h"    # after an alarm, about the same
# streams = 1000
# adwin = { enabled = true, delta = 0.002 }
# page_hinkley = { enabled = true, delta = 0.25, threshold = 40.0 }
# kswin = { enabled = false, alpha = 0.0001, every = 50 }    # 90 MB more
# estimate = { chunk = 200, band = 3.0 }    # the error expected before labels come
# react = { to = ["error"], learning_rate = 1.0, steps = 100, reset = false, retrain = false }

"""

_STREAMS = """\
# A stream of which no record comes for this long, while the broker is there, raises an alarm.
[streams]
# silent_after = "15m"    # else ten periods of the model's grid or its largest gap; "0s": never

"""

_FEDERATION = """\
[federation]
enabled = {enabled}
{coordinator}
# ca = ""    # whom to trust instead of the system's certificate authorities
# poll = "15s"
# every = "1h"    # once installed: a timer starts the client so often, instead of it staying
# key = "state/exchange/node.key"
# hours = []    # when it may, in local time, such as ["22:00-06:00"]; none: at all hours
# allow = []    # a command whose exit code 0 says that it may now: ["/etc/headwater/on-mains"]
# allow_timeout = "10s"
# nice = 10

# The agent's figures for Prometheus: on a port, or in a file for node_exporter.
# [metrics]
# listen = ""    # "127.0.0.1:9464"
# textfile = ""    # "/var/lib/prometheus/node-exporter/headwater.prom"
# every = "15s"    # how often that file is written
"""


def host_name() -> str:
    """Make a device's name of the host's."""
    name = re.sub(r"[^a-z0-9._-]+", "-", socket.gethostname().lower()).strip("-._")
    return name[:64] or "device"


def skeleton(
    *,
    device: str,
    bundle_path: str,
    bundle: Bundle,
    broker: str,
    coordinator: str,
    state: str = "state",
) -> str:
    """Return the text of a settings file that passes its own checks.

    Parameters
    ----------
    device
        Name of the device.
    bundle_path, bundle
        Where the model lies, and the model, whose channels are written down.
    broker
        URL of the MQTT broker.
    coordinator
        URL of the coordinator; empty for a device that stays alone.
    state
        The state folder.
    """
    head = _HEAD.format(
        device=_text(device),
        name=device,
        bundle=_text(bundle_path),
        state=_text(state),
        broker=_text(broker),
        trust="\n".join(_trust(bundle)),
    )
    federation = _FEDERATION.format(
        enabled="true" if coordinator else "false",
        coordinator=(
            f"coordinator = {_text(coordinator)}"
            if coordinator
            else '# coordinator = "https://HOST:PORT"'
        ),
    )
    optimiser = bundle.manifest.optimiser
    learn = _LEARN.format(batch=optimiser.batch, rate=optimiser.learning_rate)
    return (
        head
        + _INPUT
        + "\n".join(_channels(bundle))
        + "\n"
        + _TAIL
        + learn
        + _GUARD
        + _DRIFT
        + _STREAMS
        + federation
    )


def _trust(bundle: Bundle) -> Iterator[str]:
    if bundle.model_statement is None:
        yield "# This model is not signed. Its publisher signs it with `headwater model sign`; then"
        yield "# write the publisher's public key here and remove the line below it."
        yield '# publisher = ""'
        yield "allow_unsigned = true"
        return
    yield "# The key that signed the model. Compare it with what its publisher told you."
    yield f"publisher = {_text(bundle.verify()[0].publisher)}"
    yield "# allow_unsigned = false"


def _channels(bundle: Bundle) -> Iterator[str]:
    for channel in bundle.manifest.channels:
        name = _text(channel.name)
        yield f"[input.channels.{channel.name if _BARE.fullmatch(channel.name) else name}]"
        yield f"field = {name}"
        yield f"unit = {_text(channel.unit)}    # from {channel.minimum:g} to {channel.maximum:g}"
        yield f"# topic = {name}    # the word for it where the pattern has {{channel}}"


def _text(value: str) -> str:
    """Write a string for TOML, whose basic strings escape as JSON's do."""
    return json.dumps(value, ensure_ascii=False)
