"""A training on the screen: what was understood, how far it is, how good the result is."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from headwater_models.offline.examples import Examples
from headwater_models.offline.fit import Epoch
from headwater_models.offline.metrics import Metric
from headwater_models.offline.schema import Schema
from headwater_models.offline.split import Split
from headwater_models.offline.training import Watcher

MANY = 100
"""Of more epochs than this not each has a line."""


class Screen(Watcher):
    """Show a training to a person; a bar moves on a terminal, elsewhere lines tell of epochs.

    Parameters
    ----------
    console
        Where to.
    epochs
        Passes at most.
    errors
        Where lines of progress go; stdout is for what is asked for.
    quiet
        Show how far it is and nothing else.
    """

    def __init__(self, console: Console, epochs: int, errors: Console, *, quiet: bool) -> None:
        self._console = console
        self._errors = errors
        self._remarked: list[str] = []
        self._quiet = quiet
        self._epochs = epochs
        self._task: TaskID | None = None
        self._progress = Progress(
            TextColumn("epoch {task.completed} of {task.total}"),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def read(self, schema: Schema) -> None:
        """Show what each column was taken for."""
        if self._quiet:
            return
        table = _table("column", "taken for", "")
        for column in schema.columns:
            table.add_row(column.name, column.role, column.detail)
        self._console.print(table)
        fields, grid = schema.fields, schema.fields["grid"]
        ahead = f", {fields['horizon']} ahead" if fields["task"] == "forecast" else ""
        self._console.print(
            f"{fields['task']}{ahead} by {fields['kind']}: windows of {fields['window']} rows, one "
            f"every {grid['period']}; a silence over {grid['max_gap']} ends a window."
        )

    def divided(self, split: Split, examples: Examples) -> None:
        """Show how many examples each part has."""
        if not self._quiet:
            self._console.print(
                f"{len(examples):,} windows of {len(examples.names):,} streams, split "
                f"{'by groups' if split.kind == 'grouped' else 'in time'}: "
                f"{len(split.train):,} to learn from, {len(split.validation):,} to decide when to "
                f"stop, {len(split.test):,} to judge."
            )
        self._task = self._progress.add_task("", total=self._epochs)

    def remarked(self, remark: str) -> None:
        """Show a remark at once, where there is still time to stop."""
        self._remarked.append(remark)
        if not self._quiet:
            self._console.print(f"Mind: {remark}", highlight=False)

    def passed(self, epoch: Epoch) -> None:
        """Move the bar, or write a line; of many epochs every tenth has one."""
        rare = self._epochs > MANY and epoch.number % 10
        if not self._console.is_terminal and not rare:
            best = ", the best so far" if epoch.best and epoch.number else ""
            self._errors.print(
                f"epoch {epoch.number} of at most {self._epochs}: validation loss "
                f"{epoch.validation:.4g}{best}",
                highlight=False,
                soft_wrap=True,
            )
        if self._task is not None:
            self._progress.update(
                self._task,
                completed=epoch.number,
                description=f"validation loss {epoch.validation:.4g}",
            )

    def conclude(self, metrics: Sequence[Metric], course: str, remarks: Sequence[str]) -> None:
        """Show the figures of the test part, how the training went, and what to mind."""
        table = _table("on data it never saw", "model", "baseline")
        for metric in metrics:
            table.add_row(metric.name, str(metric.model), str(metric.baseline or ""))
        self._console.print(table)
        self._console.print(course, highlight=False)
        for remark in remarks:
            if remark not in self._remarked:
                self.remarked(remark)


def _table(*names: str) -> Table:
    return Table(*names, box=None, pad_edge=False, header_style="bold")
