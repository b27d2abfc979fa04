"""What is to be known of a trained model: as facts for programs, and as a page for people."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from headwater import __version__
from headwater_models.bundle import Bundle
from headwater_models.manifest import Manifest
from headwater_models.offline.bootstrap import Figure
from headwater_models.offline.schema import Schema
from headwater_models.offline.split import Split
from headwater_models.offline.training import Plan, Trained
from headwater_models.table import Table

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def facts_of(
    trained: Trained, table: Table, plan: Plan, files: Sequence[str], created_ms: int
) -> dict[str, Any]:
    """Return the facts of a training, ready for JSON; times are UTC.

    Parameters
    ----------
    files
        Names of the files that the table was read from.
    created_ms
        UTC milliseconds.
    """
    examples, best = trained.examples, trained.fitted.best
    roles = trained.schema.roles
    return {
        "created": _when(created_ms),
        "headwater": __version__,
        "seed": plan.seed,
        "data": {
            "files": list(files),
            "rows": table.rows,
            "rows_not_counted": examples.crowded,
            "sha256": table.digest,
            "streams": len(examples.names),
            "windows": len(examples),
            "times": [_when(int(end)) for end in (examples.times.min(), examples.times.max())]
            if roles.time
            else [],
            "columns": {
                role: getattr(roles, role)
                for role in ("time", "stream", "group", "label")
                if getattr(roles, role)
            },
        },
        "split": _split(trained.split, timed=roles.time is not None),
        "training": {
            "epochs": trained.fitted.epochs[-1].number,
            "best_epoch": best.number,
            "stopped_early": trained.fitted.stopped,
            "validation_loss": best.validation,
            "validation_loss_before": trained.fitted.epochs[0].validation,
        },
        "metrics": {
            metric.name: {"model": _interval(metric.model)}
            | ({"baseline": _interval(metric.baseline)} if metric.baseline else {})
            for metric in trained.judged.metrics
        },
        "remarks": list(trained.remarks),
    } | ({"confusion": trained.judged.confusion} if trained.judged.confusion else {})


def schema_of(schema: Schema) -> dict[str, Any]:
    """Return what the columns were taken for and what was said or found of the model."""
    return {
        "columns": [dataclasses.asdict(column) for column in schema.columns],
        "fields": schema.fields,
    }


def course(training: Mapping[str, Any]) -> str:
    """Return how long it learned and which weights came out, of the facts of a training."""
    count = f"{training['epochs']} epoch{'s' * (training['epochs'] != 1)}"
    early = ", and stopped early, as the last ones gained nothing" * training["stopped_early"]
    return (
        f"Learned for {count}{early}; the weights are those of epoch {training['best_epoch']}, "
        f"with a validation loss of {training['validation_loss']:.4g} "
        f"({training['validation_loss_before']:.4g} before the first)."
    )


def card(bundle: Bundle, facts: Mapping[str, Any]) -> str:
    """Return the page, in Markdown."""
    return "\n".join(_lines(bundle, facts)) + "\n"


def _lines(bundle: Bundle, facts: Mapping[str, Any]) -> Iterator[str]:
    manifest, data, split = bundle.manifest, facts["data"], facts["split"]
    yield f"# {manifest.name}"
    yield ""
    yield f"{_purpose(manifest)} It looks at {_window(manifest)}."
    yield ""
    yield "## Can do"
    yield ""
    yield from _table(
        ("on data it never saw", "model", "baseline"),
        [
            (name, _shown(both["model"]), _shown(both.get("baseline")))
            for name, both in facts["metrics"].items()
        ],
    )
    yield ""
    yield (
        "In brackets, the interval into which 95 of 100 resamplings of the test part fall "
        f"({'whole groups' if split['kind'] == 'grouped' else 'blocks of consecutive windows'} "
        f"are drawn). The baseline is {_baseline(manifest)}."
    )
    if "confusion" in facts:
        yield ""
        rows = zip(manifest.classes, facts["confusion"], strict=True)
        yield from _table(
            ("true, by what was said", *manifest.classes),
            [(name, *(f"{count:,}" for count in row)) for name, row in rows],
        )
    yield ""
    yield "## Learned from"
    yield ""
    yield (
        f"{', '.join(data['files'])}: {data['rows']:,} rows, {data['streams']:,} streams, "
        f"{data['windows']:,} windows{_span(data['times'])} (SHA-256 {data['sha256']})."
    )
    yield ""
    yield _divided(split)
    yield ""
    yield course(facts["training"])
    yield ""
    yield "## Reads"
    yield ""
    yield from _table(
        ("channel", "unit", "minimum", "maximum", "categories"),
        [
            (c.name, c.unit, f"{c.minimum:g}", f"{c.maximum:g}", ", ".join(c.categories))
            for c in manifest.channels
        ],
    )
    yield ""
    yield (
        "What lies beyond a channel's range counts as missing. Where more than half of a window "
        "is missing there is no prediction."
    )
    yield ""
    yield "## Mind"
    yield ""
    for remark in facts["remarks"]:
        yield remark
        yield ""
    yield (
        "The figures hold for data like those of the test part. They say nothing of other "
        "places, seasons or sensors; `headwater agent status` shows how the model does on a "
        "device, beside the baseline."
    )
    yield ""
    yield f"Model {bundle.model_id}, version {bundle.version_id}, made {facts['created']} by "
    yield f"Headwater {facts['headwater']} with seed {facts['seed']}."


def _purpose(manifest: Manifest) -> str:
    match manifest.task:
        case "forecast":
            units = {channel.name: channel.unit for channel in manifest.channels}
            unit = units[manifest.target]
            said = f"{manifest.target} ({unit})" if unit else manifest.target
            return f"Forecasts {said} {manifest.horizon} ahead."
        case "classification":
            return f"Tells which of {', '.join(manifest.classes)} it is."
        case "anomaly":
            return "Scores how unusual a window is."
        case "regression":
            return "Predicts a number from a window."


def _window(manifest: Manifest) -> str:
    rows = f"the last {manifest.window} rows" if manifest.window > 1 else "the last row"
    return f"{rows}, one every {manifest.grid.period}"


def _baseline(manifest: Manifest) -> str:
    return {
        "forecast": "the last known value",
        "classification": "the most frequent class",
        "regression": "the mean of the labels learned from",
        "anomaly": "none",
    }[manifest.task]


def _divided(split: Mapping[str, Any]) -> str:
    counts = f"{split['train']:,} windows to learn from, {split['validation']:,} to decide when "
    counts += f"to stop, {split['test']:,} to judge"
    if split["kind"] == "grouped":
        return f"{counts}; each group lies in one part whole."
    cuts = split.get("cuts")
    order = f"before {cuts[0]}, up to {cuts[1]}, and after" if cuts else "in the order of the rows"
    return f"{counts}: {order}, with a window and a horizon between."


def _span(times: Sequence[str]) -> str:
    return f" from {times[0]} to {times[1]}" if times else ""


def _split(split: Split, *, timed: bool) -> dict[str, Any]:
    parts = {name: len(getattr(split, name)) for name in ("train", "validation", "test")}
    cuts = {"cuts": [_when(cut) for cut in split.cuts]} if split.cuts and timed else {}
    return {"kind": split.kind, **parts, **cuts}


def _interval(figure: Figure) -> list[float]:
    return [figure.value, figure.low, figure.high]


def _shown(interval: Sequence[float] | None) -> str:
    return str(Figure(*interval)) if interval else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


def _when(time_ms: int) -> str:
    return (_EPOCH + timedelta(milliseconds=time_ms)).strftime("%Y-%m-%dT%H:%M:%SZ")
