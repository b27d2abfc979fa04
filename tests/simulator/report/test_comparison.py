"""A comparison calls noise noise, finds what is there, and owns up to what it cannot know."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from headwater.errors import SettingsError
from headwater_simulator.report.comparison import Comparison, Finding, Setting, compare
from headwater_simulator.report.results import Device, Results, encode
from tests.simulator.report import made

LAST = "loss of the last release"
SKELETON = made.results()


def of(comparison: Comparison, figure: str = LAST) -> Finding:
    return next(finding for finding in comparison.findings if finding.figure == figure)


def called(comparison: Comparison) -> set[str]:
    return {f.figure for f in comparison.findings if f.verdict == "differs"}


def run(listed: tuple[Device, ...], seed: int = 1) -> Results:
    return replace(SKELETON, listed=listed, seed=seed)


def drawn(rng: np.random.Generator, count: int, shift: float = 0.0) -> Results:
    """Return a run whose devices are a sample of one law: easy and hard ones, noise upon that."""
    hard = np.random.default_rng(7).normal(20, 4, count)
    listed = made.devices(rng, count)
    losses = hard + shift + rng.normal(0, 1, count)
    return run(
        tuple(
            replace(device, last=float(loss), served=float(rng.normal(20, 3)))
            for device, loss in zip(listed, losses, strict=True)
        )
    )


def test_two_runs_of_one_law_are_noise_but_for_one_case_in_twenty() -> None:
    rng = np.random.default_rng(1)
    comparisons = [compare(drawn(rng, 40), drawn(rng, 40)) for _ in range(250)]
    single = np.mean([(of(c).p or 0) < 0.05 for c in comparisons])
    assert single == pytest.approx(0.05, abs=0.03)
    held = np.mean([(of(c).low or 0) <= 0 <= (of(c).high or 0) for c in comparisons])
    assert held == pytest.approx(0.95, abs=0.03)
    anything = np.mean([bool(called(c)) for c in comparisons])
    assert 0.005 <= anything <= 0.08


def test_a_real_shift_is_found_in_pairs_though_devices_differ_by_more() -> None:
    rng = np.random.default_rng(2)
    found = [compare(drawn(rng, 60), drawn(rng, 60, shift=1.0)) for _ in range(50)]
    assert np.mean([LAST in called(c) for c in found]) > 0.95
    assert np.mean([of(c).difference for c in found]) == pytest.approx(1.0, abs=0.1)
    assert all(of(c).paired and of(c).sample == 54 for c in found)


def test_devices_of_other_names_are_compared_without_pairs() -> None:
    rng = np.random.default_rng(3)
    a, b = drawn(rng, 60), drawn(rng, 60, shift=8.0)
    renamed = replace(b, listed=tuple(replace(d, name=f"other {d.name}") for d in b.listed))
    finding = of(compare(a, renamed))
    assert (finding.paired, finding.sample, finding.verdict) == (False, 54, "differs")
    assert (finding.low or 0) < 8 < (finding.high or 0)


def test_a_few_devices_in_common_are_not_taken_for_the_whole() -> None:
    a, b = made.results(count=100), made.results(count=20)
    assert not of(compare(a, b)).paired


def test_attackers_do_not_count() -> None:
    a = made.results()
    worse = tuple(
        replace(device, last=99.0, examples=0) if device.attacks else device for device in a.listed
    )
    comparison = compare(a, replace(a, listed=worse))
    assert {f.verdict for f in comparison.findings} == {"same"}


def test_what_a_run_has_only_once_cannot_be_told() -> None:
    a = made.results()
    b = replace(a, totals=replace(a.totals, bytes_up=7, rounds=a.totals.rounds))
    comparison = compare(a, b)
    once = of(comparison, "bytes up in all")
    assert (once.verdict, once.p, once.low) == ("unknown", None, None)
    assert (once.a, once.b) == (a.totals.bytes_up, 7)
    assert of(comparison, "rounds").verdict == "same"


def seeds(first: int, count: int, shift: float = 0.0) -> list[Results]:
    """Return runs that share what a run does to all of its devices."""
    runs = []
    for seed in range(first, first + count):
        rng = np.random.default_rng(seed)
        common = rng.normal(0, 1)
        runs.append(made.results(seed=seed, shift=shift + float(common)))
    return runs


def test_seeds_are_the_sample_where_there_are_several() -> None:
    comparison = compare(seeds(1, 6), seeds(101, 6, shift=6.0))
    finding = of(comparison)
    assert (comparison.over, finding.over, finding.sample) == ("seeds", "seeds", 6)
    assert (finding.paired, finding.verdict) == (False, "differs")
    assert comparison.a.seeds == (1, 2, 3, 4, 5, 6)
    assert of(comparison, "bytes up in all").verdict == "same"


def test_what_only_a_seed_brought_is_no_finding_over_seeds() -> None:
    """Devices of two runs differ beyond doubt; over seeds that turns out to be chance."""
    one, other = seeds(1, 1, shift=3.0)[0], seeds(2, 1)[0]
    assert LAST in called(compare(one, other))
    rates = [LAST in called(compare(seeds(n, 4), seeds(n + 4, 4))) for n in range(0, 320, 8)]
    assert np.mean(rates) <= 0.1


def test_the_same_seeds_are_pairs() -> None:
    finding = of(compare(seeds(1, 4), list(reversed(seeds(1, 4, shift=0.5)))))
    assert finding.paired
    assert finding.difference == pytest.approx(0.5)


def test_figures_without_spread_are_not_called_noise() -> None:
    a, b = seeds(1, 3), seeds(11, 3)
    more = [replace(r, totals=replace(r.totals, rounds=99)) for r in b]
    finding = of(compare(a, more), "rounds")
    assert (finding.verdict, finding.low) == ("unknown", None)


def test_settings_that_differ_are_named_by_their_path() -> None:
    a, b = made.results(), made.results(seed=2)
    changed = json.loads(b.scenario)
    changed["groups"][1]["devices"] = 30
    changed["strategy"] = {"name": "fedprox", "mu": 0.1}
    changed["hidden"] = [32, 16]
    b = replace(b, scenario=json.dumps(changed))
    assert compare(a, b).settings == (
        Setting(key="groups[street].devices", a=20, b=30),
        Setting(key="hidden", a=None, b=[32, 16]),
        Setting(key="seed", a=1, b=2),
        Setting(key="strategy.mu", a=None, b=0.1),
        Setting(key="strategy.name", a="fedavg", b="fedprox"),
    )


def test_a_run_equals_itself() -> None:
    comparison = compare(made.results(), made.results())
    assert comparison.settings == ()
    assert {f.verdict for f in comparison.findings} == {"same"}


def test_runs_in_which_nothing_came_about_can_be_compared() -> None:
    assert called(compare(made.empty(), made.empty())) == set()
    assert called(compare(made.hostile(), made.hostile())) == set()


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (made.results(), made.results(accuracy=True), "cannot be compared"),
        (seeds(1, 2), made.results(), "one of each side, or several of each"),
        ([made.results(), made.results()], seeds(1, 2), "same seed"),
        (made.results(), [], "no run of B"),
        (
            [made.results(), replace(made.results(seed=2), scenario='{"length": "1d"}')],
            seeds(1, 2),
            "runs of A differ in groups",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_in_words(
    a: Results | list[Results], b: Results | list[Results], words: str
) -> None:
    with pytest.raises(SettingsError, match=words):
        compare(a, b)


def test_it_goes_through_json() -> None:
    comparison = compare(made.results(), made.results(seed=2, shift=3))
    assert msgspec.json.decode(encode(comparison), type=Comparison) == comparison
