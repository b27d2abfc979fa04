"""A report's three files in a folder: for programs, for people, and for a browser."""

from __future__ import annotations

from pathlib import Path

from headwater.errors import StorageError
from headwater_models.files import storage_errors, write_file
from headwater_simulator.report.markdown import markdown
from headwater_simulator.report.page import page
from headwater_simulator.report.results import FILE, Results, encode

FILES = ("report.md", "report.html", FILE)
"""In the order in which they are written, so that where the last one is, all are."""


def require_free(folder: Path) -> None:
    """Hold that no report lies in a folder; to be asked before a long run.

    Raises
    ------
    StorageError
        When one does.
    """
    found = [name for name in FILES if (folder / name).exists()]
    if found:
        raise StorageError(
            f"{folder} holds {', '.join(found)} already; name another folder, or say that it may "
            "be overwritten."
        )


def write(results: Results, folder: Path, *, overwrite: bool = False) -> None:
    """Write the report into a folder, which is made if need be; each file appears whole.

    Raises
    ------
    StorageError
        When a report is there already and must not be overwritten, or it cannot be written.
    """
    if not overwrite:
        require_free(folder)
    with storage_errors(folder, "made"):
        folder.mkdir(parents=True, exist_ok=True)
    contents = (markdown(results).encode(), page(results).encode(), encode(results))
    for name, data in zip(FILES, contents, strict=True):
        write_file(folder / name, data)
