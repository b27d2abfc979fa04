"""Test, then train: the models of this device take a step for each full batch of examples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec
import numpy as np

from headwater.errors import StorageError
from headwater_agent.events import (
    Batch,
    BranchName,
    Checkpoint,
    Example,
    Happened,
    Refine,
    Refined,
    Train,
    Trained,
    Version,
)
from headwater_agent.gathering import Gathering
from headwater_agent.kept import Kept
from headwater_agent.pipeline_settings import LearnerSettings, ServeSettings
from headwater_agent.scores import Score
from headwater_agent.served import Served, clip_for, served
from headwater_agent.sync import Branch, Packed, SavedBranch, pack_arrays, unpack_arrays
from headwater_agent.waiting import MAX_WAITING, Waiting
from headwater_agent.watch import SavedWatch
from headwater_models.arrays import Arrays
from headwater_models.fading import EVERY, faded
from headwater_models.manifest import Manifest
from headwater_models.schedule import rate

MIN_REFINED = 10
"""Fewest examples that a personal model is refined on."""

LAYOUT = 2
"""Version of the checkpoint's fields."""


class Personal(Protocol):
    """The personal model of one kind of learner; see :class:`.sync.Branch`."""

    parameters: Arrays
    state: Arrays

    def trained(self, parameters: Arrays, state: Arrays, examples: int) -> None: ...  # noqa: D102
    def take(self, sequence: int) -> None: ...  # noqa: D102
    def rebase(self, version: Version, merged: int) -> None: ...  # noqa: D102
    def adopt(self, parameters: Arrays, since: Arrays) -> None: ...  # noqa: D102
    def begin(self, version: Version) -> Arrays: ...  # noqa: D102
    def reset(self, version: Version) -> None: ...  # noqa: D102
    def forget(self, version: Version) -> None: ...  # noqa: D102
    def save(self) -> SavedBranch: ...  # noqa: D102
    def restore(self, saved: SavedBranch) -> None: ...  # noqa: D102


class SavedLearning(msgspec.Struct):
    """The learning state as a checkpoint holds it; the version number is of this layout."""

    layout: int
    version: str
    sequence: int
    learned_through: int
    dropped: int
    steps: int
    hurried: float
    hurried_until: int
    released: Packed
    personal: SavedBranch
    contribution: SavedBranch | None
    served: Served
    score: Score
    streams: dict[str, Score]
    watch: SavedWatch


