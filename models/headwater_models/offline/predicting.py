"""``headwater predict`` without its screen: what a model says of every window of a table."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from headwater.errors import SettingsError
from headwater_models.bundle import Bundle
from headwater_models.judging import errors, has_meaning, point
from headwater_models.manifest import Manifest
from headwater_models.offline.calendar import stands_in, time_columns
from headwater_models.offline.examples import Examples, cut_examples
from headwater_models.offline.recordings import Floats, Roles, Wishes, read_recordings
from headwater_models.offline.remarks import crowding
from headwater_models.offline.times import find_time_column
from headwater_models.session import Predictor
from headwater_models.table import Table

ROWS_AT_ONCE = 1024
FORMATS = (".csv", ".jsonl", ".ndjson", ".parquet", ".pq")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Cells = list[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """What a model says of a table: predictions float32 ``[N, K]``, one for each example."""

    manifest: Manifest
    examples: Examples
    made: Floats

    def error(self) -> float | None:
        """Return the mean error where labels are known; None where there is no such thing.

        Anomalies have none, and quantiles without the median.
        """
        levels = self.manifest.quantiles
        if self.manifest.task == "anomaly" or (levels and 0.5 not in levels):
            return None
        known = has_meaning(self.manifest, self.examples.labels)
        if not known.any():
            return None
        labels = self.examples.labels[known, None]
        return float(np.nanmean(errors(self.manifest, self.made[known], labels)))

    def remark(self, rows: int) -> str:
        """Say which of the table's *rows* do not count; empty where all do."""
        return crowding(self.examples, rows)

    def columns(self) -> dict[str, Cells]:
        """Return what is written, by column, None where something is missing.

        ``time`` is that of the window's last row, ``valid`` the time that a forecast speaks of.
        """
        examples, manifest = self.examples, self.manifest
        found: dict[str, Cells] = {"time": [_iso(time) for time in examples.times.tolist()]}
        if manifest.horizon:
            found["valid"] = [_iso(t + manifest.horizon) for t in examples.times.tolist()]
        found["stream"] = [examples.names[at] for at in examples.stream.tolist()]
        found |= self._said()
        if np.isfinite(examples.labels).any():
            found["label"] = self._named(examples.labels)
        return found

    def _said(self) -> dict[str, Cells]:
        manifest = self.manifest
        if manifest.task == "anomaly":
            return {"score": _cells(self.made[:, 0])}
        found = {"prediction": self._named(point(manifest, self.made).astype(np.float32))}
        for at, name in enumerate(manifest.classes):
            found[f"p_{name}"] = _cells(self.made[:, at])
        for at, level in enumerate(manifest.quantiles):
            found[f"q{level:g}"] = _cells(self.made[:, at])
        return found

    def _named(self, values: Floats) -> Cells:
        """Return numbers, or the names of classes."""
        if self.manifest.task != "classification":
            return _cells(values)
        names = self.manifest.classes
        return [names[int(value)] if np.isfinite(value) else None for value in values.tolist()]


def predict(bundle: Bundle, table: Table, names: Sequence[str], roles: Roles) -> Predicted:
    """Predict every window of a table.

    Parameters
    ----------
    bundle
        The model.
    table, names
        As of :func:`headwater_models.table.read_all`.
    roles
        Which columns say what.

    Raises
    ------
    SettingsError
        When the table lacks a channel, or holds no whole window.
    """
    manifest = bundle.manifest
    examples = cut_examples(read_recordings(table, roles, manifest, names), manifest)
    if not len(examples):
        raise SettingsError(
            f"{table.source} has no whole window: {manifest.window} rows of "
            f"{manifest.grid.period} without a silence over {manifest.grid.max_gap}."
        )
    predictor = Predictor(bundle.infer)
    every = np.arange(len(examples))
    parts = [
        predictor.run(examples.windows(rows), examples.times[rows], bundle.weights)
        for rows in np.split(every, range(ROWS_AT_ONCE, len(every), ROWS_AT_ONCE))
    ]
    return Predicted(manifest, examples, np.concatenate(parts))


def roles_for(table: Table, wishes: Wishes, facts: Mapping[str, Any]) -> Roles:
    """Return which columns say what: as wished, else as in training, else as the table shows."""
    before = facts.get("data", {}).get("columns", {})

    def chosen(role: str) -> str | None:
        wished: str | None = getattr(wishes, role)
        if wished is not None:
            time_columns(table, wished)
            return wished
        found: str | None = before.get(role)
        return found if found is not None and stands_in(table, found) else None

    return Roles(
        time=chosen("time") or find_time_column(table),
        form=wishes.form,
        stream=chosen("stream"),
        group=chosen("group"),
        label=chosen("label"),
    )


def check_ending(path: Path) -> None:
    """Refuse a name whose ending says nothing of the format.

    Raises
    ------
    SettingsError
        With the endings that do.
    """
    if path.suffix not in FORMATS:
        raise SettingsError(f"{path}: the name must end in one of {', '.join(FORMATS)}.")


def encode(columns: Mapping[str, Cells], path: Path) -> bytes:
    """Return columns as CSV, JSON lines or Parquet, by the ending of a name that has one."""
    if path.suffix in (".parquet", ".pq"):
        from headwater_models.parquet import encode_columns  # noqa: PLC0415 - an extra

        return encode_columns(columns)
    rows = zip(*columns.values(), strict=True)
    if path.suffix == ".csv":
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
        return text.getvalue().encode()
    lines = (json.dumps(dict(zip(columns, row, strict=True))) for row in rows)
    return "".join(f"{line}\n" for line in lines).encode()


def _cells(values: Floats) -> Cells:
    """Return float32 with the digits they have; None where there is none."""
    return [float(str(value)) if np.isfinite(value) else None for value in values]


def _iso(time: int) -> str:
    moment = _EPOCH + timedelta(milliseconds=time)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
