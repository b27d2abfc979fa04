from __future__ import annotations

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headwater_agent.events import Version
from headwater_agent.sync import MAX_TAKEN, Branch, SavedBranch
from tests.agent.model import arrays, version

numbers = st.floats(-8, 8, width=16)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("learn"), numbers),
        st.tuples(st.just("take"), numbers),
        st.tuples(st.just("release"), numbers),
    ),
    max_size=25,
)


def test_nothing_learned_since_the_update_means_exactly_the_release() -> None:
    personal = Branch(version(1, (0.1, 0.2)), {})
    personal.parameters = arrays(0.37, -1.9)
    personal.take(1)
    release = version(2, (0.7, 1e-8))
    personal.rebase(release, merged=1)
    np.testing.assert_array_equal(personal.parameters["w"], release.weights["w"])


def test_what_was_learned_since_the_update_is_kept_on_top_of_the_release() -> None:
    personal = Branch(version(1), {})
    personal.parameters = arrays(1, 1)
    personal.take(1)
    personal.parameters = arrays(3, 2)
    personal.rebase(version(2, (10, 10)), merged=1)
    np.testing.assert_array_equal(personal.parameters["w"], [12, 11])


def test_a_release_without_this_devices_update_keeps_all_that_it_learned() -> None:
    personal = Branch(version(1, (1, 1)), {})
    personal.parameters = arrays(3, 2)
    personal.take(1)
    personal.rebase(version(2, (10, 10)), merged=0)
    np.testing.assert_array_equal(personal.parameters["w"], [12, 11])


def test_an_update_merged_one_release_later_is_still_taken_out() -> None:
    personal = Branch(version(1), {})
    personal.parameters = arrays(4, 4)
    personal.take(1)
    personal.rebase(version(2, (10, 10)), merged=0)
    release = version(3, (16, 16))
    personal.rebase(release, merged=1)
    np.testing.assert_array_equal(personal.parameters["w"], release.weights["w"])


def test_the_optimiser_state_survives_a_release() -> None:
    personal = Branch(version(1), arrays(5, 6))
    personal.rebase(version(2, (1, 1)), merged=0)
    np.testing.assert_array_equal(personal.state["w"], [5, 6])


def test_only_the_newest_moments_of_taking_are_remembered() -> None:
    personal = Branch(version(1), {})
    for sequence in range(1, 30):
        personal.take(sequence)
    assert len(personal.taken) == MAX_TAKEN
    assert max(personal.taken) == 29


def test_a_local_array_is_moved_by_no_release() -> None:
    start = Version("v", 1, {"w": np.zeros(2, np.float32), "own": np.zeros(1, np.float32)})
    personal = Branch(start, {}, local=frozenset({"own"}))
    learned = {"w": np.ones(2, np.float32), "own": np.full(1, 7, np.float32)}
    personal.trained(learned, {}, 10)
    personal.take(1)
    arrived = {"w": np.full(2, 5, np.float32), "own": np.full(1, -1, np.float32)}
    personal.rebase(Version("r", 2, arrived), merged=1)
    np.testing.assert_array_equal(personal.parameters["w"], [5, 5])
    np.testing.assert_array_equal(personal.parameters["own"], [7])


def test_a_contribution_starts_its_optimiser_again_with_each_release() -> None:
    contribution = Branch(version(1), arrays(0, 0), keeps_state=False)
    contribution.trained(arrays(1, 1), arrays(5, 6), 16)
    contribution.rebase(version(2, (1, 1)), merged=0)
    np.testing.assert_array_equal(contribution.state["w"], [0, 0])


def test_a_reset_forgets_all_that_was_learned_here() -> None:
    personal = Branch(version(1), arrays(0, 0))
    personal.trained(arrays(1, 1), arrays(5, 6), 16)
    personal.take(1)
    personal.reset(version(2, (3, 4)))
    np.testing.assert_array_equal(personal.parameters["w"], [3, 4])
    np.testing.assert_array_equal(personal.state["w"], [0, 0])
    assert (personal.taken, personal.examples) == ({}, 0)


@given(steps)
def test_a_restart_goes_on_where_the_branch_was(story: list[tuple[str, float]]) -> None:
    branch, again = Branch(version(1), arrays(0, 0)), Branch(version(1), arrays(0, 0))
    for sequence, (what, number) in enumerate(story):
        step = np.float32(round(number))
        for one in (branch, again):
            if what == "learn":
                one.trained({"w": one.parameters["w"] + step}, {"w": one.state["w"] + step}, 1)
            elif what == "take":
                one.take(sequence)
            else:
                one.rebase(version(2, (float(step), 0)), merged=sequence - round(number))
        saved = msgspec.msgpack.decode(msgspec.msgpack.encode(again.save()), type=SavedBranch)
        again = Branch(version(1), arrays(0, 0))
        again.restore(saved)
    assert again.save() == branch.save()


