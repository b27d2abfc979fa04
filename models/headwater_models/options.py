"""What is wrong with the fields of a specification, in the words of the options that say them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from headwater.errors import SettingsError
from headwater.settings import Duration, decode_hook

_OTHERWISE = {
    "grid": "--period",
    "channels": "--channel",
    "categories": "--category",
    "classes": "--class",
    "quantiles": "--quantile",
    "optimiser.name": "--optimiser",
}
_BESIDE = ("log", "categories")
_DERIVED = ("loss", "reserve")
_ABOVE_ZERO = ("grid.period", "grid.max_gap", "horizon")
_REQUIRED = "this key is required"
_UNKNOWN = "there is no such key; remove it or check its spelling"
_PLACE = re.compile(r" - at `\$(?:\[(\d+)\])?[^`]*`$")
_WORDS = {
    r"`str` matching regex '\^\[A-Za-z0-9\].*": (
        "letters, digits, `.`, `_` and `-`, at most 128, a letter or digit first"
    ),
    r"`int`": "a whole number",
    r"`float`": "a number",
    r"`str`": "a text",
    r"`array`": "a list",
}


def option_of(path: str) -> str:
    """Return the option that says a field of a specification.

    Examples
    --------
    >>> option_of("grid.max_gap"), option_of("quantiles")
    ('--max-gap', '--quantile')
    """
    return _OTHERWISE.get(path) or f"--{path.rpartition('.')[2].replace('_', '-')}"


def check_given(
    given: Mapping[str, Any], form: type[msgspec.Struct], source: str, *, options: bool
) -> None:
    """Refuse values that no model can have, whatever the others are, and unknown keys.

    Parameters
    ----------
    given
        Fields of *form*, and how channels are read, as a nested mapping; None stands for "not
        given". What is said of channels is left to the check of the whole.
    form
        What is specified.
    source
        What to call it in an error.
    options
        Call a field by its option, and not by its path.

    Raises
    ------
    SettingsError
        With one line for each wrong value.
    """
    lines = [
        f"{source}: {option_of(path) if options else path}: {what}."
        for path, what in _complaints(given, form, "")
    ]
    if lines:
        raise SettingsError("\n".join(lines))


def explained(
    error: SettingsError, source: str, form: type[msgspec.Struct], raw: Mapping[str, Any]
) -> SettingsError:
    """Return a refusal of the whole that also says what may be said, and by which option.

    Parameters
    ----------
    error
        As of :func:`headwater.settings.convert`, of *raw* and *form*.
    """
    found = [line.removeprefix(f"{source}: ").partition(": ") for line in str(error).splitlines()]
    complaints = {path: what for path, _, what in found}
    if _REQUIRED in complaints.values():
        complaints |= dict.fromkeys(_missing(form, raw), _REQUIRED)
    return SettingsError(
        "\n".join(
            f"{source}: {path}: {_explained(path, what, form, raw)}"
            for path, what in complaints.items()
        )
    )


def _missing(form: type[msgspec.Struct], raw: Mapping[str, Any]) -> list[str]:
    """Return the fields that someone must say and nobody did."""
    fields = msgspec.structs.fields(form)
    return [f.name for f in fields if f.required and f.name not in (*raw, *_DERIVED)]


def _explained(path: str, what: str, form: type[msgspec.Struct], raw: Mapping[str, Any]) -> str:
    allowed = ", ".join(_allowed(form, path))
    if what == _REQUIRED:
        option = "the argument KIND" if path == "kind" else option_of(path)
        return f"{what}; say it with {option}" + (f", one of {allowed}" if allowed else "")
    worded = _worded(what)
    if worded == what:
        return what
    told = f"{worded}, not {_value(raw, path)!r}"
    column = re.fullmatch(r"channels\[\d+\]\.name", path)
    return f"{told}; rename the column, or leave it out (--ignore)" if column else told


def _complaints(
    given: Mapping[str, Any], form: type[msgspec.Struct], prefix: str
) -> Iterator[tuple[str, str]]:
    """Yield the path of each wrong value and what is wrong with it."""
    kinds = get_type_hints(form, include_extras=True)
    for key, value in given.items():
        path, kind = prefix + key, kinds.get(key)
        if value is None or path in ("channels", *_BESIDE):
            continue
        if kind is None:
            yield path, _UNKNOWN
        elif isinstance(value, Mapping) and isinstance(kind, type):
            yield from _complaints(value, kind, f"{path}.")
        elif wrong := _wrong(path, value, kind):
            yield path, wrong


def _wrong(path: str, value: Any, kind: Any) -> str:
    """Return what is wrong with a value; nothing where nothing is."""
    try:
        read = msgspec.convert(value, kind, dec_hook=decode_hook)
    except msgspec.ValidationError as error:
        what = str(error)
        if (place := _PLACE.search(what)) and place[1]:
            value = value[int(place[1])]
        if what.startswith("Invalid enum value"):
            return f"expected one of {', '.join(_choices(kind))}, not {value!r}"
        return f"{_worded(_PLACE.sub('', what))}, not {value!r}"
    zero = path in _ABOVE_ZERO and isinstance(read, Duration) and read <= 0
    return "it must be above zero" if zero else ""


def _choices(kind: Any) -> list[str]:
    """Return the words that a value of a type, or an element of it, may be."""
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    return [word for inner in get_args(kind) for word in _choices(inner)]


def _worded(what: str) -> str:
    """Return a complaint of msgspec in words for people, without what there is instead."""
    what = what.partition(", got ")[0]
    for pattern, words in _WORDS.items():
        what = re.sub(f"Expected {pattern}", f"expected {words}", what)
    return what


def _allowed(form: Any, path: str) -> tuple[str, ...]:
    """Return the words that a field may be, by its path; none where it is no such field."""
    for key in re.findall(r"[^.\[\]]+", path):
        if key.isdigit():
            form = get_args(form)[0] if get_args(form) else None
        elif isinstance(form, type) and issubclass(form, msgspec.Struct):
            form = get_type_hints(form).get(key)
        else:
            return ()
    return get_args(form) if get_origin(form) is Literal else ()


def _value(raw: Any, path: str) -> Any:
    for key in re.findall(r"[^.\[\]]+", path):
        try:
            raw = raw[int(key) if key.isdigit() else key]
        except (KeyError, IndexError, TypeError):
            return None
    return raw
