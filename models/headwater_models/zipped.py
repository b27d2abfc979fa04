"""A bundle as a zip: exactly the bytes that this module writes, and no others.

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

from headwater.errors import BundleError
from headwater_models.container import NAMES, refuse_name
from headwater_models.files import read_bounded
from headwater_models.limits import Limits

_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_MODE = 0o100644 << 16


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


def read_zip(path: Path, limits: Limits) -> dict[str, bytes]:
    """Read the files of a zip, each within its limit, and no others.

    Raises
    ------
    BundleError
        When it is not as it must be.
    """
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
            refuse_name(member.filename, path)
            _refuse_member(member, path, limits)
            if member.filename in files:
                raise BundleError(f"{path} holds {member.filename} twice.")
            files[member.filename] = archive.read(member)
    return files


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