class Learner:
    """The released version, what was learned on top of it, and how well both did.

    Batches are cut by the count of examples alone, so that learning after a restart repeats the
    steps of an undisturbed run.

    Parameters
    ----------
    version
        The release to start from.
    settings
        Batch size, learning rate and kind of training.
    served
        The account of the model that is published.
    personal
        The personal model at its start.
    contribution
        What the fleet gets in ``stream`` training.
    normal_alone
        Whether examples with another label than 0 have no weight, as an anomaly model learns.

    Attributes
    ----------
    changed
        Whether there is more than the last checkpoint holds.
    unrepeatable
        Whether some of it does not follow from the examples after that checkpoint.
    paused
        Whether the owner wants no step to be taken; examples wait.
    """

    def __init__(
        self,
        version: Version,
        settings: LearnerSettings,
        *,
        served: Served,
        personal: Personal,
        contribution: Branch | None = None,
        normal_alone: bool = False,
    ) -> None:
        self.version = version
        self.personal = personal
        self.contribution = contribution
        self.served = served
        self.score = Score()
        self.streams: dict[str, Score] = {}
        self.learned_through = 0
        self.dropped = 0
        self.steps = 0
        self.changed = self.unrepeatable = self.paused = False
        self._settings = settings
        self._hurried, self._hurried_until = 1.0, 0
        self._waiting = Waiting(settings.batch, normal_alone=normal_alone)
        self._allowed = 0
        self._overloaded = False
        self._training: list[BranchName] = []
        self._batch: Batch | None = None
        self._rates: tuple[float, ...] = ()
        self._through = 0
        self._refining: Arrays | None = None
        self._refined = ""
        self._unrefined = 0
        self._seen = 0

    def learn(self, examples: Sequence[Example]) -> Iterator[Refine | Happened]:
        """Take examples in the order of their sequence; see :meth:`study`.

        While too many wait (see :attr:`.Waiting.overfull`), every other one is left out.
        """
        if not self._settings.enabled:
            return
        made = Kept.of(examples)
        usable = made
        if made.reserved.any():
            usable = made.take(np.flatnonzero(~made.reserved))
        yield from self._refine(len(usable))
        self._waiting.add(usable)
        while self._waiting.overfull:
            self.dropped += self._waiting.thin()
            if not self._overloaded:
                self._overloaded = True
                detail = "learning does not keep up; every other example is left out"
                yield Happened("overloaded", detail)

    def study(self, batches: int = MAX_WAITING) -> Iterator[Train]:
        """Learn from at most so many batches of the examples that wait."""
        self._allowed = batches
        yield from self._due()

    @property
    def is_due(self) -> bool:
        """Whether there is a whole batch to learn from."""
        return self._waiting.batches > 0 and not self.paused

    def correct(self, sequence: int, label: float) -> bool:
        """Correct an example that waits to be learned; False where it was learned already."""
        return self._waiting.correct(sequence, label)

    def trained(self, event: Trained) -> Iterator[Train]:
        """Take over what steps made and ask for the next ones if they are due."""
        batch = self._batch
        branch = self._training.pop(0)
        moved = self.personal if branch == "personal" else self.contribution
        if moved is not None and batch is not None:
            state = faded(event.state, self.steps + len(self._rates))
            moved.trained(event.parameters, state, len(batch.weight))
        self.changed = True
        if self._training and batch is not None:
            yield self._steps(self._training[0], batch)
            return
        self.learned_through = self._through
        self.steps += len(self._rates)
        self._batch = None
        yield from self._due()

    def refined(self, event: Refined) -> None:
        """Go over to what the examples were learned to, unless a newer release came meanwhile."""
        since, self._refining = self._refining, None
        if event.version != self.version.name:
            return
        self._refined = event.version
        if event.parameters is not None and since is not None:
            self.personal.adopt(event.parameters, since)
            self.changed = True

    def release(self, version: Version, merged: int) -> Iterator[Refine]:
        """Move to a newer release, and ask for what is due then."""
        for branch in (self.personal, self.contribution):
            if branch is not None:
                branch.rebase(version, merged)
        self.version = version
        self.changed = True
        yield from self._refine(0)

    def take(self, sequence: int) -> None:
        """Remember the models as they are: an update with this number is being made."""
        for branch in (self.personal, self.contribution):
            if branch is not None:
                branch.take(sequence)
        self.changed = True

    def local(self, manifest: Manifest) -> Arrays:
        """Return the personal model's arrays that never leave the device."""
        names = [array.name for array in manifest.arrays if array.merge == "local"]
        return {name: self.personal.parameters[name] for name in names}

    def reset(self) -> None:
        """Start the personal model from the release again and let it prove itself from nothing."""
        self.personal.reset(self.version)
        self.served.renew()
        self.changed = self.unrepeatable = True

    def forget(self, sequence: int) -> None:
        """Begin again from the release without anything learned from examples up to a sequence."""
        self.personal.forget(self.version)
        if self.contribution is not None:
            self.contribution.forget(self.version)
        self.served.renew()
        self._waiting.clear()
        self._refining, self._unrefined, self._seen = None, 0, 0
        self._hurried_until = self.steps
        self.learned_through = sequence
        self.changed = self.unrepeatable = True

    def leave_out(self, stream: str) -> None:
        """Learn from none of the examples of a stream that wait."""
        self._waiting.leave_out(stream)

    def hurry(self, factor: float, steps: int) -> None:
        """Multiply the learning rate for the next steps."""
        self._hurried, self._hurried_until = factor, self.steps + steps
        self.changed = self.unrepeatable = True

    def checkpoint(self, watch: SavedWatch) -> Checkpoint:
        """Encode the learning state, and what watches it."""
        self.changed = self.unrepeatable = False
        saved = SavedLearning(
            layout=LAYOUT,
            version=self.version.name,
            sequence=self.version.sequence,
            learned_through=self.learned_through,
            dropped=self.dropped,
            steps=self.steps,
            hurried=self._hurried,
            hurried_until=self._hurried_until,
            released=pack_arrays(self.version.weights),
            personal=self.personal.save(),
            contribution=self.contribution.save() if self.contribution else None,
            served=self.served,
            score=self.score,
            streams=self.streams,
            watch=watch,
        )
        return Checkpoint(msgspec.msgpack.encode(saved), self.learned_through)

    def restore(self, state: bytes) -> SavedWatch:
        """Go on from a checkpoint; return what was watching.

        The settings of today count for what is served and by which bound; what the account holds
        goes on.

        Raises
        ------
        StorageError
            When it is damaged, of another program, or of another model.
        """
        saved = read_checkpoint(state)
        shapes = {name: tuple(shape) for name, (_, shape, _) in saved.released.items()}
        if shapes != {name: array.shape for name, array in self.version.weights.items()}:
            raise StorageError(
                "The checkpoint is of another model; give this model a state folder of its own."
            )
        self.version = Version(saved.version, saved.sequence, unpack_arrays(saved.released))
        self.personal.restore(saved.personal)
        if self.contribution is not None and saved.contribution is not None:
            self.contribution.restore(saved.contribution)
        elif self.contribution is not None:
            self.contribution.reset(self.version)
        self.served.resume(saved.served)
        self.learned_through, self.dropped = saved.learned_through, saved.dropped
        self.steps = saved.steps
        self._seen = saved.learned_through
        self._hurried, self._hurried_until = saved.hurried, saved.hurried_until
        self.score, self.streams = saved.score, saved.streams
        return saved.watch

    def _refine(self, examples: int) -> Iterator[Refine]:
        self._unrefined += examples
        self._seen += examples
        settings = self._settings.refine
        due = self._refined != self.version.name or self._unrefined >= settings.every
        if self.paused or not settings.epochs or self._refining is not None or not due:
            return
        if self._seen < MIN_REFINED:
            return
        self._unrefined = 0
        self._refining = self.personal.parameters
        yield Refine(self.version.name, self.personal.begin(self.version))

    def _due(self) -> Iterator[Train]:
        if self._training or not self.is_due or not self._allowed:
            self._overloaded &= self.is_due
            return
        count = min(self._allowed, self._waiting.batches, EVERY - self.steps % EVERY)
        self._rates = tuple(map(self._rate, range(self.steps, self.steps + count)))
        self._batch, self._through = self._waiting.take(count)
        self._allowed -= count
        self._training = ["personal", "contribution"] if self.contribution else ["personal"]
        yield self._steps("personal", self._batch)

    def _rate(self, step: int) -> float:
        hurried = self._hurried if step < self._hurried_until else 1.0
        settings = self._settings
        return hurried * rate(settings.schedule, settings.learning_rate, step)

    def _steps(self, branch: BranchName, batch: Batch) -> Train:
        taken = self.contribution if branch == "contribution" else None
        model = taken or self.personal
        return Train(batch, model.parameters, model.state, self._rates, branch)


