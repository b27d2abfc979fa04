"""The NAB case: seven series with known causes, by Numenta's own scoring.

As in the benchmark, one detector with one set of settings goes through each series once, the first
15 % of it (at most 750 rows) being free to learn from, and for each profile the one threshold that
scores highest on the whole corpus is taken. The benchmark charges every row of a false alarm, so a
detector speaks once in an episode: a row's score counts only where it is the highest for a while.

Ours is a model fitted to the free rows, whose scores the agent's threshold turns into rarities,
which mean the same on every stream. River's half-space trees are given the same values, and speak
as seldom; once with their own score and once behind our threshold.

Settings and thresholds chosen on what is scored flatter every detector. Two stricter figures stand
beside: with both chosen for each series on the other six, and with the threshold that a device
sets without labels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.detector import Fit, footprint, judge, scores, specification
from benchmarks.nab_scoring import Profile, Series, best, read_profiles, read_series, score_at
from benchmarks.report import Figure, Report, report, spread
from headwater_agent.threshold import Threshold
from headwater_agent.threshold_settings import ThresholdSettings
from headwater_models.graphs.builders import build
from headwater_models.session import initial_state

Floats = NDArray[np.float64]

DISTANCE = Fit(window=1, hidden=(1,), epochs=0)
STEP = Fit(window=2, hidden=(1,), epochs=20)
SHAPE = Fit(window=10, hidden=(3,), epochs=20)
FITS = (DISTANCE, STEP, SHAPE)
SMOOTHINGS = (1, 10)
MEMORIES = (2_000, 10_000)

PATIENCE = 200
WARM_UP = 100
EPISODE = 400
"""Rows for which a detection speaks, unless a higher score comes."""

TREE_WINDOWS = (1, 10)
"""Values that river's trees, with their defaults, are shown at a time."""

STANDARD = "standard"
QUICK_SERIES = 2
PACKAGES = ("headwater", "onnxruntime", "numpy", "river")


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is chosen: the model, and how its threshold looks back."""

    fit: Fit
    smoothing: int
    memory: int

    @property
    def threshold(self) -> ThresholdSettings:
        """The settings of the threshold, with the agent's own risk."""
        return ThresholdSettings(
            smoothing=self.smoothing, memory=self.memory, patience=PATIENCE, warm_up=WARM_UP
        )


CANDIDATES = tuple(Candidate(*values) for values in product(FITS, SMOOTHINGS, MEMORIES))
CHOSEN = Candidate(DISTANCE, smoothing=1, memory=10_000)


