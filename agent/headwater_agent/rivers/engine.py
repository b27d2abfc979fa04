"""One river model that learns and predicts rows, and is paused where it throws."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from headwater_agent.rivers.head import Doubles
from headwater_agent.rivers.inputs import CONSTANT
from headwater_agent.rivers.kinds import Inputs, build, takes_weights
from headwater_agent.rivers.linear import as_linear
from headwater_agent.rivers.settings import RiverSettings
from headwater_agent.rivers.state import OutdatedError, restore, save
from headwater_agent.rivers.trial import try_out, where
from headwater_models.manifest import Manifest

_log = logging.getLogger(__name__)


class Engine:
    """A river model made from settings.

    Attributes
    ----------
    linear
        Its linear face, None where it has none.
    examples
        How many examples it has learned.
    paused
        What went wrong; empty while it works. A paused one predicts NaN and learns nothing.

    Raises
    ------
    SettingsError
        When the settings describe no model for the manifest's task.
    """

    def __init__(self, settings: RiverSettings, manifest: Manifest) -> None:
        self._settings = settings
        self._outputs = manifest.outputs
        self._model, self._kind = build(settings, manifest)
        self._weighted = takes_weights(self._model)
        self.linear = as_linear(self._model, len(manifest.classes))
        self.needs_label = self._kind.needs_label
        self.examples = 0
        self.paused = ""

    def predict(self, rows: Sequence[Inputs]) -> Doubles:
        """Return ``[N, K]``, NaN where the model has nothing to say."""
        nothing = np.full((len(rows), self._outputs), np.nan)
        if self.paused or not rows:
            return nothing
        try:
            return np.array([self._kind.predict(self._model, self._whole(r)) for r in rows])
        except Exception as error:  # noqa: BLE001 - a model of river may raise anything
            self.pause(where(error))
            return nothing

    def learn(
        self, rows: Sequence[Inputs], labels: Sequence[float], weights: Sequence[float]
    ) -> None:
        """Learn rows in their order; a weight other than 1 counts where the model takes one."""
        if self.paused:
            return
        try:
            for row, label, weight in zip(rows, labels, weights, strict=True):
                extra = {"w": weight} if self._weighted and weight != 1.0 else {}
                self._kind.learn(self._model, self._whole(row), label, **extra)
                self.examples += 1
        except Exception as error:  # noqa: BLE001 - a model of river may raise anything
            self.pause(where(error))

    def try_out(self, rows: Sequence[Inputs], labels: Sequence[float]) -> None:
        """Predict and learn made-up rows; this engine is thrown away after it.

        Raises
        ------
        SettingsError
            When the model cannot.
        """
        whole = [self._whole(row) for row in rows]
        try_out(self._settings.model, self._model, self._kind, whole, labels)

    def pause(self, what: str) -> None:
        """Stop for good, and say so once."""
        self.paused = f"{self._settings.model} is paused until it starts anew: {what}."
        _log.error("%s", self.paused)

    def save(self) -> bytes | None:
        """Encode what was learned; None for a model that has to be learned again."""
        if self.linear is None or self.paused:
            return None
        settings = self._settings.fingerprint
        return save(self.linear, self._model, self._kind, settings=settings, examples=self.examples)

    def restore(self, state: bytes) -> None:
        """Go on from a saved state.

        Raises
        ------
        OutdatedError
            When that cannot be; this engine must not be used any more.
        """
        if self.linear is None:
            raise OutdatedError("it is of a linear model")
        settings = self._settings.fingerprint
        self.examples = restore(
            self.linear, self._model, self._kind, settings=settings, state=state
        )

    def _whole(self, row: Inputs) -> Inputs:
        """Add the input that is always 1 for a linear model without an intercept."""
        constant = self.linear is not None and self.linear.lacks_intercept
        return {**row, CONSTANT: 1.0} if constant else row