def new_learner(
    manifest: Manifest, version: Version, settings: LearnerSettings, serve: ServeSettings
) -> Learner:
    """Return the learner of a device that knows nothing but a release yet."""
    state: Arrays = {a.name: np.zeros(a.shape, np.float32) for a in manifest.state}
    local = frozenset(a.name for a in manifest.arrays if a.merge == "local")
    personal: Personal
    contribution = None
    if manifest.statistics:
        personal = Gathering(manifest, version)
    else:
        personal = Branch(version, state, local=local)
        if settings.training == "stream":
            contribution = Branch(version, state, local=local, keeps_state=False)
    return Learner(
        version,
        settings,
        served=served(serve, clip_for(serve, manifest)),
        personal=personal,
        contribution=contribution,
        normal_alone=manifest.task == "anomaly",
    )


def read_checkpoint(state: bytes) -> SavedLearning:
    """Decode a checkpoint; raises as :meth:`Learner.restore`."""
    try:
        saved = msgspec.msgpack.decode(state, type=SavedLearning)
    except msgspec.DecodeError as error:
        raise StorageError(f"The checkpoint of the learning state is damaged: {error}.") from error
    if saved.layout != LAYOUT:
        raise StorageError(
            f"The checkpoint has layout {saved.layout}, this program knows {LAYOUT}; use the "
            "program that wrote it, or give the agent a new state folder."
        )
    return saved
