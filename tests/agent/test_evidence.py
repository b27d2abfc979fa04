from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_agent.evidence import Evidence

PROOF = 20.0


def add(evidence: Evidence, blocks: Iterable[int], differences: Iterable[float]) -> None:
    evidence.add(np.fromiter(blocks, np.int64), np.fromiter(differences, np.float64))


def highest(
    differences: np.ndarray[tuple[int, ...], np.dtype[np.float64]], per_block: int
) -> float:
    """The most evidence that anyone saw who looked after every difference."""
    evidence, most = Evidence(), 0.0
    for i, difference in enumerate(differences):
        add(evidence, [i // per_block], [float(difference)])
        most = max(most, evidence.for_first())
    return most


def test_no_evidence_without_a_difference() -> None:
    assert Evidence().for_first() <= 0.5
    assert highest(np.zeros(500), 1) <= 1.0


def test_a_small_but_lasting_advantage_is_proved() -> None:
    rng = np.random.default_rng(0)
    assert highest(0.05 + 0.2 * rng.standard_normal(3_000), 4) >= PROOF


def test_an_advantage_that_begins_late_is_proved_all_the_same() -> None:
    rng = np.random.default_rng(1)
    bad = -0.3 + 0.2 * rng.standard_normal(1_000)
    good = 0.15 + 0.2 * rng.standard_normal(3_000)
    assert highest(bad, 4) < 1
    assert highest(np.concatenate([bad, good]), 4) >= PROOF


def test_equal_forecasters_are_told_apart_in_at_most_one_stream_of_twenty() -> None:
    rng = np.random.default_rng(2)
    streams = [rng.uniform(-1, 1, 600) for _ in range(200)]
    assert sum(highest(stream, 3) >= PROOF for stream in streams) <= 200 / PROOF


def test_labels_that_overlap_give_no_false_proof() -> None:
    """Each outcome counts in the six predictions that waited for it: what a horizon does."""
    rng = np.random.default_rng(3)
    proved = 0
    for _ in range(200):
        noise = rng.uniform(-1, 1, 606)
        overlapping = np.convolve(noise, np.full(6, 1 / 6), mode="valid")[:600]
        proved += highest(overlapping, 6) >= PROOF
    assert proved <= 200 / PROOF


def paired(outcomes: Iterable[float], apart: int = 1) -> Iterator[Evidence]:
    """Each outcome decides two neighbouring blocks, for its label was late for both.

    Yields the evidence after each outcome; ``apart`` is the distance of neighbouring numbers.
    """
    evidence = Evidence()
    add(evidence, [0], [0.0])
    for i, outcome in enumerate(outcomes):
        for block in (2 * i + 1, 2 * i + 2):
            add(evidence, [apart * block], [outcome])
        yield evidence


def false_promotions(alpha: float, *, apart: int, repetitions: int = 300) -> float:
    """How often fair coins, each counted twice, are taken for proof within 35 of them.

    Coins that fall well nine times out of ten are thrown instead, and each stream weighted by how
    much rarer it is with fair ones, so that a few hundred streams tell a rate of one in a million.
    """
    rng = np.random.default_rng(4)
    rate = 0.0
    for _ in range(repetitions):
        well = rng.random(35) < 0.9
        for count, evidence in enumerate(paired(np.where(well, 1.0, -1.0).tolist(), apart), 1):
            if evidence.for_first() >= 1 / alpha:
                weights = np.where(well[:count], 0.5 / 0.9, 0.5 / 0.1)
                rate += float(weights.prod()) / repetitions
                break
    return rate


def test_labels_that_are_late_for_two_blocks_would_prove_too_much_in_one_account() -> None:
    alpha = 1e-6
    assert false_promotions(alpha, apart=1) <= alpha
    assert false_promotions(alpha, apart=2) > 3 * alpha  # only even blocks: all in one account


def test_a_run_of_luck_is_no_more_evidence_than_it_is_rare() -> None:
    """Evidence that fair coins reach with probability p is at most 1/p, whatever p is."""
    for count, evidence in enumerate(paired([1.0] * 60)):
        assert evidence.for_first() <= 2.0**count


def test_the_evidence_expected_of_equal_forecasters_is_at_most_one() -> None:
    """Over all ways in which eight fair coins can fall; the highest wealth alone is above it."""
    total = 0.0
    for fallen in product((1.0, -1.0), repeat=8):
        evidence = Evidence()
        for block, difference in enumerate([0.0, *fallen, 0.0]):
            add(evidence, [block], [difference])
        total += evidence.for_first()
    assert total / 2**8 <= 1


def test_a_difference_of_a_block_that_is_over_does_not_count() -> None:
    evidence = Evidence()
    for block in (0, 1, 2):
        add(evidence, [block], [0.5])
    before = msgspec.structs.asdict(evidence)
    add(evidence, [1], [1.0])
    assert msgspec.structs.asdict(evidence) == before


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(-2, 2)), max_size=60))
def test_evidence_is_finite_and_survives_its_encoding(story: list[tuple[int, float]]) -> None:
    evidence = Evidence()
    for block, difference in sorted(story):
        add(evidence, [block], [difference])
        again = msgspec.msgpack.decode(msgspec.msgpack.encode(evidence), type=Evidence)
        assert again == evidence
        assert 0 <= evidence.for_first() < np.inf


