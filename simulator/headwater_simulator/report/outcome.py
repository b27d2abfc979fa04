"""The outcome of a run in three sentences: did the fleet gain, who lost, what was refused."""

from __future__ import annotations

from headwater_simulator.report.results import Point, Results
from headwater_simulator.report.words import figure, number, share, whole


def outcome(results: Results) -> tuple[str, str, str]:
    """Return the three sentences."""
    return _learned(results), _gained(results), _refused(results)


def _learned(results: Results) -> str:
    if not results.curve:
        return "No release was measured, so nothing can be said about what the fleet learned."
    first, last = results.curve[0], results.curve[-1]
    baseline = f"the baseline's is {figure(last.baseline, results.unit)}"
    if first is last:
        loss = figure(last.loss, results.unit)
        return f"The fleet stayed with its first model, whose loss is {loss}; {baseline}."
    words = (
        f"From the first model to release {last.sequence} the loss "
        f"{'fell' if last.loss <= first.loss else 'rose'} from "
        f"{figure(first.loss)} to {figure(last.loss, results.unit)}"
    )
    if first.loss > 0:
        change = last.loss / first.loss - 1
        words += f" ({share(abs(change))} {'less' if change <= 0 else 'more'})"
    return f"{words}{_accuracy(first, last)}; {baseline}."


def _accuracy(first: Point, last: Point) -> str:
    if first.accuracy is None or last.accuracy is None:
        return ""
    return f", the accuracy went from {share(first.accuracy)} to {share(last.accuracy)}"


def _gained(results: Results) -> str:
    gained, lost, even = (
        sum(getattr(group, name) for group in results.groups) for name in ("gained", "lost", "even")
    )
    judged = gained + lost + even
    if not judged:
        return "No device has rows enough to say whether it gained from the federation."
    words = (
        f"Of {number(judged, 'device')} that can be judged, {whole(gained)} "
        f"({share(gained / judged)}) {'does' if gained == 1 else 'do'} better with the last "
        f"release than by learning alone, {whole(lost)} worse, and {whole(even)} about as well"
    )
    losing = [group.name for group in results.groups if group.lost > group.gained]
    if losing and len(results.groups) > 1:
        words += f"; more lose than gain in {', '.join(losing)}"
    return f"{words}."


def _refused(results: Results) -> str:
    totals = results.totals
    candidates = totals.releases + totals.refused_candidates
    gate = (
        f"The gate refused {whole(totals.refused_candidates)} of {number(candidates, 'candidate')}"
    )
    of_attackers = sum(attack.refused for attack in results.attacks)
    judged = of_attackers + sum(attack.accepted for attack in results.attacks)
    others = totals.updates_accepted + totals.updates_refused - judged
    if not results.attacks:
        return (
            f"{gate}, and the firewall {whole(totals.updates_refused)} of "
            f"{number(others, 'update')}; no device attacked."
        )
    return (
        f"{gate}; the firewall refused {whole(of_attackers)} of {number(judged, 'update')} of "
        f"attackers, and {whole(totals.false_refusals)} of {whole(others)} of other devices."
    )
