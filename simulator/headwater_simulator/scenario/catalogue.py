"""The scenarios that lie in the package, and files that begin as a copy of one."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path

from headwater.errors import SettingsError
from headwater_models.files import write_file
from headwater_models.publishing import check_out

ENDING = ".toml"


def shipped() -> dict[str, str]:
    """Return what each shipped scenario is about, by its name."""
    return {
        path.stem: str(tomllib.loads(path.read_text(encoding="utf-8"))["about"])
        for path in sorted(_folder().glob(f"*{ENDING}"))
    }


def find(said: str) -> Path:
    """Return the file of a scenario, said by its path or by the name of a shipped one.

    Raises
    ------
    SettingsError
        When there is none.
    """
    if said.endswith(ENDING) or "/" in said:
        if not Path(said).is_file():
            raise SettingsError(
                f"There is no scenario {said}. Make one with `headwater simulate new`."
            )
        return Path(said)
    names = shipped()
    if said not in names:
        raise SettingsError(
            f"There is no scenario called {said}; there are {', '.join(names)}. A file of your own "
            f"ends in {ENDING}."
        )
    return _folder() / f"{said}{ENDING}"


def new(path: Path, name: str) -> None:
    """Write a copy of a scenario, comments included, to begin one's own with.

    Parameters
    ----------
    path
        Of the new file.
    name
        What is copied, as in :func:`find`.

    Raises
    ------
    SettingsError
        When there is no scenario of this name, or the new file could not be found as one.
    StorageError
        When there is something at the path already, or it cannot be written.
    """
    if path.suffix != ENDING:
        raise SettingsError(f"{path}: the name of a scenario file ends in {ENDING}.")
    source = find(name)
    check_out(path)
    write_file(path, source.read_bytes())


def _folder() -> Path:
    return Path(str(resources.files("headwater_simulator") / "scenario" / "shipped"))
