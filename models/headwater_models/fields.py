"""What was said of a model: the fields of a TOML file, flags over it, and short forms of both."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from headwater.errors import SettingsError
from headwater_models.files import storage_errors
from headwater_models.options import check_given


def given_fields(
    form: type[msgspec.Struct], flags: Mapping[str, Any], source: str, file: Path | None
) -> dict[str, Any]:
    """Return the fields that a file gives, and flags over it, short forms written out.

    Parameters
    ----------
    form
        What is specified.
    flags
        Fields of *form* as a nested mapping, None where nothing was said.
    source
        What to call the flags in an error.
    file
        A TOML file with the same fields.

    Raises
    ------
    SettingsError
        Naming each that no model can have, whatever the data show.
    StorageError
        When the file cannot be read.
    """
    check_given(flags, form, "headwater" if file else source, options=True)
    below = read_fields(file) if file else {}
    check_given(below, form, str(file), options=False)
    raw = overlay(below, flags)
    if raw.get("logits") and raw.get("task", "classification") != "classification":
        raise SettingsError(
            f"{source}: --logits is for a classification, whose probabilities they become; leave "
            f"it out of a {raw['task']}."
        )
    if isinstance(raw.get("channels"), list):
        raw["channels"] = [parse_channel(c) if isinstance(c, str) else c for c in raw["channels"]]
    if isinstance(raw.get("categories"), list):
        raw["categories"] = dict(map(parse_categories, map(str, raw["categories"])))
    return raw


def overlay(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay nested mappings over each other; None in the upper one lets the lower show."""
    merged = dict(below)
    for key, value in above.items():
        lower = merged.get(key)
        if isinstance(value, Mapping):
            inner = overlay(lower if isinstance(lower, Mapping) else {}, value)
            if inner:
                merged[key] = inner
        elif value is not None:
            merged[key] = value
    return merged


def read_fields(file: Path) -> dict[str, Any]:
    """Read the fields of a specification from a TOML file; raises as :func:`given_fields`."""
    try:
        with storage_errors(file, "read"):
            return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not valid TOML: {error}.") from error


def parse_channel(text: str) -> dict[str, Any]:
    """Read ``name[:unit[:minimum:maximum]]``.

    Raises
    ------
    SettingsError
        When the parts are others.

    Examples
    --------
    >>> parse_channel("PM2.5:ug/m3:0:1000")
    {'name': 'PM2.5', 'unit': 'ug/m3', 'minimum': 0.0, 'maximum': 1000.0}
    """
    match text.split(":"):
        case [name]:
            return {"name": name}
        case [name, unit]:
            return {"name": name, "unit": unit}
        case [name, unit, low, high] if _is_number(low) and _is_number(high):
            return {"name": name, "unit": unit, "minimum": float(low), "maximum": float(high)}
    raise SettingsError(f"channel {text}: expected NAME, NAME:UNIT or NAME:UNIT:MINIMUM:MAXIMUM.")


def parse_categories(text: str) -> tuple[str, list[str]]:
    """Read ``channel`` or ``channel=one,other,...``.

    Raises
    ------
    SettingsError
        When the channel or a category has no name.

    Examples
    --------
    >>> parse_categories("mode=off,on,auto")
    ('mode', ['off', 'on', 'auto'])
    >>> parse_categories("mode")
    ('mode', [])
    """
    channel, equals, said = text.partition("=")
    names = said.split(",") if equals else []
    if not channel or not all(names):
        raise SettingsError(f"category {text}: expected CHANNEL or CHANNEL=ONE,OTHER,...")
    return channel, names


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
