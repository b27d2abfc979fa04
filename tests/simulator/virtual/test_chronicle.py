"""What is written down is what happened, round by round and device by device."""

from __future__ import annotations

from typing import Any

from headwater_coordinator import events as e
from headwater_coordinator.state import Version
from headwater_simulator.report.results import Presence, Release
from headwater_simulator.virtual.chronicle import NEWEST, Chronicle


def close(number: int, outcome: Any = "merged") -> e.Close:
    return e.Close(
        round=number, asked=5, accepted=2, refused=1, declined=1, failed=1, outcome=outcome
    )


def refuse(node: str, kind: str = "Update", reason: str = "too long") -> e.Refuse:
    return e.Refuse(node, node, "ask", kind, reason)


def test_a_round_is_told_from_its_opening_to_its_outcome() -> None:
    chronicle = Chronicle()

    chronicle.opened(1, 4, now=10)
    for staleness in (0, 3):
        chronicle.accepted("one", 1, staleness)
    chronicle.weighed(1, 100)
    chronicle.weighed(1, 50)
    (opened,) = chronicle.rounds
    chronicle.closed(close(1), now=90)
    chronicle.judged(1, "released", "better")
    (told,) = chronicle.rounds

    assert (opened.outcome, opened.closed_ms, opened.asked) == ("open", None, 4)
    assert (told.number, told.opened_ms, told.closed_ms, told.asked) == (1, 10, 90, 5)
    assert (told.accepted, told.refused, told.declined, told.failed) == (2, 1, 1, 1)
    assert (told.staleness_mean, told.staleness_max, told.bytes_up) == (1.5, 3, 150)
    assert (told.outcome, told.words) == ("released", "better")
    assert chronicle.devices["one"].updates == 2


def test_rounds_stand_beside_each_other_and_refused_candidates_are_counted() -> None:
    chronicle = Chronicle()
    for number in (1, 2, 3):
        chronicle.opened(number, 0, now=number)
    chronicle.closed(close(1, "void"), now=5)
    chronicle.judged(2, "refused", "worse")

    assert [one.outcome for one in chronicle.rounds] == ["void", "refused", "open"]
    assert chronicle.refused_candidates == 1


def test_what_belongs_to_no_round_counts_for_its_device_alone() -> None:
    chronicle = Chronicle()

    chronicle.accepted("one", 7, 0)
    chronicle.weighed(7, 100)

    assert chronicle.rounds == ()
    assert chronicle.devices["one"].updates == 1


def test_refused_updates_are_kept_with_who_sent_them_and_other_answers_are_not() -> None:
    chronicle = Chronicle()
    chronicle.devices["bad"].attack = "zero"

    chronicle.refused(refuse("bad"), now=1)
    chronicle.refused(refuse("good"), now=2)
    chronicle.refused(refuse("good", "Evaluated"), now=3)

    assert [(one.device, one.attacks, one.time_ms) for one in chronicle.refusals] == [
        ("bad", True, 1),
        ("good", False, 2),
    ]
    assert (chronicle.devices["bad"].refused, chronicle.devices["good"].refused) == (1, 1)


def test_only_the_newest_refusals_are_kept_and_all_are_counted() -> None:
    chronicle = Chronicle()

    for now in range(NEWEST + 5):
        chronicle.refused(refuse("one"), now)

    assert [one.time_ms for one in chronicle.refusals] == list(range(5, NEWEST + 5))
    assert chronicle.devices["one"].refused == NEWEST + 5


def test_releases_have_their_round_and_moment() -> None:
    chronicle = Chronicle()

    chronicle.released(Version("abc", 4, "", ""), 3, "better", now=9)

    assert chronicle.releases == [
        Release(sequence=4, version="abc", time_ms=9, round=3, words="better")
    ]


def test_presence_is_told_once_for_each_moment() -> None:
    chronicle = Chronicle()

    chronicle.came("one", 0)
    chronicle.came("two", 0)
    chronicle.worked(1, 5)
    chronicle.went("one", 8)
    chronicle.worked(-1, 8)

    assert chronicle.presence == [
        Presence(time_ms=0, online=2, training=0),
        Presence(time_ms=5, online=2, training=1),
        Presence(time_ms=8, online=1, training=0),
    ]


def test_who_will_be_at_work_may_be_known_before_and_is_not_there_after_the_end() -> None:
    chronicle = Chronicle()

    chronicle.worked(1, 7)
    chronicle.worked(-1, 12)
    chronicle.came("one", 5)
    chronicle.ended(10)

    assert chronicle.presence == [
        Presence(time_ms=5, online=1, training=0),
        Presence(time_ms=7, online=1, training=1),
    ]


def test_time_online_is_summed_up_and_nobody_goes_when_the_run_ends() -> None:
    chronicle = Chronicle()

    for came, went in ((0, 10), (20, 25)):
        chronicle.came("one", came)
        chronicle.went("one", went)
    chronicle.came("one", 40)
    chronicle.came("two", 41)
    chronicle.ended(50)
    chronicle.ended(60)

    assert chronicle.devices["one"].online_ms == 25
    assert chronicle.devices["two"].online_ms == 9
    assert chronicle.presence[-1] == Presence(time_ms=41, online=2, training=0)


def test_incidents_are_kept_in_words() -> None:
    chronicle = Chronicle()

    chronicle.happened("Outage of all begins.", 5)

    assert [(one.time_ms, one.words) for one in chronicle.incidents] == [
        (5, "Outage of all begins.")
    ]
