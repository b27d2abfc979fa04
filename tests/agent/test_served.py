from __future__ import annotations

from collections import deque
from typing import Literal

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headwater_agent.pipeline_settings import ServeSettings
from headwater_agent.served import Account, Change, Losses, Served, clip_for, served
from tests.agent.model import manifest

CLIP = 2.0
SETTINGS = ServeSettings(excess=5.0, alpha=0.05)
BOUND = SETTINGS.excess * CLIP

Model = Literal["released", "personal"]
losses = st.floats(0, 4, width=32)


def fresh() -> Served:
    return served(SETTINGS, CLIP)


def score(
    state: Served, block: int, released: float, personal: float, served: Model
) -> Change | None:
    """Score one prediction."""
    of_personal = np.array([served == "personal"])
    losses = Losses(np.array([block]), np.array([released]), np.array([personal]), of_personal)
    return next((change for _, change in state.scored(losses)), None)


def run(
    state: Served, pairs: list[tuple[float, float]], *, delay: int = 0
) -> tuple[float, int, list[str]]:
    """Predict and label with a delay; return the highest excess over its allowance, and events.

    The excess counts every served prediction whose label has come; the allowance is the bound
    plus the clip for each label that was outstanding when the personal model stopped serving.
    """
    waiting: deque[tuple[int, Model, float, float]] = deque()
    excess, worst = 0.0, 0.0
    changes: list[str] = []
    for moment, (released, personal) in enumerate(pairs):
        waiting.append((moment, state.serving, released, personal))
        if len(waiting) <= delay:
            continue
        made, model, theirs, ours = waiting.popleft()
        change = score(state, made // (delay + 1), theirs, ours, model)
        if model == "personal":
            excess += min(ours, CLIP) - min(theirs, CLIP)
        worst = max(worst, excess)
        if change:
            changes.append(change)
    return worst, delay, changes


@given(
    st.lists(st.tuples(losses, losses), max_size=300),
    st.integers(0, 12),
    st.integers(0, 40),
)
def test_on_no_stream_the_excess_is_above_the_bound_and_the_labels_outstanding(
    pairs: list[tuple[float, float]], delay: int, head_start: int
) -> None:
    state = fresh()
    proving = [(CLIP, 0.0)] * (head_start * (delay + 1))
    worst, outstanding, _ = run(state, proving + pairs, delay=delay)
    assert worst <= BOUND + CLIP * (outstanding + 1)


@given(st.integers(1, 12), st.integers(0, 10_000))
def test_an_adversary_who_sees_what_is_served_gains_no_more_than_the_bound(
    delay: int, seed: int
) -> None:
    """Whenever the personal model serves, it is as wrong as can be; otherwise it is right."""
    rng = np.random.default_rng(seed)
    state = fresh()
    waiting: deque[tuple[int, Model, float, float]] = deque()
    excess, terms = 0.0, 0
    for moment in range(1_500):
        serving = state.serving
        spite = serving == "personal" and rng.random() < 0.9
        waiting.append((moment, serving, 0.0 if spite else CLIP, CLIP if spite else 0.0))
        if len(waiting) > delay:
            made, model, theirs, ours = waiting.popleft()
            change = score(state, made // (delay + 1), theirs, ours, model)
            terms += change == "promoted"
            excess += (ours - theirs) if model == "personal" else 0.0
            assert excess <= BOUND + CLIP * (delay + 1)
    assert terms >= 1


def test_a_personal_model_that_is_better_is_promoted_and_stays() -> None:
    rng = np.random.default_rng(0)
    released = rng.uniform(0.5, 1.5, 3_000)
    pairs = [(float(r), float(0.85 * r)) for r in released]
    state = fresh()
    _, _, changes = run(state, pairs, delay=5)
    assert (changes, state.serving) == (["promoted"], "personal")


def test_a_personal_model_that_is_as_good_is_not_promoted() -> None:
    rng = np.random.default_rng(1)
    pairs = [(float(r), float(p)) for r, p in rng.uniform(0, 1, (3_000, 2))]
    state = fresh()
    _, _, changes = run(state, pairs)
    assert changes == []


def test_a_served_model_that_goes_wrong_is_replaced_by_the_release_and_reset() -> None:
    state = fresh()
    good, bad = [(1.0, 0.5)] * 400, [(1.0, 2.0)] * 400
    _, _, changes = run(state, good + bad, delay=3)
    assert changes[:2] == ["promoted", "demoted"]
    assert "reset" in changes
    assert state.serving == "released"


def test_a_loss_that_is_not_finite_counts_as_the_largest() -> None:
    state = fresh()
    state.serving = "personal"
    for block in range(20):
        score(state, block, 0.0, float("nan"), state.serving)
    assert state.account.excess <= BOUND + CLIP
    assert msgspec.structs.asdict(state)["serving"] == "released"


def test_whoever_does_not_want_the_personal_model_never_gets_it() -> None:
    state = served(ServeSettings(personal=False), CLIP)
    _, _, changes = run(state, [(2.0, 0.0)] * 500)
    assert (changes, state.serving) == ([], "released")


def test_a_corrected_label_is_booked() -> None:
    state = fresh()
    state.account.add(1.0)
    state.corrected(before=(0.0, 1.0), after=(0.5, 0.25), served="personal")
    assert state.account.excess == 0.0
    state.corrected(before=(0.0, 0.0), after=(0.5, 1.25), served="personal")
    assert state.account.excess == 0.75
    state.corrected(before=(0.0, 0.0), after=(0.0, 2.0), served="released")
    assert state.account.excess == 0.75


def test_each_term_leaves_less_of_the_bound_until_the_account_is_empty_again() -> None:
    account = Account(bound=8.0)
    limits = []
    for _ in range(4):
        limits.append(account.limit)
        account.demotions += 1
    assert limits == [4.0, 6.0, 7.0, 7.5]
    account.add(1.0)
    account.add(-1.0)
    assert (account.demotions, account.limit) == (0, 4.0)


def test_the_clip_of_a_forecast_is_a_twentieth_of_its_range_unless_it_is_set() -> None:
    forecast = manifest()
    assert clip_for(ServeSettings(), forecast) == 0.5
    assert clip_for(ServeSettings(clip=7.0), forecast) == 7.0


def test_without_a_clip_for_a_regression_the_release_serves() -> None:
    regression = msgspec.structs.replace(manifest(), task="regression", target="")
    assert clip_for(ServeSettings(), regression) == 0.0
    assert not served(ServeSettings(), 0.0).enabled


def test_a_loss_beyond_the_clip_counts_as_the_clip() -> None:
    state = fresh()
    state.serving = "personal"
    score(state, 0, 0.0, 1e9, "personal")
    assert state.account.excess == CLIP
    score(state, 0, 0.0, 1e9, "personal")
    score(state, 0, 1e9, 0.0, "personal")
    assert state.account.excess == CLIP
    state.corrected(before=(0.0, 0.0), after=(0.0, 1e9), served="personal")
    assert state.account.excess == 2 * CLIP


def test_a_demoted_model_must_prove_itself_from_nothing() -> None:
    state = fresh()
    good, bad = (2.0, 0.0), (0.0, 2.0)
    run(state, [good] * 200)
    assert state.evidence.for_first() > 1 / SETTINGS.alpha
    _, _, changes = run(state, [bad] * 3)
    assert (changes, state.serving) == (["demoted"], "released")
    assert state.evidence.for_first() < 1
    block = 10**6
    while state.serving == "released":
        score(state, block, 2.0, 0.0, "released")
        block += 1
    assert block - 10**6 > 20


def test_a_restart_keeps_what_was_served_and_what_it_cost() -> None:
    state, again = fresh(), fresh()
    run(state, [(2.0, 0.0)] * 200 + [(0.0, 1.0)] * 2)
    again.resume(state)
    assert (again.serving, again.account.excess) == ("personal", 2.0)
    assert again == state
    run(state, [(0.0, 2.0)] * 2)
    again.resume(state)
    assert (state.account.demotions, again.account) == (1, state.account)
    again.resume(fresh())
    assert (again.serving, again.account.excess) == ("released", 0.0)


def test_under_a_smaller_bound_a_restart_takes_the_personal_model_out_of_service() -> None:
    state = fresh()
    run(state, [(2.0, 0.0)] * 200 + [(0.0, 1.0)] * 2)
    again = served(ServeSettings(excess=1.5), CLIP)
    again.resume(state)
    assert (again.serving, again.account.excess) == ("released", 2.0)


def test_a_restart_goes_on_with_the_same_account_and_evidence() -> None:
    state = fresh()
    run(state, [(1.0, 0.8)] * 90)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=Served) == state


story = st.lists(
    st.tuples(st.integers(0, 2), losses, losses, st.booleans()), min_size=1, max_size=120
)


@given(story, st.integers(1, 40), st.booleans())
def test_it_makes_no_difference_how_losses_are_cut_into_calls(
    story: list[tuple[int, float, float, bool]], size: int, promoted: bool
) -> None:
    """Even where models are promoted and demoted in the middle of a call."""
    strict = msgspec.structs.replace(SETTINGS, excess=1.0, alpha=0.9)
    together, in_pieces = served(strict, CLIP), served(strict, CLIP)
    together.serving = in_pieces.serving = "personal" if promoted else "released"
    steps, released, personal, of_personal = zip(*story, strict=True)
    blocks = np.cumsum(steps)
    whole = Losses(blocks, np.array(released), np.array(personal), np.array(of_personal))
    at_once = list(together.scored(whole))
    bit_by_bit = [
        change
        for at in range(0, len(whole), size)
        for change in in_pieces.scored(whole[at : at + size], at)
    ]
    assert bit_by_bit == at_once
    assert in_pieces == together
