"""A bundle's files on disk: a folder, or a zip with exactly the bytes that this module writes.

A zip must be uncompressed and equal, byte for byte, to what :func:`pack_zip` makes of its
members. So there is nothing to inflate, nothing between or behind the members, and a single
changed byte shows, wherever it is.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from headwater.errors import BundleError, StorageError
from headwater_models.files import read_bounded, write_file, write_folder
from headwater_models.limits import Limits

REQUIRED = ("manifest.json", "infer.onnx", "train.onnx", "weights.safetensors")
OPTIONAL = ("infer.stacked.onnx", "model.sig.json", "version.json", "facts.json", "card.md")
NAMES = REQUIRED + OPTIONAL
"""Every file that a bundle may hold, in the order in which a zip holds them."""

_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_MODE = 0o100644 << 16


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
    files = _read_folder(path, limits) if path.is_dir() else _read_zip(path, limits)
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
        write_file(path, pack_zip(files))
    elif path.exists() and not _is_bundle(path):
        raise StorageError(f"{path} is no bundle folder, so it is not replaced.")
    else:
        write_folder(path, files)


def pack_zip(files: Mapping[str, bytes]) -> bytes:
    """Return the one zip that these files make: stored, ordered, without times or owners."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files, key=NAMES.index):
            member = zipfile.ZipInfo(name, _EPOCH)
            member.create_system = _UNIX
            member.external_attr = _MODE
            archive.writestr(member, files[name])
    return buffer.getvalue()


def _is_bundle(path: Path) -> bool:
    return path.is_dir() and all(entry.name in NAMES for entry in path.iterdir())


def _read_folder(path: Path, limits: Limits) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    left = limits.total
    for entry in sorted(path.iterdir()):
        _refuse_name(entry.name, path)
        data = read_bounded(entry, min(limits.of(entry.name), left))
        left -= len(data)
        files[entry.name] = data
    return files


def _read_zip(path: Path, limits: Limits) -> dict[str, bytes]:
    data = read_bounded(path, limits.total)
    try:
        files = _unpack(path, data, limits)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        OSError,
        OverflowError,
        RuntimeError,
        ValueError,
    ) as error:
        raise BundleError(f"{path} is no whole zip ({error}); get the bundle again.") from error
    if pack_zip(files) != data:
        raise BundleError(
            f"{path} was changed, or made by another program; "
            "get the bundle again, or unpack it and use the folder."
        )
    return files


def _unpack(path: Path, data: bytes, limits: Limits) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for member in archive.infolist():
            _refuse_name(member.filename, path)
            _refuse_member(member, path, limits)
            if member.filename in files:
                raise BundleError(f"{path} holds {member.filename} twice.")
            files[member.filename] = archive.read(member)
    return files


def _refuse_name(name: str, path: Path) -> None:
    if name not in NAMES:
        raise BundleError(
            f"{path} holds {name!r}; a bundle may hold {', '.join(NAMES)} and nothing else."
        )


def _refuse_member(member: zipfile.ZipInfo, path: Path, limits: Limits) -> None:
    limit = limits.of(member.filename)
    if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
        raise BundleError(
            f"{path}: {member.filename} is compressed; unpack the zip and use the folder."
        )
    if member.file_size > limit:
        raise BundleError(
            f"{path}: {member.filename} is larger than the {limit} bytes that are read at most."
        )
