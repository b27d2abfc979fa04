"""Made-up results of runs: plausible ones, of any size, and one that is hostile throughout."""

from __future__ import annotations

import json
from typing import Literal

import numpy as np
from msgspec.structs import replace

from headwater_simulator.report.results import (
    Attack,
    Device,
    Group,
    Incident,
    Point,
    Presence,
    Refusal,
    Release,
    Results,
    Round,
    Spread,
    Totals,
)

HOUR = 3_600_000
HOSTILE = "<script>alert('x')</script>|`*_&\"]]>\n# \x00\u202e"
OUTCOMES: tuple[Literal["released", "refused", "void", "same"], ...] = (
    "released", "released", "released", "refused", "released", "void", "released", "same",
)  # fmt: skip


def spread(figures: list[float]) -> Spread:
    p10, median, p90 = (float(q) for q in np.quantile(figures, [0.1, 0.5, 0.9]))
    return Spread(
        devices=len(figures), mean=float(np.mean(figures)), p10=p10, median=median, p90=p90
    )


def devices(rng: np.random.Generator, count: int, *, shift: float = 0.0) -> tuple[Device, ...]:
    """Return devices whose losses are those of one law, moved by *shift*; a tenth attack."""
    made = []
    for number in range(count):
        alone = float(rng.normal(24, 3))
        last = float(rng.normal(20 + shift, 3))
        attacks = number % 10 == 9
        made.append(
            Device(
                name=f"device-{number}",
                group="roof" if number % 3 else "street",
                examples=int(rng.integers(500, 900)),
                updates=0 if attacks else int(rng.integers(5, 20)),
                refused=12 if attacks else 0,
                declined=int(rng.integers(0, 3)),
                lost=int(rng.integers(0, 3)),
                first=alone + 6,
                last=last,
                alone=alone if number != 4 else None,
                served=last - 0.5,
                bytes_up=int(rng.integers(50_000, 60_000)),
                bytes_down=int(rng.integers(90_000, 99_000)),
                online=float(rng.uniform(0.5, 1)),
                attacks=attacks,
            )
        )
    return tuple(made)


def group(name: str, listed: tuple[Device, ...]) -> Group:
    mine = [device for device in listed if device.group == name]
    judged = [(d.last, d.alone) for d in mine if d.last is not None and d.alone is not None]
    gained = sum(last <= 0.99 * alone for last, alone in judged)
    lost = sum(last >= 1.01 * alone for last, alone in judged)
    return Group(
        name=name,
        devices=len(mine),
        first=spread([d.first for d in mine if d.first is not None]),
        last=spread([d.last for d in mine if d.last is not None]),
        alone=spread([alone for _, alone in judged]),
        gained=gained,
        lost=lost,
        even=len(judged) - gained - lost,
        updates=sum(d.updates for d in mine),
        bytes_up=sum(d.bytes_up for d in mine),
        bytes_down=sum(d.bytes_down for d in mine),
    )


