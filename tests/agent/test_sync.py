from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headwater_agent.events import Version
from headwater_agent.sync import MAX_TAKEN, Personal
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
    personal = Personal(version(1, (0.1, 0.2)), {})
    personal.parameters = arrays(0.37, -1.9)
    personal.take(1)
    release = version(2, (0.7, 1e-8))
    personal.rebase(release, merged=1)
    np.testing.assert_array_equal(personal.parameters["w"], release.weights["w"])


def test_what_was_learned_since_the_update_is_kept_on_top_of_the_release() -> None:
    personal = Personal(version(1), {})
    personal.parameters = arrays(1, 1)
    personal.take(1)
    personal.parameters = arrays(3, 2)
    personal.rebase(version(2, (10, 10)), merged=1)
    np.testing.assert_array_equal(personal.parameters["w"], [12, 11])


def test_a_release_without_this_devices_update_keeps_all_that_it_learned() -> None:
    personal = Personal(version(1, (1, 1)), {})
    personal.parameters = arrays(3, 2)
    personal.take(1)
    personal.rebase(version(2, (10, 10)), merged=0)
    np.testing.assert_array_equal(personal.parameters["w"], [12, 11])


def test_an_update_merged_one_release_later_is_still_taken_out() -> None:
    personal = Personal(version(1), {})
    personal.parameters = arrays(4, 4)
    personal.take(1)
    personal.rebase(version(2, (10, 10)), merged=0)
    release = version(3, (16, 16))
    personal.rebase(release, merged=1)
    np.testing.assert_array_equal(personal.parameters["w"], release.weights["w"])


def test_the_optimiser_state_survives_a_release() -> None:
    personal = Personal(version(1), arrays(5, 6))
    personal.rebase(version(2, (1, 1)), merged=0)
    np.testing.assert_array_equal(personal.state["w"], [5, 6])


def test_only_the_newest_moments_of_taking_are_remembered() -> None:
    personal = Personal(version(1), {})
    for sequence in range(1, 30):
        personal.take(sequence)
    assert len(personal.taken) == MAX_TAKEN
    assert max(personal.taken) == 29


@given(steps)
def test_the_personal_model_is_the_release_plus_what_it_has_not_given_yet(
    story: list[tuple[str, float]],
) -> None:
    """Against a bookkeeper that adds up steps: halves and small integers are exact in float32."""
    personal = Personal(version(1), {})
    release, own = np.zeros(2), np.zeros(2)
    given_away: dict[int, np.ndarray[tuple[int, ...], np.dtype[np.float64]]] = {}
    sequence = merged = 0
    for what, number in story:
        step = round(number)
        if what == "learn":
            personal.parameters = {"w": (personal.parameters["w"] + step).astype(np.float32)}
            own = own + step
        elif what == "take":
            sequence += 1
            personal.take(sequence)
            given_away[sequence] = own.copy()
        elif sequence - merged < MAX_TAKEN:
            contained = sequence if step % 2 else merged
            if contained > merged:
                given = given_away[contained]
                own = own - given
                given_away = {s: g - given for s, g in given_away.items() if s > contained}
                merged = contained
            release = np.full(2, float(step))
            personal.rebase(Version("v", 2, {"w": release.astype(np.float32)}), merged)
        np.testing.assert_array_equal(personal.parameters["w"], release + own)
