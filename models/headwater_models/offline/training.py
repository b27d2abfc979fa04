"""``headwater train`` without its screen: from a table and wishes to a model and what it can do."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from headwater.errors import BundleError, SettingsError
from headwater.settings import Duration
from headwater_models.arrays import Arrays
from headwater_models.bundle import Bundle
from headwater_models.checks import check_bundle
from headwater_models.fields import given_fields
from headwater_models.graphs.builders import ModelSpec, build
from headwater_models.graphs.scaling import scaling_from_rows
from headwater_models.graphs.stack import stack_inference
from headwater_models.manifest import Manifest
from headwater_models.offline.bootstrap import Bootstrap
from headwater_models.offline.examples import Examples, cut_examples
from headwater_models.offline.fit import Course, Epoch, Fitted, Fitting
from headwater_models.offline.grid import Places
from headwater_models.offline.metrics import Metric, baseline_predictions, confusion, measure
from headwater_models.offline.recordings import Recording, Wishes, read_recordings
from headwater_models.offline.remarks import crowding, remarks
from headwater_models.offline.schema import Schema, infer
from headwater_models.offline.split import Split, chronological, grouped
from headwater_models.offline.times import typical_period
from headwater_models.recipe import complete
from headwater_models.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be learned, how it is split, and for how long.

    ``fields`` are those of :class:`.ModelSpec` as a nested mapping, None where nobody said;
    ``spec`` is a TOML file with the same, which they override. ``validation`` and ``test`` are
    shares of the examples.
    """

    wishes: Wishes = field(default_factory=Wishes)
    fields: Mapping[str, Any] = field(default_factory=dict)
    spec: Path | None = None
    validation: float = 0.15
    test: float = 0.15
    course: Course = field(default_factory=Course)
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """How the model did on the test examples; ``confusion`` is int ``[K, K]``, true by said."""

    metrics: tuple[Metric, ...]
    confusion: list[list[int]] | None


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What came of a plan."""

    bundle: Bundle
    schema: Schema
    examples: Examples
    split: Split
    fitted: Fitted
    judged: Judged
    remarks: tuple[str, ...]


class Watcher:
    """Is told how far the training has come; this one does nothing with it."""

    def read(self, schema: Schema) -> None:
        """Take note that the columns were understood."""

    def divided(self, split: Split, examples: Examples) -> None:
        """Take note that the examples were cut and divided."""

    def remarked(self, remark: str) -> None:
        """Take note of what a person should mind."""

    def passed(self, epoch: Epoch) -> None:
        """Take note of one pass."""


def train(
    table: Table, names: Sequence[str], plan: Plan, watcher: Watcher | None = None
) -> Trained:
    """Learn a model from a table.

    The scaling is that of the training part alone; the weights are those of the epoch with the
    lowest validation loss; the test part is looked at once, at the end.

    Parameters
    ----------
    table, names
        As of :func:`headwater_models.table.read_all`.
    plan
        What is wished for.
    watcher
        Is told of the progress.

    Raises
    ------
    SettingsError
        When the table, the wishes and the split do not fit together.
    UnsupportedError
        When no such network can be built.
    BundleError
        When the model breaks a law that every bundle keeps.
    """
    watcher = watcher or Watcher()
    rng = np.random.default_rng(plan.seed)
    schema = infer(table, names, plan.wishes, check(plan))
    watcher.read(schema)
    spec = complete(
        ModelSpec, schema.fields, "headwater train", data=table, label=schema.roles.label
    )
    manifest = _facts(spec)
    recordings = read_recordings(table, schema.roles, manifest, names)
    examples = cut_examples(recordings, manifest)
    told = list(filter(None, [crowding(examples, table.rows, _step(recordings))]))
    for remark in told:
        watcher.remarked(remark)
    split = _divide(examples, manifest, plan, rng)
    watcher.divided(split, examples)
    if "scaling" not in schema.fields:
        spec = _scale(spec, examples, split.train)
    built = build(spec, rng)
    fitting = Fitting(built.manifest, built.infer, built.train, examples)
    fitted = fitting.run(built.weights, split, plan.course, rng, watcher.passed)
    bundle = Bundle(
        manifest=built.manifest,
        infer=built.infer,
        train=built.train,
        stacked=stack_inference(built.infer, built.manifest),
        weights=fitted.weights,
    )
    deque(check_bundle(bundle, np.random.default_rng(0)), maxlen=0)
    judged = _judge(fitting, fitted.weights, split, rng)
    told += remarks(built.manifest, examples, split, fitted, judged.metrics, learns=fitting.learns)
    return Trained(bundle, schema, examples, split, fitted, judged, tuple(told))


def _step(recordings: Sequence[Recording]) -> Duration | None:
    """Return the median time between two rows; None where there are no two times."""
    try:
        return typical_period([recording.times for recording in recordings])
    except SettingsError:
        return None


def check(plan: Plan) -> dict[str, Any]:
    """Return the fields that file and wishes set, once each can be what it is.

    Raises
    ------
    SettingsError
        Naming each option or field that is wrong, whatever the table holds.
    """
    return given_fields(ModelSpec, plan.fields, "headwater train", plan.spec)


def _facts(spec: ModelSpec) -> Manifest:
    """Return the manifest of the model to be, without its arrays, once it is possible."""
    manifest = spec.manifest(())
    try:
        manifest.check()
    except BundleError as error:
        told = str(error).removeprefix("manifest.json: ")
        raise SettingsError(f"headwater train: {told}") from error
    return manifest


def _divide(examples: Examples, manifest: Manifest, plan: Plan, rng: np.random.Generator) -> Split:
    shares = {"validation": plan.validation, "test": plan.test}
    if plan.wishes.group is None:
        return chronological(examples, manifest, **shares)
    return grouped(examples, manifest, **shares, rng=rng)


def _scale(spec: ModelSpec, examples: Examples, learned: Places) -> ModelSpec:
    """Scale by the rows that lie in a window of the training part, and by its labels."""
    seen = np.zeros(len(examples.cells), np.bool_)
    for back in range(examples.window):
        seen[examples.ends[learned] - back] = True
    rows = examples.cells[seen].astype(np.float64)
    rows[:, [bool(channel.categories) for channel in spec.channels]] = np.nan
    labels = examples.labels[learned] if spec.task == "regression" else None
    log = spec.scaling.log if spec.scaling else {}
    return msgspec.structs.replace(
        spec, scaling=scaling_from_rows(rows, spec.channels, labels, log)
    )


def _judge(fitting: Fitting, weights: Arrays, split: Split, rng: np.random.Generator) -> Judged:
    """Look at the test part; what belongs together is drawn together."""
    manifest, examples = fitting.manifest, fitting.examples
    of_group = {name: index for index, name in enumerate(sorted(set(examples.groups)))}
    whole = split.kind == "grouped"
    series = examples.stream
    if whole:
        series = np.array([of_group[group] for group in examples.groups], np.intp)[series]
    chosen = split.test[np.argsort(series[split.test], kind="stable")]
    length = manifest.window + manifest.horizon // manifest.grid.period
    bootstrap = Bootstrap(series[chosen], length, whole=whole, rng=rng)
    made = fitting.predict(weights, chosen)
    learned = examples.labels[split.train]
    reference = baseline_predictions(manifest, examples, chosen, learned)
    labels = examples.labels[chosen]
    metrics = measure(manifest, made, reference, labels, bootstrap)
    table = None
    if manifest.task == "classification":
        table = confusion(manifest, made, labels).tolist()
    return Judged(tuple(metrics), table)
