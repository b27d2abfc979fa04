"""The gate: a candidate is released when the fleet's own reserved rows do not speak against it."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median_low
from types import MappingProxyType

from headwater import wire
from headwater_coordinator.settings import Gate
from headwater_models import student

_UNGROUPED: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Paired:
    """Paired loss differences (candidate - release) pooled over rows and devices.

    ``mean`` and ``m2`` (sum of squared deviations from the mean) are over ``rows``; losses are
    means over the same rows.
    """

    devices: int = 0
    rows: int = 0
    mean: float = 0.0
    m2: float = 0.0
    candidate: float = 0.0
    release: float = 0.0
    baseline: float = 0.0

    @property
    def standard_error(self) -> float:
        """Standard error of the mean; infinite with fewer than two rows."""
        if self.rows < 2:
            return math.inf
        return math.sqrt(self.m2 / (self.rows - 1) / self.rows)


@dataclass(frozen=True, slots=True)
class Decision:
    """What the gate decided, and why, in words a person can read."""

    passed: bool
    words: str
    paired: Paired


def pool(replies: Sequence[wire.Evaluated]) -> Paired:
    """Pool the devices' figures as if all rows lay in one place.

    Means and squared deviations combine by the parallel algorithm of Chan, Golub and LeVeque
    (1983); devices without rows count for nothing.

    Examples
    --------
    >>> pool([]).rows
    0
    """
    counted = [reply for reply in replies if reply.rows > 0]
    rows = sum(reply.rows for reply in counted)
    if rows == 0:
        return Paired()

    def mean(name: str) -> float:
        return math.fsum(reply.rows * float(getattr(reply, name)) for reply in counted) / rows

    difference = mean("difference_mean")
    m2 = math.fsum(
        reply.difference_m2 + reply.rows * (reply.difference_mean - difference) ** 2
        for reply in counted
    )
    return Paired(
        devices=len(counted),
        rows=rows,
        mean=difference,
        m2=m2,
        candidate=mean("loss_candidate"),
        release=mean("loss_release"),
        baseline=mean("loss_baseline"),
    )


def judge(
    replies: Sequence[wire.Evaluated], settings: Gate, groups: Mapping[str, str] = _UNGROUPED
) -> Decision:
    """Decide whether a candidate is released.

    It is when at least ``min_evaluators`` devices had rows to compare on, the settings' test is
    passed, no device is worse by more than ``worst_device_tolerance`` of its own loss, and of no
    group more than half of the devices are by more than ``worst_group_tolerance``.

    Parameters
    ----------
    replies
        Of the judges.
    settings
        The rule.
    groups
        The group of each device that has one, by its name.
    """
    paired = pool(replies)
    if paired.devices < settings.min_evaluators:
        words = (
            f"refused: {paired.devices} of at least {settings.min_evaluators} devices "
            "had reserved rows to compare on"
        )
        return Decision(False, words, paired)
    counted = [reply for reply in replies if reply.rows > 0]
    allowed = (settings.tolerance - settings.margin) * abs(paired.release)
    verdicts = [_tested(counted, paired, settings, allowed), *_worst(counted, settings)]
    verdicts += _groups(counted, settings, groups)
    passed = all(verdict.passed for verdict in verdicts)
    found = (
        f"loss {paired.candidate:.6g} against {paired.release:.6g} of the release and "
        f"{paired.baseline:.6g} of the baseline; difference {paired.mean:+.3g} (standard error "
        f"{paired.standard_error:.2g}, {paired.rows} rows, {paired.devices} devices)"
    )
    rules = "; ".join(verdict.words for verdict in verdicts)
    return Decision(passed, f"{'released' if passed else 'refused'}: {found}, {rules}", paired)


@dataclass(frozen=True, slots=True)
class _Verdict:
    passed: bool
    words: str


def _tested(
    replies: Sequence[wire.Evaluated], paired: Paired, settings: Gate, allowed: float
) -> _Verdict:
    match settings.test:
        case "none":
            return _Verdict(paired.mean <= allowed, f"at most {allowed:+.3g} is allowed")
        case "t":
            bound = upper_bound(replies, settings.confident)
            words = f"at most {bound:+.3g} at {settings.confident:g}, {allowed:+.3g} is allowed"
            return _Verdict(bound <= allowed, words)
        case "sign":
            share = settings.tolerance - settings.margin
            better = sum(
                reply.difference_mean <= share * abs(reply.loss_release) for reply in replies
            )
            chance = sign_probability(better, len(replies))
            words = (
                f"good enough on {better} of {len(replies)} devices, by chance with probability "
                f"{chance:.2g}, less than {1 - settings.confident:.2g} is asked for"
            )
            return _Verdict(chance < 1 - settings.confident, words)


def _worst(replies: Sequence[wire.Evaluated], settings: Gate) -> Iterator[_Verdict]:
    tolerance = settings.worst_device_tolerance
    if tolerance is not None:
        worse = [
            reply
            for reply in replies
            if reply.difference_mean > tolerance * abs(reply.loss_release)
        ]
        words = f"worse than allowed on {len(worse)} devices, none may be"
        yield _Verdict(not worse, words)


def _groups(
    replies: Sequence[wire.Evaluated], settings: Gate, groups: Mapping[str, str]
) -> Iterator[_Verdict]:
    """Judge each group by the half of its devices that finds the candidate worse.

    Each device counts once, whatever it says of its rows or of how much worse it is, so that in a
    group less than half of the devices can neither veto nor hide a harm.
    """
    tolerance = settings.worst_group_tolerance
    if tolerance is None:
        return
    found: dict[str, list[float]] = {}
    for reply in replies:
        if group := groups.get(reply.device, ""):
            loss = max(abs(reply.loss_release), sys.float_info.min)
            found.setdefault(group, []).append(reply.difference_mean / loss)
    small = sorted(name for name, worse in found.items() if len(worse) < settings.group_devices)
    judged = [name for name in sorted(found) if name not in small]
    words = []
    for name in judged:
        count = sum(one > tolerance for one in found[name])
        if 2 * count > len(found[name]):
            words.append(
                f"group {name} is worse on {count} of {len(found[name])} devices, by "
                f"{median_low(found[name]):.2%} of the loss or more on half of them, at most "
                f"{tolerance:.2%} is allowed"
            )
    few = f", too few devices of {', '.join(small)}" if small else ""
    passed = not words
    if passed:
        words.append(f"no group is worse than allowed ({', '.join(judged) or 'none'}{few})")
    yield _Verdict(passed, "; ".join(words))


def upper_bound(replies: Sequence[wire.Evaluated], confidence: float) -> float:
    """Return a one-sided upper confidence bound of the mean difference over all rows.

    Rows of one device resemble each other, so devices are the sample, weighted by their rows: the
    standard error of a ratio estimate over clusters [1]_, and Student's t with one degree of
    freedom less than devices. Infinite with a single device.

    Parameters
    ----------
    replies
        Each with rows.
    confidence
        Such as 0.95.

    References
    ----------
    .. [1] Cochran, Sampling Techniques, 3rd edition, 1977, §9A.
    """
    paired, devices = pool(replies), len(replies)
    if devices < 2:
        return math.inf
    squares = math.fsum(
        (reply.rows * (reply.difference_mean - paired.mean)) ** 2 for reply in replies
    )
    error = math.sqrt(squares * devices / (devices - 1)) / paired.rows
    return paired.mean + student.quantile(confidence, devices - 1) * error


def sign_probability(better: int, devices: int) -> float:
    """Return how likely at least so many of the devices would be better by chance alone.

    Examples
    --------
    >>> sign_probability(5, 5), sign_probability(0, 5)
    (0.03125, 1.0)
    """
    ways = sum(math.comb(devices, k) for k in range(better, devices + 1))
    return float(ways / 2**devices)
