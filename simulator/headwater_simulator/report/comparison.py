"""What differs between two runs, or between many of each side, and what of that is noise.

With one run of each side the devices are the sample: the same devices in pairs, else Welch's t.
That tells whether the two models differ for devices such as these. It cannot tell what another seed
would have brought, for all devices of a run share one history; nor can anything be said of a figure
that a run has only once. With several seeds of each side the runs are the sample, in pairs where
both sides have the same seeds, and the answer is about the settings.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any, Literal

import msgspec

from headwater.errors import SettingsError
from headwater_simulator.report import significance
from headwater_simulator.report.figures import Better, OfDevice, OfRun, of_devices, of_runs
from headwater_simulator.report.results import Results

FORMAT = 1
LEVEL = 0.05
"""Corrected p below which a difference is no longer called noise."""

Pairs = tuple[list[float], list[float], bool]
"""The figures of A, those of B, and whether they belong together one by one."""


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One side: runs of the same settings that differ in their seeds."""

    name: str
    seeds: tuple[int, ...]
    devices: int


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """A setting that is not the same on both sides; None where a side has it not."""

    key: str
    a: Any
    b: Any


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One figure on both sides.

    ``a`` and ``b`` are means over the ``sample`` (the smaller one of the two, where they are not
    ``paired``) of devices or runs. ``difference`` is b - a, with the interval that holds the true
    one in 95 of 100 cases, the chance ``p`` of one as large if there were none, and the same
    ``corrected`` for all figures that were looked at (Holm). The verdict follows from that:
    ``differs`` or ``noise``; ``same`` where there is no difference at all; ``unknown`` where
    nothing can be told, as the sample is too small or has no spread, and then no interval.
    """

    figure: str
    unit: str
    better: Better
    a: float | None
    b: float | None
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    corrected: float | None
    sample: int
    over: Literal["devices", "seeds"]
    paired: bool
    verdict: Literal["differs", "noise", "same", "unknown"]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between two sides; ``over`` is what the sample is."""

    format: int = FORMAT
    a: Side
    b: Side
    over: Literal["devices", "seeds"]
    settings: tuple[Setting, ...]
    findings: tuple[Finding, ...]


def compare(a: Results | Sequence[Results], b: Results | Sequence[Results]) -> Comparison:
    """Compare two runs, or the runs of two sides with several seeds each.

    Raises
    ------
    SettingsError
        When losses have different units, when one side has several runs and the other one, or when
        the runs of a side differ in more than their seeds.
    """
    left, right = (_side(side, name) for side, name in ((a, "A"), (b, "B")))
    if left[0].unit != right[0].unit:
        raise SettingsError(
            f"Losses in {left[0].unit or 'no unit'} and in {right[0].unit or 'no unit'} cannot be "
            "compared; compare runs that predict the same."
        )
    if (len(left) == 1) != (len(right) == 1):
        raise SettingsError(
            f"There are {len(left)} runs of A and {len(right)} of B; give one of each side, or "
            "several of each."
        )
    findings = _of_runs(left, right) if len(left) > 1 else _of_devices(left[0], right[0])
    return Comparison(
        a=_described(left),
        b=_described(right),
        over="seeds" if len(left) > 1 else "devices",
        settings=tuple(_settings(left[0], right[0])),
        findings=_judged(findings),
    )


def _side(side: Results | Sequence[Results], name: str) -> tuple[Results, ...]:
    runs = (side,) if isinstance(side, Results) else tuple(side)
    if not runs:
        raise SettingsError(f"There is no run of {name}; give one report at least.")
    if len({run.seed for run in runs}) < len(runs):
        raise SettingsError(f"Two runs of {name} have the same seed; give each seed once.")
    for run in runs[1:]:
        other = [s.key for s in _settings(runs[0], run) if s.key != "seed"]
        if other or run.unit != runs[0].unit:
            raise SettingsError(
                f"The runs of {name} differ in {', '.join(other) or 'what they predict'}; give "
                "runs that differ in their seeds only."
            )
    return tuple(sorted(runs, key=lambda run: run.seed))


def _described(runs: Sequence[Results]) -> Side:
    first = runs[0]
    return Side(name=first.name, seeds=tuple(run.seed for run in runs), devices=first.devices)


