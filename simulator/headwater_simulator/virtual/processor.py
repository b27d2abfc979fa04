"""One processor in the place of all devices' own: what they want computed is computed together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter

from headwater_agent.events import Infer, Inferred, Train, Trained
from headwater_models.session import Predictor, Trainer
from headwater_simulator.device import Computing
from headwater_simulator.virtual.inference import FleetPredictor
from headwater_simulator.virtual.member import Training
from headwater_simulator.virtual.training import FleetTrainer, Job, Promise

WAITING = 1024
"""Trainings that are put off at most. Those that end first are computed first only among those put
off together: the engine waits the less for them, the more of a round these are."""

_Wanted = tuple[Computing, Infer | Train]


class Processor:
    """Computes for a whole fleet.

    Parameters
    ----------
    trainer, predictor
        The model's graphs.
    begin
        Begins trainings, here or elsewhere; those that end first come first.
    """

    def __init__(
        self,
        trainer: FleetTrainer,
        predictor: FleetPredictor,
        begin: Callable[[Sequence[Job]], list[Promise]],
    ) -> None:
        self._trainer, self._predictor, self._begin = trainer, predictor, begin
        self._put_off: list[Training] = []

    @property
    def predictor(self) -> Predictor:
        """The inference graph of one device."""
        return self._predictor.alone

    @property
    def trainer(self) -> Trainer:
        """The training graph of one device."""
        return self._trainer.alone

    @property
    def room(self) -> int:
        """How many trainings may still be put off."""
        return WAITING - len(self._put_off)

    def put_off(self, training: Training) -> None:
        """Compute a training later, with others."""
        self._put_off.append(training)
        if len(self._put_off) == WAITING:
            self.compute()

    def compute(self) -> None:
        """Begin all trainings that were put off; what they come to is promised."""
        trainings, self._put_off = sorted(self._put_off, key=attrgetter("end_ms")), []
        promises = self._begin([training.job for training in trainings])
        for training, promise in zip(trainings, promises, strict=True):
            training.made = promise

    def work_off(self, work: Sequence[Computing]) -> None:
        """Go on with each until it wants something computed; compute it for all; and so on."""
        wants = [(one, wanted) for one in work if (wanted := next(one, None)) is not None]
        while wants:
            wants = list(self._answered(wants))

    def _answered(self, wants: Sequence[_Wanted]) -> Iterator[_Wanted]:
        """Answer each, and yield those that want something more."""
        infers = [(one, want) for one, want in wants if isinstance(want, Infer)]
        trains = [(one, want) for one, want in wants if isinstance(want, Train)]
        inferred = self._predictor.infer([want for _, want in infers])
        trained = self._trainer.train([want for _, want in trains])
        answers: list[Inferred | Trained] = [*inferred, *trained]
        askers = [one for one, _ in (*infers, *trains)]
        for one, answer in zip(askers, answers, strict=True):
            try:
                yield one, one.send(answer)
            except StopIteration:
                continue
