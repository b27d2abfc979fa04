"""From dotted names and arguments to river's objects; nothing outside of river can be named."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from headwater.errors import SettingsError
from headwater_agent.rivers.settings import RiverPart, as_part, name_complaint

_SIMPLE: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "str": (str,),
}
"""Annotations of river's constructors that a value from TOML can be held against."""


def make(part: RiverPart, path: str) -> Any:
    """Make the object that a part describes, a pipeline where it has transformers before it.

    Parameters
    ----------
    part
        Dotted name, arguments and transformers.
    path
        Where it stands in the settings, for messages.

    Raises
    ------
    SettingsError
        Naming the key, what is wrong with it and what to do.
    """
    kind = find(part.model, f"{path}.model")
    positional, named = _arguments(kind, part, f"{path}.arguments")
    try:
        made = kind(*positional, **named)
    except Exception as error:
        raise SettingsError(
            f"{path}.arguments: {part.model} does not take them ({error}); see its documentation."
        ) from error
    before = [
        _transformer(step, f"{path}.before[{number}]") for number, step in enumerate(part.steps)
    ]
    return river("compose").Pipeline(*before, made) if before else made


def find(dotted: str, path: str) -> type[Any]:
    """Look a class of river up.

    Raises
    ------
    SettingsError
        When the name is not below ``river.``, there is no such class, or it is none that a
        learner is made of.
    """
    complaint = name_complaint(dotted)
    if complaint:
        raise SettingsError(f"{path}: {complaint}.")
    module_name, _, name = dotted.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise SettingsError(
            f"{path}: {module_name} cannot be imported ({error}); check its spelling."
        ) from error
    found = getattr(module, name, None)
    if not inspect.isclass(found) or not issubclass(found, river("base").Base):
        close = difflib.get_close_matches(name, dir(module), n=1)
        hint = f"did you mean {module_name}.{close[0]}?" if close else "check its spelling."
        raise SettingsError(f"{path}: there is no {dotted} in river {version()}; {hint}")
    return found


def river(module: str) -> Any:
    """Import one of river's modules; any but ``base`` and ``stats`` costs about 90 MB and 1.4 s."""
    return importlib.import_module(f"river.{module}")


def version() -> str:
    """Return river's version."""
    return str(importlib.import_module("river").__version__)


def _transformer(step: RiverPart, path: str) -> Any:
    made, base = make(step, path), river("base")
    if not isinstance(made, (base.BaseTransformer, base.AnomalyFilter)):
        raise SettingsError(
            f"{path}.model: {step.model} transforms nothing; only transformers and anomaly "
            "filters stand before a model."
        )
    return made


def _arguments(kind: type[Any], part: RiverPart, path: str) -> tuple[list[Any], dict[str, Any]]:
    """Hold arguments against the constructor's signature; make those that are parts.

    A variadic parameter (``compose.Select(*keys)``) is given by its name, as a list.
    """
    parameters = inspect.signature(kind).parameters
    values = {name: _value(v, f"{path}.{name}") for name, v in part.arguments.items()}
    for name, value in values.items():
        _check(name, value, parameters, f"{path}.{name}", part.model)
    needed = [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if missing := [name for name in needed if name not in values]:
        raise SettingsError(f"{path}: {part.model} needs {', '.join(missing)}; add it.")
    variadic = [n for n, p in parameters.items() if p.kind is p.VAR_POSITIONAL and n in values]
    return [item for name in variadic for item in values.pop(name)], values


def _value(value: Any, path: str) -> Any:
    part = as_part(value)
    if part is not None:
        return make(part, path)
    if isinstance(value, list):
        return [_value(item, f"{path}[{number}]") for number, item in enumerate(value)]
    if isinstance(value, dict):
        return {name: _value(item, f"{path}.{name}") for name, item in value.items()}
    return value


def _check(
    name: str, value: Any, parameters: Mapping[str, inspect.Parameter], path: str, model: str
) -> None:
    """Refuse a name that the constructor has not, and a value of a plainly wrong type."""
    parameter = parameters.get(name)
    if parameter is None:
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return
        known = ", ".join(parameters) or "no arguments"
        raise SettingsError(f"{path}: {model} has no such argument; it takes {known}.")
    if parameter.kind is parameter.VAR_POSITIONAL:
        if not isinstance(value, list):
            raise SettingsError(f"{path}: {model} takes any number of these; write a list.")
        return
    wanted = _wanted(parameter)
    misread = isinstance(value, bool) and bool not in wanted
    if wanted and (misread or not isinstance(value, wanted)):
        names = " or ".join(kind.__name__ for kind in wanted)
        raise SettingsError(f"{path}: {model} takes {names} here, not {type(value).__name__}.")


def _wanted(parameter: inspect.Parameter) -> tuple[type, ...]:
    """Return the types that a parameter takes as far as that is plain; none where it is not."""
    if parameter.annotation is not parameter.empty:
        return _SIMPLE.get(str(parameter.annotation), ())
    if isinstance(parameter.default, bool):
        return (bool,)
    return (int, float) if isinstance(parameter.default, (int, float)) else ()
