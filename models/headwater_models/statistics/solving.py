"""From statistics to the head that they determine."""

from __future__ import annotations

import numpy as np

from headwater.errors import BundleError, UnsupportedError
from headwater_models.arrays import Arrays, Statistics
from headwater_models.manifest import Manifest
from headwater_models.statistics.learner import Learner, exact
from headwater_models.statistics.naive_bayes import NaiveBayes
from headwater_models.statistics.ridge import Ridge


def learners() -> dict[str, Learner]:
    """Return each learner of statistics by the name it has in the manifest."""
    return {"ridge": Ridge(), "naive_bayes": NaiveBayes()}


def learner_of(manifest: Manifest) -> Learner:
    """Return the learner of a model.

    Raises
    ------
    UnsupportedError
        When the model learns by gradients, or this program does not know its learner.
    """
    known = learners()
    if manifest.learner not in known:
        raise UnsupportedError(
            f"Model {manifest.name} learns by {manifest.learner}; statistics are for the learners "
            f"{' and '.join(known)}."
        )
    return known[manifest.learner]


def solve(manifest: Manifest, statistics: Statistics, start: Arrays | None = None) -> Arrays:
    """Return the head that follows from statistics.

    Parameters
    ----------
    statistics
        Of one device, or merged (see :func:`.merging.merge`).
    start
        A head to stay near to, as a device does that refines the released one by what it has seen
        itself; the manifest's ``ridge`` says how near. None: near to knowing nothing.

    Returns
    -------
    dict
        float32, the ``solved`` arrays by name.

    Raises
    ------
    UnsupportedError
        When there is no example, the result is not finite, or the learner is none of statistics.
    """
    learner = learner_of(manifest)
    if learner.count(statistics) <= 0:
        raise UnsupportedError(f"Nothing was gathered for model {manifest.name}; gather first.")
    with np.errstate(over="ignore"):
        head = learner.solve(manifest, statistics, None if start is None else exact(start))
        solved = {name: value.astype(np.float32) for name, value in head.items()}
    if not all(np.isfinite(value).all() for value in solved.values()):
        raise UnsupportedError(
            f"The head of model {manifest.name} that follows from its statistics is not finite; "
            "give the model a larger ridge."
        )
    return solved


def mean_loss(manifest: Manifest, statistics: Statistics, arrays: Arrays) -> float:
    """Return the mean loss of a head over all that was gathered, in the learner's own loss.

    The squared error of scaled targets or of scores; for naive Bayes the negative log-likelihood
    of features and class together, in nats.
    """
    return learner_of(manifest).loss(statistics, exact(arrays))


def head_of(manifest: Manifest, arrays: Arrays) -> Arrays:
    """Return the ``solved`` arrays among all of a version."""
    return {a.name: arrays[a.name] for a in manifest.arrays if a.merge == "solved"}


def check_layout(manifest: Manifest) -> None:
    """Refuse a manifest whose statistics and head are not those of its learner.

    Raises
    ------
    BundleError
        Naming what differs.
    """
    if manifest.learner == "gradient":
        return
    learner = learner_of(manifest)
    gathered = {a.name: a.shape for a in manifest.statistics}
    features, outputs = learner.features(gathered), manifest.outputs
    head = learner.head(features, outputs, classifies=bool(manifest.classes))
    wanted = (
        learner.statistics(features, outputs),
        {name: value.shape for name, value in head.items()},
        {learner.merge},
    )
    found = (
        gathered,
        {a.name: a.shape for a in manifest.arrays if a.merge == "solved"},
        {a.merge for a in manifest.statistics},
    )
    names = ("statistics", "solved arrays", "merge rules of statistics")
    for what, have, want in zip(names, found, wanted, strict=True):
        if have != want:
            raise BundleError(
                f"manifest.json: the {what} of learner {manifest.learner} are {want}, not {have}. "
                "Build the bundle again."
            )
