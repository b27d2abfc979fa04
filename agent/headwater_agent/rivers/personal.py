"""A river model as a device's personal model: it predicts, learns, and moves with releases."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from headwater_agent.events import Batch, Floats
from headwater_agent.rivers.engine import Engine
from headwater_agent.rivers.head import BIAS, WEIGHT, Doubles, find_head
from headwater_agent.rivers.inputs import reader
from headwater_agent.rivers.layer import LastLayer
from headwater_agent.rivers.settings import RiverSettings
from headwater_agent.rivers.state import OutdatedError
from headwater_agent.rivers.trial import trial_labels, trial_windows
from headwater_models.arrays import Arrays
from headwater_models.manifest import Manifest
from headwater_models.session import Predictor, Times

_log = logging.getLogger(__name__)


class RiverPersonal:
    """A river model on top of a release.

    A linear one that learns from the bundle's features *is* the bundle's last layer: it starts at
    the release's, predicts through the bundle's graph, and its weights are arrays as a training
    graph would have made them, so they are exported, averaged and released like those. Any other
    model stays on the device. A regressor learns in the unit of the last layer where the bundle
    has one: a forecast's change since the last value, divided by the target's scale.

    Nothing here raises because of river: a model that throws, or whose weights are no longer
    finite, is reported once and paused; then it predicts NaN and learns nothing.

    Parameters
    ----------
    settings
        What to build, and what it learns from.
    manifest
        The bundle's.
    predictor
        The bundle's inference graph.
    weights
        The release to start from.

    Attributes
    ----------
    stays
        Why this model cannot be merged with those of other devices; empty where it can.

    Raises
    ------
    SettingsError
        When the settings describe no model for this task, or one that cannot learn such rows.
    """

    def __init__(
        self, settings: RiverSettings, manifest: Manifest, predictor: Predictor, weights: Arrays
    ) -> None:
        self._settings = settings
        self._manifest = manifest
        self._predictor = predictor
        self._arrays = weights
        self._read = reader(settings, manifest, predictor)
        windows = trial_windows(manifest)
        self._head = find_head(predictor, manifest, weights, *windows)
        self._is_last_layer, self.stays = self._try_out(*windows)
        self._start()
        if self.stays:
            _log.info("%s", self.stays)

    @property
    def name(self) -> str:
        """The dotted name of the model."""
        return self._settings.model

    @property
    def federates(self) -> bool:
        """Whether :meth:`weights` may be merged with those of other devices."""
        return not self.stays

    @property
    def examples(self) -> int:
        """How many examples the model has learned."""
        return self._engine.examples

    @property
    def paused(self) -> str:
        """What went wrong; empty while the model learns."""
        return self._engine.paused

    def predict(self, window: Floats, time: Times) -> Floats:
        """Predict.

        Parameters
        ----------
        window
            ``[N, T, C]``, NaN where missing.
        time
            int64 ``[N]``, UTC milliseconds of each last row.

        Returns
        -------
        numpy.ndarray
            float32 ``[N, K]``: probabilities in the order of the classes, the target in its unit,
            or an anomaly score. NaN where the model has nothing to say: before its first example
            (unless it federates), and while it is paused.
        """
        if self.paused or not len(window) or not (self.examples or self.federates):
            return np.full((len(window), self._manifest.outputs), np.nan, np.float32)
        arrays = self.weights()
        if arrays is not None:
            return self._predictor.run(window, time, arrays)
        raw = self._engine.predict(self._read(window, time, self._arrays))
        predicted = self._from_head(raw, window, time)
        return np.where(np.isfinite(predicted), predicted, np.nan).astype(np.float32)

    def learn(self, batch: Batch) -> None:
        """Learn a batch's rows in their order.

        Rows of weight 0, and those without a usable label where one is needed, are left out;
        another weight than 1 counts where the model's ``learn_one`` takes one.
        """
        use = self._usable(batch)
        if self.paused or not use.any():
            return
        window, time = batch.window[use], batch.time[use]
        labels = self._to_head(batch.label[use, 0].astype(np.float64), window, time)
        rows = self._read(window, time, self._arrays)
        self._engine.learn(rows, labels.tolist(), batch.weight[use].tolist())
        if self._layer is not None and not self._layer.update():
            self._engine.pause("its weights are no longer finite")

    def weights(self) -> Arrays | None:
        """Return the bundle's arrays with this model as last layer; None where it is none.

        While it is paused they are those it was last based on.
        """
        if self._layer is None or self.paused:
            return None if self._layer is None else self._arrays
        return self._layer.arrays

    def rebase(self, arrays: Arrays) -> bool:
        """Go on from other arrays of the bundle: a release, or what was learned moved onto it.

        Returns
        -------
        bool
            Whether the model still holds. Where it does not, for the features it was learned
            from have changed, :meth:`relearn` it.
        """
        if self.paused and arrays is self._arrays:
            return True
        backbone = arrays.keys() - {WEIGHT, BIAS}
        same = all(np.array_equal(arrays[name], self._arrays[name]) for name in backbone)
        self._arrays = arrays
        if self._layer is not None and self.federates:
            self._layer.follow(arrays)
            self._engine.paused = ""
        elif self._layer is not None:
            self._layer.move(arrays)
        return self.federates or same or self._settings.inputs == "channels"

    def save(self) -> bytes | None:
        """Encode what was learned; None for a model that is learned again at start."""
        return self._engine.save()

    def resume(self, state: bytes | None, examples: Iterable[Batch]) -> None:
        """Go on from a saved state, or learn again where there is none to go on from.

        Parameters
        ----------
        state
            What :meth:`save` returned, if anything.
        examples
            The buffered examples in their order, none of them reserved; read only if needed.
        """
        if state is None:
            self.relearn(examples, "no state of it is kept between starts")
            return
        self._start()
        try:
            self._engine.restore(state)
        except OutdatedError as error:
            self.relearn(examples, f"its saved state cannot be used, for {error}")
        else:
            if self._layer is not None:
                self._layer.update()

    def relearn(self, examples: Iterable[Batch], why: str = "its inputs have changed") -> None:
        """Start anew and learn the buffered examples; say so, for older ones are forgotten."""
        self._start()
        for batch in examples:
            self.learn(batch)
        if self.examples:
            _log.warning(
                "%s was learned again from %d buffered examples, for %s; what it knew from before "
                "them is gone.",
                self.name,
                self.examples,
                why,
            )

    def _start(self) -> None:
        """Build the model anew, at the release's last layer where it is one."""
        self._engine = Engine(self._settings, self._manifest)
        self._layer: LastLayer | None = None
        if self._is_last_layer:
            self._layer = self._as_last_layer(self._engine)
        if self._layer is not None and self.federates:
            self._layer.follow(self._arrays)

    def _as_last_layer(self, engine: Engine) -> LastLayer | None:
        if self._head is None or engine.linear is None or self._settings.inputs == "channels":
            return None
        return LastLayer(self._head, engine.linear, self._arrays)

    def _try_out(self, window: Floats, time: Times) -> tuple[bool, str]:
        """Let a model learn made-up rows; say whether it is a last layer, and why it stays here."""
        engine = Engine(self._settings, self._manifest)
        rows = self._read(window, time, self._arrays)
        engine.try_out(rows, trial_labels(self._manifest))
        layer = self._as_last_layer(engine)
        stays = f"{self.name} stays on this device: "
        if engine.linear is None:
            return False, stays + "it has no weights that could be averaged."
        if self._settings.inputs == "channels":
            return False, stays + (
                "it learns from channels; from the features of a bundle it would be the bundle's "
                "last layer, which can be averaged."
            )
        if layer is None or not self._agree(engine, layer, window, time):
            return False, stays + "its weights are not what the bundle's last layer holds."
        if engine.linear.is_scaled:
            return True, stays + (
                "the scalers before it know this device alone. Without them it can be averaged, "
                "for the features of a bundle are scaled already."
            )
        if any(a.name == WEIGHT and a.merge == "local" for a in self._manifest.arrays):
            return True, stays + "so does the bundle's last layer."
        return True, ""

    def _agree(self, engine: Engine, layer: LastLayer, window: Floats, time: Times) -> bool:
        """Say whether model and bundle predict the same by weights of any size."""
        layer.shake(np.random.default_rng(0))
        raw = engine.predict(self._read(window, time, self._arrays))
        wanted = self._from_head(raw, window, time)
        tolerance = 1e-3 * self._head.scale if self._head else 0.0
        predicted = self._predictor.run(window, time, layer.arrays)
        return np.allclose(predicted, wanted, rtol=1e-3, atol=tolerance)

    def _usable(self, batch: Batch) -> NDArray[np.bool_]:
        label, use = batch.label[:, 0], batch.weight > 0
        if not self._engine.needs_label:
            return use
        if self._manifest.classes:
            return use & np.isin(label, np.arange(len(self._manifest.classes)))
        return use & np.isfinite(label)

    def _to_head(self, label: Doubles, window: Floats, time: Times) -> Doubles:
        """Bring labels ``[N]`` to the unit in which a regressor learns."""
        if self._head is None or self._manifest.classes:
            return label
        return (label - self._head.start(window, time, self._arrays)[:, 0]) / self._head.scale

    def _from_head(self, raw: Doubles, window: Floats, time: Times) -> Doubles:
        """Bring predictions ``[N, K]`` to the target's unit."""
        if self._head is None or self._manifest.classes:
            return raw
        return self._head.start(window, time, self._arrays) + self._head.scale * raw
