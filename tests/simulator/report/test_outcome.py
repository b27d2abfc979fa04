"""Three sentences say what a run came to, whatever it came to."""

from __future__ import annotations

from msgspec.structs import replace

from headwater_simulator.report.outcome import outcome
from headwater_simulator.report.results import Group, Totals
from tests.simulator.report import made


def group(name: str, gained: int, lost: int) -> Group:
    return replace(made.results().groups[0], name=name, gained=gained, lost=lost, even=0)


def test_the_first_says_what_the_fleet_learned() -> None:
    run = made.results(accuracy=True)
    first, last = (replace(run.curve[i], loss=loss, accuracy=a) for i, loss, a in
                   ((0, 40.0, 0.5), (-1, 30.0, 0.75)))  # fmt: skip
    said = outcome(replace(run, curve=(first, last), unit="kW"))[0]
    assert said == (
        f"From the first model to release {last.sequence} the loss fell from 40 to 30 kW (25 % "
        "less), the accuracy went from 50 % to 75 %; the baseline's is 31.5 kW."
    )
    assert (
        "rose from 30 to 40 kW (33.3 % more)"
        in (outcome(replace(run, curve=(last, first), unit="kW"))[0])
    )


def test_a_fleet_that_released_nothing_stayed_with_its_first_model() -> None:
    run = made.results()
    said = outcome(replace(run, curve=run.curve[:1]))[0]
    assert said.startswith("The fleet stayed with its first model, whose loss is ")


def test_the_second_counts_who_gained_and_who_lost_and_names_the_groups_that_lost() -> None:
    run = replace(made.results(), groups=(group("roof", 1, 0), group("street", 2, 5)))
    assert outcome(run)[1] == (
        "Of 8 devices that can be judged, 3 (37.5 %) do better with the last release than by "
        "learning alone, 5 worse, and 0 about as well; more lose than gain in street."
    )


def test_the_third_says_what_was_refused_of_attackers_and_of_others() -> None:
    run = made.results()
    judged = sum(attack.refused + attack.accepted for attack in run.attacks)
    others = run.totals.updates_accepted + run.totals.updates_refused - judged
    assert outcome(run)[2] == (
        "The gate refused 3 of 18 candidates; the firewall refused 21 of 25 updates of attackers, "
        f"and 3 of {others} of other devices."
    )


def test_without_attackers_it_says_so() -> None:
    totals = Totals(releases=1, updates_accepted=9, updates_refused=1)
    said = outcome(replace(made.results(), attacks=(), totals=totals))[2]
    assert said == (
        "The gate refused 0 of 1 candidate, and the firewall 1 of 10 updates; no device attacked."
    )


def test_nothing_is_said_of_what_did_not_come_about() -> None:
    learned, gained, _ = outcome(made.empty())
    assert learned.startswith("No release was measured")
    assert gained.startswith("No device has rows enough")