def results(
    *, seed: int = 1, count: int = 60, rounds: int = 24, shift: float = 0.0, accuracy: bool = False
) -> Results:
    """Return a run of *count* devices and *rounds* rounds; equal arguments, equal results."""
    rng = np.random.default_rng(seed)
    listed = devices(rng, count, shift=shift)
    entries = tuple(
        Round(
            number=number,
            opened_ms=(number - 1) * 6 * HOUR,
            closed_ms=(number - 1) * 6 * HOUR + HOUR,
            asked=12,
            accepted=10 - number % 3,
            refused=number % 3,
            declined=1,
            failed=1,
            staleness_mean=0.25 * (number % 4),
            staleness_max=number % 4,
            bytes_up=40_000 + 1_000 * (number % 7),
            outcome=OUTCOMES[number % len(OUTCOMES)],
            words=f"loss {30 - number / 2:.6g} against the release",
        )
        for number in range(1, rounds + 1)
    )
    released = [entry for entry in entries if entry.outcome == "released"]
    curve = []
    for sequence, entry in enumerate([None, *released], 1):
        loss = 20 + shift + 10 * float(np.exp(-sequence / 5)) + float(rng.normal(0, 0.2))
        curve.append(
            Point(
                sequence=sequence,
                time_ms=(entry.closed_ms or 0) if entry else 0,
                round=entry.number if entry else 0,
                loss=loss,
                baseline=31.5,
                accuracy=1 - loss / 60 if accuracy else None,
                spread=Spread(
                    devices=min(count, 200),
                    mean=loss,
                    p10=loss - 5,
                    median=loss - 0.5,
                    p90=loss + 6,
                ),
                groups={"roof": loss - 1, "street": loss + 2},
            )
        )
    return Results(
        name="drift",
        about="Sixty stations whose season turns on the third day.",
        engine="virtual",
        seed=seed,
        devices=count,
        length_ms=rounds * 6 * HOUR,
        unit="" if accuracy else "ug/m3",
        versions={"headwater": "0.1.0", "onnxruntime": "1.32.0"},
        scenario=json.dumps(
            {
                "seed": seed,
                "length": "6d",
                "groups": [{"name": "roof", "devices": 40}, {"name": "street", "devices": 20}],
                "strategy": {"name": "fedavg"},
            }
        ),
        totals=Totals(
            rounds=rounds,
            releases=len(released),
            refused_candidates=sum(entry.outcome == "refused" for entry in entries),
            device_rounds=11 * rounds,
            records=count * 6 * rounds,
            updates_accepted=sum(entry.accepted for entry in entries),
            updates_refused=sum(entry.refused for entry in entries),
            false_refusals=3,
            declined=rounds,
            messages=4_321,
            lost_messages=17,
            repeated_messages=5,
            bytes_up=sum(entry.bytes_up for entry in entries),
            bytes_down=3_456_789,
            stacked=900,
            looped=0,
        ),
        curve=tuple(curve),
        rounds=entries,
        releases=tuple(
            Release(
                sequence=point.sequence,
                version=f"{point.sequence:02x}" * 32,
                time_ms=point.time_ms,
                round=point.round,
                words=f"released: loss {point.loss:.6g}" if point.round else "the first model",
            )
            for point in curve
        ),
        groups=(group("roof", listed), group("street", listed)),
        listed=listed,
        attacks=(
            Attack(kind="sign-flip", devices=4, sent=20, refused=16, accepted=4),
            Attack(kind="scaling", devices=2, sent=5, refused=5, accepted=0),
        ),
        refusals=tuple(
            Refusal(
                time_ms=3 * hour * HOUR,
                device=f"device-{9 if hour % 5 else 2}",
                attacks=bool(hour % 5),
                reason="its norm is 12.3 times the median of the cohort",
            )
            for hour in range(1, 40)
        ),
        presence=tuple(
            Presence(
                time_ms=hour * HOUR,
                online=int(count * (0.7 + 0.25 * np.sin(hour / 4))),
                training=12 if hour % 6 == 0 else 0,
            )
            for hour in range(6 * rounds)
        ),
        incidents=(
            Incident(time_ms=48 * HOUR, words="roof is cut off for 6h"),
            Incident(time_ms=72 * HOUR, words="the season turns on all devices"),
        ),
    )


def empty() -> Results:
    """Return a run in which nothing came about."""
    return Results(
        name="nothing", about="", engine="live", seed=0, devices=0, length_ms=0, unit="",
        versions={}, scenario="{}", totals=Totals(), curve=(), rounds=(), releases=(), groups=(),
        listed=(), attacks=(), refusals=(), presence=(), incidents=(),
    )  # fmt: skip


def hostile() -> Results:
    """Return results in which every text tries to be markup."""
    plain = results(rounds=10, accuracy=True)
    bad = HOSTILE
    return replace(
        plain,
        name=bad,
        about=bad,
        unit=bad,
        versions={bad: bad},
        scenario=json.dumps({"about": bad, bad: 1}),
        curve=tuple(replace(p, groups={bad: p.loss, "-->": 1.0}) for p in plain.curve),
        rounds=tuple(replace(r, words=bad, closed_ms=None) for r in plain.rounds),
        releases=tuple(replace(r, version=bad, words=bad) for r in plain.releases),
        groups=tuple(replace(g, name=bad, first=None, gained=0) for g in plain.groups),
        listed=tuple(replace(d, name=bad, group=bad) for d in plain.listed),
        attacks=tuple(replace(a, kind=bad) for a in plain.attacks),
        refusals=tuple(replace(r, device=bad, reason=bad) for r in plain.refusals),
        incidents=tuple(replace(i, words=bad) for i in plain.incidents),
    )