@dataclass(frozen=True, slots=True, eq=False)
class Corpus:
    """Series and profiles."""

    series: tuple[Series, ...]
    profiles: dict[str, Profile]


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """Scores of one detector: by profile as in the benchmark, and for the standard one held out."""

    profiles: dict[str, float]
    held_out: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Of one seed: the detectors, ours with its own threshold, and the bytes kept of a stream."""

    ours: Marks
    trees: Marks
    trees_behind_ours: Marks
    chance: Marks
    unlabelled: float
    bytes_ours: int
    bytes_trees: int


def read(folder: Path) -> Corpus:
    """Read the corpus."""
    return Corpus(read_series(folder), read_profiles(folder))


def shorten(corpus: Corpus) -> Corpus:
    """Return the two shortest series."""
    by_length = sorted(corpus.series, key=lambda one: len(one.values))
    return Corpus(tuple(by_length[:QUICK_SERIES]), corpus.profiles)


def run(corpus: Corpus, seed: int) -> Outcome:
    """Let every detector go through every series; the seed decides all that is random."""
    rng = np.random.default_rng(seed)
    found = {fit: [_scores(one, fit, rng) for one in corpus.series] for fit in FITS}
    spoken = {one: [_spoken(own, one) for own in found[one.fit]] for one in CANDIDATES}
    grown = [[_tree_scores(one, window, seed) for one in corpus.series] for window in TREE_WINDOWS]
    chance = [rng.random(len(one.values)) for one in corpus.series]
    digits = -math.log10(CHOSEN.threshold.risk)
    return Outcome(
        ours=marks(corpus, list(spoken.values()), spoken[CHOSEN]),
        trees=marks(corpus, [[episodes(own) for own, _ in one] for one in grown]),
        trees_behind_ours=marks(
            corpus, [[_spoken(own, CHOSEN) for own, _ in one] for one in grown]
        ),
        chance=marks(corpus, [chance]),
        unlabelled=score_at(corpus.series, spoken[CHOSEN], corpus.profiles[STANDARD], digits),
        bytes_ours=_bytes(corpus.series[0], found[CHOSEN.fit][0]),
        bytes_trees=grown[0][0][1],
    )


def marks(
    corpus: Corpus, tried: Sequence[Sequence[Floats]], chosen: Sequence[Floats] | None = None
) -> Marks:
    """Score a detector.

    Parameters
    ----------
    tried
        For each candidate the scores ``[R]`` of each series.
    chosen
        Those of the candidate that counts; by default the best one for each profile.
    """
    counted = tried if chosen is None else [chosen]
    return Marks(
        profiles={
            name: max(best(corpus.series, one, profile)[1] for one in counted)
            for name, profile in corpus.profiles.items()
        },
        held_out=held_out(corpus.series, tried, corpus.profiles[STANDARD]),
    )


def episodes(score: Floats) -> Floats:
    """Return the scores ``[R]`` that are the highest of the last rows, and 0 for the others."""
    early = np.full(EPISODE, -np.inf)
    before = np.lib.stride_tricks.sliding_window_view(np.concatenate([early, score]), EPISODE)
    return np.where(score > before[: len(score)].max(axis=1), score, 0.0)


def held_out(
    series: Sequence[Series], tried: Sequence[Sequence[Floats]], profile: Profile
) -> float:
    """Return the score with candidate and threshold chosen, for each series, on the others."""
    total = 0.0
    for number, own in enumerate(series):
        others = [*series[:number], *series[number + 1 :]]
        found = [best(others, [*one[:number], *one[number + 1 :]], profile) for one in tried]
        at = max(range(len(tried)), key=lambda i: found[i][1])
        mark = score_at([own], [tried[at][number]], profile, found[at][0])
        total += mark * len(own.windows)
    return total / sum(len(one.windows) for one in series)


def summary(outcomes: Sequence[Outcome]) -> Report:
    """Put the figures together: means over seeds with their spread."""
    figures: dict[str, float | Figure] = {}
    for name in outcomes[0].ours.profiles:
        ours = [one.ours.profiles[name] for one in outcomes]
        trees = [one.trees.profiles[name] for one in outcomes]
        figures |= spread(f"score_{name}", ours) | spread(f"score_{name}_trees", trees)
        figures[f"score_{name}"] = _beside_trees(fmean(ours), fmean(trees))
    behind = [one.trees_behind_ours.profiles[STANDARD] for one in outcomes]
    figures |= {
        **spread("score_held_out", [one.ours.held_out for one in outcomes]),
        **spread("score_held_out_trees", [one.trees.held_out for one in outcomes]),
        **spread("score_unlabelled", [one.unlabelled for one in outcomes]),
        **spread("score_trees_behind_our_threshold", behind),
        **spread("score_chance", [one.chance.profiles[STANDARD] for one in outcomes]),
        "state": _state(outcomes[0]),
        "seeds": float(len(outcomes)),
    }
    return report("accuracy nab", PACKAGES, figures)


def _beside_trees(ours: float, trees: float) -> Figure:
    ratio = ours / trees if trees > 0 else math.inf
    peers = {"half_space_trees": trees}
    return Figure(ours=ours, peers=peers, ratio=ratio, unit="points", better="higher")


def _state(outcome: Outcome) -> Figure:
    return Figure(
        ours=float(outcome.bytes_ours),
        peers={"half_space_trees": float(outcome.bytes_trees)},
        ratio=outcome.bytes_trees / outcome.bytes_ours,
        unit="bytes",
        better="lower",
    )


def _scores(series: Series, fit: Fit, rng: np.random.Generator) -> Floats:
    return scores(series.values[:, np.newaxis], series.learning, fit, rng)


def _spoken(found: Floats, candidate: Candidate) -> Floats:
    return episodes(judge(found, candidate.threshold).rarity)


def _tree_scores(series: Series, window: int, seed: int) -> tuple[Floats, int]:
    """Return river's scores ``[R]`` of the last *window* values, and the bytes of its state.

    Its limits are the smallest and the largest value of the whole series, which the benchmark
    tells every detector.
    """
    from river.anomaly import HalfSpaceTrees  # noqa: PLC0415 - costs 90 MB and a second

    limits = (float(series.values.min()), float(series.values.max()))
    trees: Any = HalfSpaceTrees(seed=seed, limits=dict.fromkeys(range(window), limits))
    early = np.full(window - 1, series.values[0])
    views = np.lib.stride_tricks.sliding_window_view(np.concatenate([early, series.values]), window)
    found = np.empty(len(views))
    for number, view in enumerate(views.tolist()):
        row = dict(enumerate(view))
        found[number] = trees.score_one(row)
        trees.learn_one(row)
    return found, footprint(trees)


def _bytes(series: Series, found: Floats) -> int:
    """Return the bytes of what a device keeps of a stream, in the measure of the trees' state.

    Weights, optimiser state, the window's rows and the threshold; not the graphs, which all
    streams share, nor ONNX Runtime.
    """
    built = build(
        specification(series.values[: series.learning, np.newaxis], CHOSEN.fit),
        np.random.default_rng(0),
    )
    window = np.zeros((built.manifest.window, len(built.manifest.channels)), np.float32)
    threshold = Threshold(CHOSEN.threshold)
    for score in found.tolist():
        threshold.update(score)
    return footprint(built.weights, initial_state(built.manifest), window, threshold)