@given(steps)
def test_the_personal_model_is_the_release_plus_what_it_has_not_given_yet(
    story: list[tuple[str, float]],
) -> None:
    """Against a bookkeeper that adds up steps: halves and small integers are exact in float32."""
    personal = Branch(version(1), {})
    release, own = np.zeros(2), np.zeros(2)
    given_away: dict[int, tuple[np.ndarray[tuple[int, ...], np.dtype[np.float64]], int]] = {}
    sequence = merged = learned = 0
    for what, number in story:
        step = round(number)
        if what == "learn":
            moved = {"w": (personal.parameters["w"] + step).astype(np.float32)}
            personal.trained(moved, {}, examples=3)
            own, learned = own + step, learned + 3
        elif what == "take":
            sequence += 1
            personal.take(sequence)
            given_away[sequence] = (own.copy(), learned)
        elif sequence - merged < MAX_TAKEN:
            contained = sequence if step % 2 else merged
            if contained > merged:
                given, count = given_away[contained]
                own, learned = own - given, learned - count
                given_away = {
                    s: (g - given, c - count) for s, (g, c) in given_away.items() if s > contained
                }
                merged = contained
            release = np.full(2, float(step))
            personal.rebase(Version("v", 2, {"w": release.astype(np.float32)}), merged)
        np.testing.assert_array_equal(personal.parameters["w"], release + own)
        assert personal.examples == learned


class Fleet:
    """Three devices and a coordinator that adds up their updates, in numbers that stay exact.

    An update may be merged when its base contains all of its device that was merged so far.
    """

    def __init__(self) -> None:
        self.releases = [(0.0, (0, 0, 0))]
        self.devices = [Branch(self._version(0), {}, keeps_state=False) for _ in range(3)]
        self.heard, self.sequences = [0, 0, 0], [0, 0, 0]
        self.sent: list[tuple[int, float, int] | None] = [None, None, None]
        self.learned = 0.0

    def learn(self, who: int, step: int) -> None:
        branch = self.devices[who]
        branch.trained({"w": branch.parameters["w"] + np.float32(step)}, {}, 1)
        self.learned += step

    def send(self, who: int) -> None:
        branch = self.devices[who]
        self.sequences[who] += 1
        branch.take(self.sequences[who])
        change = float((branch.parameters["w"] - branch.anchor["w"])[0])
        self.sent[who] = (self.sequences[who], change, self.heard[who])

    def merge(self, who: int) -> None:
        weights, contained = self.releases[-1]
        update, self.sent[who] = self.sent[who], None
        if update is None:
            return
        sequence, change, base = update
        if self.releases[base][1][who] == contained[who]:
            merged = tuple(sequence if d == who else c for d, c in enumerate(contained))
            self.releases.append((weights + change, (merged[0], merged[1], merged[2])))

    def hear(self, who: int, *, late: int = 0) -> None:
        known = len(self.releases) - 1 - late
        if known > self.heard[who]:
            self.devices[who].rebase(self._version(known), self.releases[known][1][who])
            self.heard[who] = known

    def _version(self, number: int) -> Version:
        weights = {"w": np.array([self.releases[number][0]], np.float32)}
        return Version(f"v{number}", number, weights)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.sampled_from(["learn", "learn", "send", "merge", "merge", "lose", "hear", "late"]),
            st.integers(-4, 4),
        ),
        max_size=40,
    )
)
def test_what_devices_learned_is_merged_once_whatever_is_lost_late_or_repeated(
    story: list[tuple[int, str, int]],
) -> None:
    fleet = Fleet()
    for who, what, step in story:
        if what == "learn":
            fleet.learn(who, step)
        elif what == "send" and fleet.sequences[who] < MAX_TAKEN:
            fleet.send(who)
        elif what == "merge":
            fleet.merge(who)
        elif what == "lose":
            fleet.sent[who] = None
        elif what in ("hear", "late"):
            fleet.hear(who, late=what == "late")
    for who in range(3):
        fleet.hear(who)
        fleet.send(who)
        fleet.merge(who)
    for who in range(3):
        fleet.hear(who)
        release = fleet.releases[-1][0]
        np.testing.assert_array_equal(fleet.devices[who].parameters["w"], [release])
    assert fleet.releases[-1][0] == fleet.learned
