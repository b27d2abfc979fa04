"""River's classifiers, regressors and anomaly detectors, one row at a time behind one face."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any, Protocol

from headwater.errors import SettingsError
from headwater_agent.rivers.dotted import make, river
from headwater_agent.rivers.settings import TABLE, RiverSettings
from headwater_models.manifest import Manifest

Inputs = Mapping[str, float | str]
"""What river sees of a window: values by name."""


class Kind(Protocol):
    """How a task's models predict and learn.

    ``predict`` returns K numbers, NaN where the model has none to give; ``learn`` takes a class
    index, a number in the head's unit (see :mod:`.head`), or for a detector nothing of use.
    """

    bases: tuple[str, ...]
    needs_label: bool

    def predict(self, model: Any, x: Inputs) -> list[float]: ...  # noqa: D102
    def learn(self, model: Any, x: Inputs, label: float, **weight: float) -> None: ...  # noqa: D102


class Classifying:
    """Probabilities in the order of the manifest's classes; labels are their indices.

    A model that knows two classes only gets them as False and True.
    """

    bases: tuple[str, ...] = ("Classifier",)
    needs_label = True

    def __init__(self, classes: int, *, binary: bool) -> None:
        self._classes = classes
        self._binary = binary

    def predict(self, model: Any, x: Inputs) -> list[float]:
        """Return the probability of each class; they sum to 1."""
        given = _probabilities(model, x)
        known = [float(given.get(index, 0.0)) for index in range(self._classes)]
        total = sum(known)
        return [p / total for p in known] if total > 0 else [math.nan] * self._classes

    def learn(self, model: Any, x: Inputs, label: float, **weight: float) -> None:
        """Learn a class."""
        model.learn_one(x, bool(label) if self._binary else int(label), **weight)


class Regressing:
    """One number."""

    bases: tuple[str, ...] = ("Regressor",)
    needs_label = True

    def predict(self, model: Any, x: Inputs) -> list[float]:
        """Return the predicted number."""
        predicted = model.predict_one(x)
        return [math.nan if predicted is None else float(predicted)]

    def learn(self, model: Any, x: Inputs, label: float, **weight: float) -> None:
        """Learn a number."""
        model.learn_one(x, label, **weight)


class Scoring:
    """A score, higher where a row is more unusual; nothing but the row is learned."""

    bases: tuple[str, ...] = ("AnomalyDetector", "AnomalyFilter")
    needs_label = False

    def predict(self, model: Any, x: Inputs) -> list[float]:
        """Return the score."""
        return [float(model.score_one(x))]

    def learn(self, model: Any, x: Inputs, label: float, **weight: float) -> None:  # noqa: ARG002
        """Learn what is usual."""
        model.learn_one(x)


def build(settings: RiverSettings, manifest: Manifest) -> tuple[Any, Kind]:
    """Make the model that the settings describe, and the kind that fits the manifest's task.

    Raises
    ------
    SettingsError
        When a name or an argument is wrong, or the model is not for this task.
    """
    model = make(settings, TABLE)
    kind = _kind(manifest, model)
    base = river("base")
    if not isinstance(final_step(model), tuple(getattr(base, name) for name in kind.bases)):
        raise SettingsError(
            f"{TABLE}.model: {settings.model} is no river.base.{kind.bases[0]}, which the task "
            f"{manifest.task} of this bundle needs; choose another model."
        )
    if manifest.quantiles:
        raise SettingsError(
            f"{TABLE}.model: this bundle predicts quantiles and river's regressors one number; "
            "take a bundle with another loss."
        )
    if len(manifest.classes) > 2 and not _is_multiclass(model):
        raise SettingsError(
            f"{TABLE}.model: {settings.model} knows two classes and this bundle has "
            f"{len(manifest.classes)}; wrap it in river.multiclass.OneVsRestClassifier, or take "
            "river.linear_model.SoftmaxRegression."
        )
    return model, kind


def final_step(model: Any) -> Any:
    """Return the model itself, without what transforms its inputs."""
    return list(model.steps.values())[-1] if hasattr(model, "steps") else model


def takes_weights(model: Any) -> bool:
    """Say whether an example can count more or less than others."""
    return "w" in inspect.signature(final_step(model).learn_one).parameters


def _kind(manifest: Manifest, model: Any) -> Kind:
    match manifest.task:
        case "classification":
            return Classifying(len(manifest.classes), binary=not _is_multiclass(model))
        case "anomaly":
            return Scoring()
        case _:
            return Regressing()


def _is_multiclass(model: Any) -> bool:
    """Ask river's own tag, which pipelines and wrappers pass on."""
    return bool(getattr(model, "_multiclass", True))


def _probabilities(model: Any, x: Inputs) -> Mapping[Any, float]:
    """Return probabilities by class, those of a model that gives none as all or nothing."""
    try:
        given: Mapping[Any, float] = model.predict_proba_one(x)
    except NotImplementedError:
        label = model.predict_one(x)
        return {} if label is None else {label: 1.0}
    return given