def _settings(a: Results, b: Results) -> Iterator[Setting]:
    left, right = _flat(a), _flat(b)
    for key in sorted(left.keys() | right.keys()):
        if left.get(key) != right.get(key):
            yield Setting(key=key, a=left.get(key), b=right.get(key))


def _flat(run: Results) -> dict[str, Any]:
    try:
        settings = json.loads(run.scenario)
    except ValueError:
        settings = {"scenario": run.scenario}
    return dict(_leaves(settings, ""))


def _leaves(value: object, path: str) -> Iterator[tuple[str, Any]]:
    """Yield each single setting with its path; tables in an array go by their name, if any."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(inner, Mapping) for inner in value):
        for place, inner in enumerate(value):
            name = inner.get("name", place) if isinstance(inner, Mapping) else place
            yield from _leaves(inner, f"{path}[{name}]")
    else:
        yield path, value


def _of_devices(a: Results, b: Results) -> list[Finding]:
    findings = [_finding(figure, _sample(figure, a, b), "devices") for figure in of_devices((a, b))]
    for single in of_runs((a, b)):
        values = [[v] if (v := single.read(run)) is not None else [] for run in (a, b)]
        findings.append(_finding(single, (values[0], values[1], False), "devices"))
    return [finding for finding in findings if (finding.a, finding.b) != (None, None)]


def _sample(figure: OfDevice, a: Results, b: Results) -> Pairs:
    """Read a figure of all devices that do not attack; in pairs if most are on both sides."""
    left, right = (_values(figure, run) for run in (a, b))
    both = [name for name in left if name in right]
    if both and 2 * len(both) >= max(len(left), len(right)):
        return [left[name] for name in both], [right[name] for name in both], True
    return [*left.values()], [*right.values()], False


def _values(figure: OfDevice, run: Results) -> dict[str, float]:
    return {
        device.name: value
        for device in run.listed
        if not device.attacks
        and figure.group in (None, device.group)
        and (value := figure.read(device)) is not None
    }


def _of_runs(left: Sequence[Results], right: Sequence[Results]) -> list[Finding]:
    everything = (*left, *right)
    paired = [run.seed for run in left] == [run.seed for run in right]
    figures: list[OfDevice | OfRun] = [*of_devices(everything), *of_runs(everything)]
    findings = []
    for figure in figures:
        values = [[_of_run(figure, run) for run in side] for side in (left, right)]
        known = [[value for value in side if value is not None] for side in values]
        if any(known):
            whole = known == values
            findings.append(_finding(figure, (known[0], known[1], paired and whole), "seeds"))
    return findings


def _of_run(figure: OfDevice | OfRun, run: Results) -> float | None:
    if isinstance(figure, OfRun):
        return figure.read(run)
    values = _values(figure, run)
    return fmean(values.values()) if values else None


def _finding(figure: OfDevice | OfRun, sample: Pairs, over: Literal["devices", "seeds"]) -> Finding:
    a, b, paired = sample
    if paired:
        found = significance.paired([right - left for left, right in zip(a, b, strict=True)])
    else:
        found = significance.welch(a, b)
    if same := bool(a) and a == b:
        found = None
    means = [fmean(side) if side else None for side in (a, b)]
    difference = None if means[0] is None or means[1] is None else means[1] - means[0]
    return Finding(
        figure=figure.name,
        unit=figure.unit,
        better=figure.better,
        a=means[0],
        b=means[1],
        difference=difference,
        low=found.low if found else None,
        high=found.high if found else None,
        p=found.p if found else None,
        corrected=None,
        sample=min(len(a), len(b)),
        over=over,
        paired=paired,
        verdict="same" if same else "unknown",
    )


def _judged(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Correct what was tested for how much was tested, and say what came of it."""
    tested = [place for place, f in enumerate(findings) if f.p is not None]
    judged = list(findings)
    corrected = significance.holm([findings[place].p or 0.0 for place in tested])
    for place, p in zip(tested, corrected, strict=True):
        undecided = "unknown" if findings[place].low is None else "noise"
        verdict = "differs" if p < LEVEL else undecided
        judged[place] = msgspec.structs.replace(findings[place], corrected=p, verdict=verdict)
    return tuple(judged)
