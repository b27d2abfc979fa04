"""What a running agent says of itself in files: for its owner, and for the federation client."""

from __future__ import annotations

import logging
import time

import msgspec

from headwater.wire import encode
from headwater_agent.answers import check_in
from headwater_agent.live import Live, read_ranks, write_live
from headwater_agent.pipeline import Pipeline
from headwater_agent.ranking import Rank
from headwater_agent.settings import AgentSettings

RANKS_S = 10.0
"""How often it is written how well the models beside the first do."""

_log = logging.getLogger(__name__)


class Reports:
    """Write the files, each replaced as a whole.

    Parameters
    ----------
    settings
        Where they lie, and the device's name.
    model
        Id of the model.
    pipeline
        Which they are about; how its models beside the first did before is restored.
    """

    def __init__(self, settings: AgentSettings, model: str, pipeline: Pipeline) -> None:
        self.live = Live()
        self._settings = settings
        self._model = model
        self._pipeline = pipeline
        self._ranks: tuple[Rank, ...] = ()
        self._ranks_due = 0.0
        self._silenced = False
        pipeline.ranking.restore(read_ranks(settings.beside_ranks))

    def write(self, *, connected: bool, trouble: str, clock: str, last: bool = False) -> None:
        """Write all of them; where that fails it is said once, and nothing else stops.

        Parameters
        ----------
        connected, trouble
            How the connection to the broker is, and what is wrong with it or the disk.
        clock
            Why records without a time of their own are not learned from; empty where they are.
        last
            Whether nothing is written after it.
        """
        try:
            self._write_status(connected=connected, trouble=trouble, clock=clock)
            if last or time.monotonic() >= self._ranks_due:
                self._write_ranks()
        except OSError as error:
            if not self._silenced:
                _log.warning("the status cannot be written: %s", error.strerror)
            self._silenced = True
        else:
            self._silenced = False

    def _write_status(self, *, connected: bool, trouble: str, clock: str) -> None:
        settings, pipeline = self._settings, self._pipeline
        message = check_in(pipeline, device=settings.device, model=self._model)
        write_live(settings.share / "status.json", encode(message))
        live = self.live.report(
            time.monotonic(),
            connected=connected,
            trouble=trouble,
            learner=pipeline.learner,
            silent=pipeline.silence.silent,
            clock=clock,
        )
        write_live(settings.live, live)

    def _write_ranks(self) -> None:
        self._ranks_due = time.monotonic() + RANKS_S
        ranks = self._pipeline.ranking.report()
        if ranks != self._ranks:
            write_live(self._settings.beside_ranks, msgspec.json.encode(ranks))
            self._ranks = ranks
