"""A bundle's files on disk: a folder, or a zip of the same files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from headwater.errors import BundleError, StorageError
from headwater_models.files import read_bounded, write_file, write_folder
from headwater_models.limits import Limits

REQUIRED = ("manifest.json", "infer.onnx", "train.onnx", "weights.safetensors")
OPTIONAL = ("infer.stacked.onnx", "model.sig.json", "version.json", "facts.json", "card.md")
NAMES = REQUIRED + OPTIONAL
"""Every file that a bundle may hold, in the order in which a zip holds them."""


def read_files(path: Path, limits: Limits) -> dict[str, bytes]:
    """Read a bundle's files, each within its limit, and no others.

    Raises
    ------
    BundleError
        When a file is missing, unknown, a link or too large, or the zip is not as it must be.
    StorageError
        When there is nothing at *path*, or it cannot be read.
    """
    if not path.exists():
        raise StorageError(f"There is no bundle at {path}.")
    if path.is_dir():
        files = _read_folder(path, limits)
    else:
        from headwater_models.zipped import read_zip  # noqa: PLC0415 - a device has a folder

        files = read_zip(path, limits)
    for name in REQUIRED:
        if name not in files:
            raise BundleError(f"{path} has no {name}; it is no bundle, or not all of one.")
    return files


def write_files(path: Path, files: Mapping[str, bytes], *, replace: bool) -> None:
    """Write a folder, or a zip where the name ends in ``.zip``, whole or not at all.

    Raises
    ------
    StorageError
        When something is there and may not be replaced, or the disk refuses.
    """
    if path.exists() and not replace:
        raise StorageError(f"{path} is there already; remove it or choose another name.")
    if path.suffix == ".zip":
        from headwater_models.zipped import pack_zip  # noqa: PLC0415 - as above

        write_file(path, pack_zip(files))
    elif path.exists() and not _is_bundle(path):
        raise StorageError(f"{path} is no bundle folder, so it is not replaced.")
    else:
        write_folder(path, files)


def _is_bundle(path: Path) -> bool:
    return path.is_dir() and all(entry.name in NAMES for entry in path.iterdir())


def _read_folder(path: Path, limits: Limits) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    left = limits.total
    for entry in sorted(path.iterdir()):
        refuse_name(entry.name, path)
        data = read_bounded(entry, min(limits.of(entry.name), left))
        left -= len(data)
        files[entry.name] = data
    return files


def refuse_name(name: str, path: Path) -> None:
    """Raise BundleError where no bundle may hold a file of this name."""
    if name not in NAMES:
        raise BundleError(
            f"{path} holds {name!r}; a bundle may hold {', '.join(NAMES)} and nothing else."
        )
