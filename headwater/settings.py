"""Settings from TOML: read once, checked whole, each complaint with the path of its key."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec

from headwater.errors import SettingsError

T = TypeVar("T", bound=msgspec.Struct)

_UNITS_MS = {"ms": 1, "s": 1_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)\s*(ms|s|min|h|d)")
_AT = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<path>.*)`)?$", re.DOTALL)
_PARTS = re.compile(r"\[\d+\]|\.?[^.\[\]]+")
_KEYS = {
    re.compile(r"unknown field `([^`]*)`"): "there is no such key; remove it or check its spelling",
    re.compile(r"missing required field `([^`]*)`"): "this key is required",
}


class Duration(int):
    """Milliseconds, written in settings and manifests as ``"6h"``, ``"500ms"``, ``"1.5min"``."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: object) -> Duration:
        """Read a duration.

        Raises
        ------
        ValueError
            When the text is not a number followed by ms, s, min, h or d.

        Examples
        --------
        >>> Duration.parse("1.5min")
        90000
        """
        found = _DURATION.fullmatch(text.strip()) if isinstance(text, str) else None
        if found is None:
            raise ValueError(f'expected a duration such as "30s", "5min" or "6h", got {text!r}')
        return cls(round(float(found[1]) * _UNITS_MS[found[2]]))

    def __str__(self) -> str:
        for unit in ("d", "h", "min", "s"):
            if self and self % _UNITS_MS[unit] == 0:
                return f"{self // _UNITS_MS[unit]}{unit}"
        return f"{int(self)}ms"


def decode_hook(kind: type, value: object) -> object:
    """Decode the types that settings and manifests add to msgspec's own."""
    if kind is Duration:
        return Duration.parse(value)
    if kind is Path:
        if not isinstance(value, str):
            raise ValueError(f"expected a path as text, got {value!r}")
        return Path(value)
    raise NotImplementedError(f"no decoder for {kind!r}")


def encode_hook(value: object) -> object:
    """Encode the types that settings and manifests add to msgspec's own."""
    if isinstance(value, Duration):
        return str(value)
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"no encoder for {type(value)!r}")


def read_toml(path: Path, kind: type[T]) -> T:
    """Read a settings file whole.

    Parameters
    ----------
    path
        A TOML file.
    kind
        The struct that the file must fit.

    Raises
    ------
    SettingsError
        Naming the file and every wrong key that could be found in one pass.
    """
    return convert(load_toml(path), kind, source=str(path))


def load_toml(path: Path) -> dict[str, Any]:
    """Read a settings file as it stands.

    Raises
    ------
    SettingsError
        When it is not there or not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(f"There is no settings file {path}. Make one with `init`.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not valid TOML: {error}.") from error


def convert(raw: Mapping[str, object], kind: type[T], *, source: str) -> T:
    """Fit *raw* into *kind*, collecting every wrong key instead of stopping at the first.

    Raises
    ------
    SettingsError
        With one line for each wrong key: ``source: path.of.key: what is wrong``.
    """
    remaining = _Remaining(cast("dict[str, Any]", msgspec.to_builtins(raw)))
    complaints: list[str] = []
    while True:
        try:
            value = msgspec.convert(remaining.raw, kind, dec_hook=decode_hook)
        except msgspec.ValidationError as error:
            what, path = _read_complaint(str(error))
            place = remaining.place(path)
            if place not in remaining.gone:
                complaints.append(f"{place}: {what}" if place else what)
            if not remaining.drop(path):
                break
        else:
            if not complaints:
                return value
            break
    raise SettingsError("\n".join(f"{source}: {complaint}" for complaint in complaints))


class _Remaining:
    """What is left of a file when the values that were complained of are taken out.

    ``gone`` are their places, and those of what may be wrong for want of them.
    """

    def __init__(self, raw: dict[str, Any]) -> None:
        self.raw = raw
        self.gone: set[str] = set()
        self._shifts: Counter[str] = Counter()
        """By the place of a list, how many of its elements are gone; those after them moved up."""

    def place(self, path: str) -> str:
        """Return where in the file a path such as ``streams[0].topic`` of what is left was."""
        place = ""
        for part in _PARTS.findall(path):
            index = part.startswith("[")
            place += f"[{int(part[1:-1]) + self._shifts[place]}]" if index else part
        return place

    def drop(self, path: str) -> bool:
        """Take out the innermost thing on a path that is there; say whether there was any."""
        parts = _PARTS.findall(path)
        while parts:
            self.gone.add(self.place("".join(parts)))
            *outer, last = parts
            holder = self._at(outer)
            if isinstance(holder, dict) and (key := last.removeprefix(".")) in holder:
                del holder[key]
                return True
            if isinstance(holder, list) and last.startswith("["):
                del holder[int(last[1:-1])]
                around = self.place("".join(outer))
                self.gone.add(around)
                self._shifts[around] += 1
                return True
            parts = outer
        return False

    def _at(self, parts: list[str]) -> Any:
        found: Any = self.raw
        for part in parts:
            try:
                found = found[int(part[1:-1]) if part.startswith("[") else part.removeprefix(".")]
            except (KeyError, IndexError, TypeError):
                return None
        return found


def _read_complaint(text: str) -> tuple[str, str]:
    """Turn msgspec's message into ``(what is wrong, path of the key)``."""
    found = _AT.match(text)
    what, path = (found["what"], found["path"] or "") if found else (text, "")
    for pattern, words in _KEYS.items():
        if named := pattern.search(what):
            return words, f"{path}.{named[1]}" if path else named[1]
    return what, path
