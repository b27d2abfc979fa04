"""What a device gathers for a model that is solved from statistics, and what follows from it.

The statistics are of all examples that were learned since the model came: they are kept in the
checkpoint and not computed from the stored examples, of which only the newest stay.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from headwater.errors import UnsupportedError
from headwater.objects import Vector
from headwater_agent.events import Version
from headwater_agent.sync import SavedBranch, pack_arrays, unpack_arrays
from headwater_models.arrays import Arrays, State, pack_statistics
from headwater_models.manifest import Manifest
from headwater_models.statistics import (
    complaints,
    dependence,
    head_of,
    learner_of,
    mean_loss,
    no_statistics,
    says_too_much,
    solve,
    without,
)


class Gathering:
    """The personal model of such a learner: the released head, refined by what was gathered here.

    A reset starts the head from the release again: from then on it is refined by what comes after.
    What the fleet is offered stays all that was gathered, for the data were not wrong.

    Solving costs about the cube of the number of features, and to gather an example their square.
    So the head is solved again after as many examples as there are features: then it never costs
    more than gathering does, however long the agent runs.

    Parameters
    ----------
    manifest
        Of the model.
    version
        The release to start from.

    Attributes
    ----------
    parameters
        What predicts: the release's backbone, and the personal head.
    state
        The statistics.
    """

    def __init__(self, manifest: Manifest, version: Version) -> None:
        self._manifest = manifest
        shapes = {array.name: array.shape for array in manifest.statistics}
        self._features = learner_of(manifest).features(shapes)
        self._release = version.weights
        self._unsolved = 0
        self.parameters: Arrays = dict(version.weights)
        self.state: State = no_statistics(manifest)
        self._passed: State = no_statistics(manifest)

    def trained(self, parameters: Arrays, state: State, examples: int) -> None:
        """Take over what a step on some examples gathered; it leaves the parameters alone."""
        del parameters
        self.state = state
        self._unsolved += examples
        if self._unsolved >= self._features:
            self._solve()

    def take(self, sequence: int) -> None:
        """Do nothing: what is cumulative replaces what was given before, whatever that was."""

    def rebase(self, version: Version, merged: int) -> None:
        """Move onto a release; where its backbone is another, begin to gather from nothing."""
        del merged
        before, after = (dependence(self._manifest, a) for a in (self._release, version.weights))
        if before != after:
            self.state = no_statistics(self._manifest)
            self.reset(version)
        self._release = version.weights
        self._solve()

    def begin(self, version: Version) -> Arrays:
        """Return what learning from a version begins at: the version."""
        return dict(version.weights)

    def adopt(self, parameters: Arrays, since: Arrays) -> None:
        """Do nothing: epochs over the same examples add nothing to a head that is solved."""

    def reset(self, version: Version) -> None:
        """Start from a release again, and from what will be gathered."""
        self._release, self.parameters = version.weights, dict(version.weights)
        self._passed, self._unsolved = self.state, 0

    def forget(self, version: Version) -> None:
        """Forget what was gathered, too."""
        self.state = no_statistics(self._manifest)
        self.reset(version)

    def save(self) -> SavedBranch:
        """Return all that :meth:`restore` needs."""
        return SavedBranch(
            parameters=pack_arrays(self.parameters),
            state=pack_arrays(self.state),
            anchor=pack_arrays(self._release),
            taken={0: pack_arrays(self._passed)},
            examples=self._unsolved,
            taken_examples={},
        )

    def restore(self, saved: SavedBranch) -> None:
        """Go on where :meth:`save` was called."""
        self.parameters, self.state = unpack_arrays(saved.parameters), unpack_arrays(saved.state)
        self._release, self._unsolved = unpack_arrays(saved.anchor), saved.examples
        self._passed = unpack_arrays(saved.taken[0])

    def _solve(self) -> None:
        """Refine the released head; where that cannot be done, the release it is."""
        self._unsolved = 0
        release, own = self._release, without(self._manifest, self.state, self._passed)
        try:
            head = solve(self._manifest, own, head_of(self._manifest, release))
        except UnsupportedError:
            head = {}
        self.parameters = release | head


class Offer(msgspec.Struct, frozen=True, eq=False, gc=False):
    """What a device offers the fleet: a packed vector, of how many examples, and mean losses.

    ``finite`` says that the vector is known to be so.

    Those of a contribution of statistics are in the learner's own loss over all of its examples:
    by the head of the version that the fleet has, and by the one that this device refines it to.
    """

    vector: Vector
    examples: int
    loss_before: float
    loss_after: float
    finite: bool = False


Refusal = Literal["unknown-base", "too-few-examples", "failed"]


def offer(
    manifest: Manifest, parameters: Arrays, statistics: State, base: Arrays
) -> Offer | Refusal:
    """Offer the fleet all that was gathered here, or say in a word why not.

    Parameters
    ----------
    parameters
        On whose backbone the statistics were gathered.
    base
        The version that the fleet asks about; its backbone must be the same.
    """
    if dependence(manifest, parameters) != dependence(manifest, base):
        return "unknown-base"
    if says_too_much(manifest, statistics) is not None:
        return "too-few-examples"
    examples = math.ceil(learner_of(manifest).count(statistics))
    if any(complaints(manifest, statistics, examples)):
        return "failed"
    try:
        refined = solve(manifest, statistics, head_of(manifest, base))
    except UnsupportedError:
        return "failed"
    before, after = (mean_loss(manifest, statistics, head) for head in (base, refined))
    return Offer(pack_statistics(manifest, statistics), examples, before, after)