blocks = st.integers(0, 50) | st.integers(0, 5)


@given(st.lists(st.tuples(blocks, st.floats(-2, 2)), max_size=60), st.integers(1, 40))
def test_it_makes_no_difference_how_differences_are_cut_into_calls(
    story: list[tuple[int, float]], size: int
) -> None:
    together, in_pieces = Evidence(), Evidence()
    blocks, differences = [block for block, _ in story], [difference for _, difference in story]
    add(together, blocks, differences)
    for at in range(0, len(story), size):
        add(in_pieces, blocks[at : at + size], differences[at : at + size])
    assert in_pieces == together


@given(st.lists(st.floats(-1, 1), max_size=40))
def test_what_speaks_for_the_one_speaks_against_the_other(differences: list[float]) -> None:
    ours, theirs = Evidence(), Evidence()
    add(ours, range(len(differences)), differences)
    add(theirs, range(len(differences)), [-difference for difference in differences])
    assert (ours.for_first(), ours.for_second()) == (theirs.for_second(), theirs.for_first())


def test_a_hopeless_forecaster_is_bet_on_for_as_long_as_it_takes() -> None:
    evidence = Evidence()
    add(evidence, range(100_000), [-1.0] * 100_000)
    assert evidence.for_first() <= 0.6
    assert evidence.for_second() > PROOF


def test_a_copy_goes_on_apart() -> None:
    evidence = Evidence()
    add(evidence, range(9), [0.5] * 9)
    before = msgspec.msgpack.encode(evidence)
    add(evidence.copy(), range(9, 20), [0.5] * 11)
    assert msgspec.msgpack.encode(evidence) == before


def test_it_goes_on_with_the_wealth_that_an_older_program_kept() -> None:
    rng = np.random.default_rng(5)
    differences = (0.05 + 0.2 * rng.standard_normal(300)).clip(-1, 1).tolist()
    now = Evidence()
    add(now, range(200), differences[:200])
    block, reference, count, total, *bets = msgspec.structs.astuple(now)
    kept = [(bet.blocks, wealth_of(bet.logs, bet.won), bet.highest) for bet in bets]
    older = msgspec.convert([block, reference, count, total, *kept], Evidence)
    for evidence in (now, older):
        add(evidence, range(200, 300), differences[200:])
    assert older.for_first() == pytest.approx(now.for_first(), rel=1e-9)
    assert older.for_first() > 1


def wealth_of(lost: bytes, won: bytes) -> bytes:
    return (np.frombuffer(lost).reshape(-1, 2, 6) + np.frombuffer(won).reshape(2, 6)).tobytes()
