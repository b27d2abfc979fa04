"""What CSV and Parquet files say about a model for them: roles of columns, channels and scales.

It is found out in the way of ``headwater train``, and refused in the words of a scenario file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater.errors import BundleError, SettingsError
from headwater_models.graphs.builders import ModelSpec
from headwater_models.manifest import Manifest
from headwater_models.offline.recordings import Recording, Roles, Wishes, read_recordings
from headwater_models.offline.schema import infer
from headwater_models.recipe import complete
from headwater_models.table import Table, read_all
from headwater_simulator.sources.source import Facts, reserve

KEYS = {
    "--time": "data.time",
    "--period": "data.period",
    "--stream": "data.client",
    "--label": "data.label",
    "--target": "data.target",
    "--horizon": "data.horizon",
    "--ignore": "data.channels",
    "--category": "data.channels",
    "--channel": "data.channels",
}
"""What the options of ``headwater train`` are called in a scenario file."""

_FORM = ", say which form with --time-format"
_OPTION = re.compile(r"--[a-z][a-z-]*")


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """Files as they were read: their rows, what the columns are, and the model that follows."""

    table: Table
    names: tuple[str, ...]
    roles: Roles
    facts: Facts
    manifest: Manifest

    def recordings(self) -> list[Recording]:
        """Return the records of each client, in the order of the files.

        Raises
        ------
        SettingsError
            Naming file, column and row of what cannot be read.
        """
        with in_words_of_a_scenario():
            return read_recordings(self.table, self.roles, self.manifest, self.names)


def read_files(files: Sequence[Path], wishes: Wishes, fields: dict[str, Any]) -> Reading:
    """Read files and find out what they are.

    Parameters
    ----------
    files
        CSV or Parquet, of equal columns.
    wishes
        The roles of columns that were said.
    fields
        ``grid``, ``window`` and what else was said of the model; None: not said.

    Raises
    ------
    SettingsError
        Naming file, column and row of what cannot be read, or does not fit.
    StorageError
        When a file cannot be read.
    """
    with in_words_of_a_scenario():
        table, names = read_all(files)
        schema = infer(table, names, wishes, fields | {"kind": "linear"})
        spec = complete(ModelSpec, schema.fields, "data", data=table, label=schema.roles.label)
        manifest = spec.manifest(())
        manifest.check()
    facts = Facts(
        task=spec.task,
        channels=spec.channels,
        grid=spec.grid,
        reserve=reserve(spec.grid.period, spec.window, spec.horizon),
        loss=spec.loss,
        target=spec.target,
        horizon=spec.horizon,
        classes=spec.classes,
        scaling=spec.scaling,
    )
    return Reading(table, tuple(names), schema.roles, facts, manifest)


@contextmanager
def in_words_of_a_scenario() -> Iterator[None]:
    """Say ``data.time`` where a refusal speaks of ``--time``."""
    try:
        yield
    except (SettingsError, BundleError) as error:
        told = str(error).removeprefix("manifest.json: ").replace(_FORM, "")
        raise SettingsError(
            _OPTION.sub(lambda found: KEYS.get(found[0], found[0]), told)
        ) from error
