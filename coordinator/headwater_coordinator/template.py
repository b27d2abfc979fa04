"""The settings file that ``init`` writes: every key with its default and what it means."""

from __future__ import annotations

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
# discipline = "rounds"      # or "buffered": see below
# min_devices = 2            # a candidate needs updates of so many
# deadline = "10min"         # so long does a device have for an update
# epochs = 1                 # over what each device has buffered
# batch = 64                 # default: the manifest's
# learning_rate = 0.001      # default: the manifest's
# weight_cap = 10000         # examples that count for one device, at most
# max_staleness = 1          # releases that an update's base may be old; buffered: 10
# selection = "uniform"      # or "fair": those asked least often; "guided": whose data promise most
# exploration = 0.2          # with "guided", the share that is picked by fairness
# check_in = "10min"         # how often a device is asked how it is doing ...
# arrivals = 50.0            # ... and handed releases: so many devices per second, at most
# backoff = "10s"            # a device that fails again rests so long, doubling up to an hour
# message_ttl = "1h"         # an unanswered message is dropped after this
# max_devices = 100          # a round wants updates of so many, at most, ...
# fraction = 1.0             # ... and of this share of the devices that are ready
# over_selection = 1.0       # it asks so many times as many, and takes the first answers
# pause = "1min"             # between two rounds
#                            # With discipline = "buffered", in the place of the last four:
#   buffer = 10              # so many updates make a candidate
#   concurrency = 100        # so many devices train at a time

[strategy]                   # how updates become a candidate: docs/strategies.md
name = "fedavg"              # fedprox, fedavgm, fedadagrad, fedadam, fedyogi, qfedavg, fedmedian,
                             # fedtrimmedavg, krum, multikrum, bulyan, screened, fedbuff, fedasync;
                             # arguments follow by their names, as server_momentum of fedavgm

[firewall]                   # which updates are too far from what is usual
# least = 20                 # from so many accepted updates on, ...
# norm_multiple = 30.0       # ... at most so many times the median norm, ...
# least_cosine = -1.0        # ... at least this cosine with where the fleet moves
# examples_multiple = 100.0  # times the records of its device, or the examples of earlier updates
# per_hour = 10000           # updates of one device
# quarantine = 100           # refused updates that are kept, ...
# quarantine_bytes = 268435456   # ... and the bytes of their vectors

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
# margin = 0.0               # ... or must be better; one of the two
# test = "none"              # of the mean over all rows; "t": of its upper bound over the devices;
#                            # "sign": of so many devices that it is no chance
# confidence = 0.95          # of the test
# worst_device_tolerance = 0.1   # share of its own loss by which a device may be worse; or any
# worst_group_tolerance = 0.05   # ... by which more than half of a group may not be worse; or any
# group_devices = 5          # so many of a group must have judged, or it has no say

[metrics]                    # Prometheus; off unless one of the first two is named
# listen = "127.0.0.1:9465"  # GET /metrics
# textfile = "coordinator.prom"   # for node_exporter's textfile collector; from this folder
# every = "15s"              # how often the file is replaced

[database]                   # where the books lie: docs/coordinator.md#postgresql
# url = "sqlite"             # coordinator.db in this folder; or "postgresql://user@host/name"
"""
"""Lacks host and ports; the figures behind the hash signs are the defaults (a test compares)."""
