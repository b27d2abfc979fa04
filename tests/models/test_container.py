"""A bundle's files on disk: nothing unknown, nothing hidden, nothing that leads elsewhere."""

from __future__ import annotations

import hashlib
import io
import warnings
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import BundleError, StorageError
from headwater_models.container import REQUIRED, read_files, write_files
from headwater_models.limits import Limits
from headwater_models.zipped import pack_zip

FILES = {name: name.encode() * 3 for name in REQUIRED}
LIMITS = Limits()


def zipped(members: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip as another program may make it."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method) as archive:
        warnings.simplefilter("ignore", UserWarning)  # zipfile's, about a name given twice
        for name, data in members:
            archive.writestr(name, data)
    return buffer.getvalue()


def refuse_zip(tmp_path: Path, data: bytes, complaint: str, limits: Limits = LIMITS) -> None:
    path = tmp_path / "b.zip"
    path.write_bytes(data)
    with pytest.raises(BundleError, match=complaint):
        read_files(path, limits)


@pytest.mark.parametrize("name", ["b", "b.zip"])
def test_what_was_written_is_read(tmp_path: Path, name: str) -> None:
    write_files(tmp_path / name, FILES, replace=False)
    assert read_files(tmp_path / name, LIMITS) == FILES


def test_the_order_of_the_files_does_not_change_the_zip() -> None:
    assert pack_zip(dict(reversed(FILES.items()))) == pack_zip(FILES)


def test_the_bytes_of_a_zip_are_fixed_for_ever_whatever_the_python() -> None:
    assert hashlib.sha256(pack_zip(FILES)).hexdigest() == (
        "831066ab8d3d3aa025ea0af5a4b329f8163603faa45a76ab72194eef7cee232b"
    )


@pytest.mark.parametrize("name", ["b", "b.zip"])
def test_what_is_there_is_replaced_only_when_asked(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_files(path, FILES, replace=False)
    with pytest.raises(StorageError, match="there already"):
        write_files(path, FILES, replace=False)
    write_files(path, {**FILES, "facts.json": b"{}"}, replace=True)
    assert "facts.json" in read_files(path, LIMITS)


def test_a_folder_with_other_things_in_it_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.txt").write_text("mine")
    with pytest.raises(StorageError, match="no bundle folder"):
        write_files(tmp_path / "b", FILES, replace=True)
    assert (tmp_path / "b" / "thesis.txt").read_text() == "mine"


def test_a_place_without_a_bundle_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="There is no bundle at"):
        read_files(tmp_path / "nowhere", LIMITS)


@pytest.mark.parametrize("missing", REQUIRED)
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    rest = {name: data for name, data in FILES.items() if name != missing}
    write_files(tmp_path / "b", rest, replace=False)
    with pytest.raises(BundleError, match=f"has no {missing}"):
        read_files(tmp_path / "b", LIMITS)


def test_an_unknown_file_in_a_folder_is_refused(tmp_path: Path) -> None:
    write_files(tmp_path / "b", FILES, replace=False)
    (tmp_path / "b" / "weights.pkl").write_bytes(b"")
    with pytest.raises(BundleError, match=r"holds 'weights\.pkl'"):
        read_files(tmp_path / "b", LIMITS)


def test_a_link_in_a_folder_is_refused(tmp_path: Path) -> None:
    write_files(tmp_path / "b", FILES, replace=False)
    (tmp_path / "b" / "facts.json").symlink_to("/etc/hostname")
    with pytest.raises(BundleError, match="symbolic link"):
        read_files(tmp_path / "b", LIMITS)


@pytest.mark.parametrize("name", ["b", "b.zip"])
def test_a_file_over_its_limit_is_refused(tmp_path: Path, name: str) -> None:
    write_files(tmp_path / name, FILES, replace=False)
    with pytest.raises(BundleError, match=r"infer\.onnx is larger than the 8 bytes"):
        read_files(tmp_path / name, Limits(graph=8))


@pytest.mark.parametrize("name", ["b", "b.zip"])
def test_files_that_are_too_large_together_are_refused(tmp_path: Path, name: str) -> None:
    write_files(tmp_path / name, FILES, replace=False)
    with pytest.raises(BundleError, match="larger than"):
        read_files(tmp_path / name, Limits(total=100))


@pytest.mark.parametrize(
    "name", ["../manifest.json", "/etc/passwd", "b/manifest.json", "..", "", "manifest.json/"]
)
def test_a_zip_with_a_path_in_it_is_refused(tmp_path: Path, name: str) -> None:
    data = zipped([*FILES.items(), (name or "x", b"")])
    refuse_zip(tmp_path, data, "may hold manifest.json")


def test_a_zip_that_holds_a_name_twice_is_refused(tmp_path: Path) -> None:
    refuse_zip(tmp_path, zipped([*FILES.items(), ("train.onnx", b"2")]), "train.onnx twice")


def test_a_zip_bomb_is_refused_before_it_is_inflated(tmp_path: Path) -> None:
    bomb = zipped([*FILES.items(), ("facts.json", b" " * 10_000_000)], zipfile.ZIP_DEFLATED)
    assert len(bomb) < 20_000
    refuse_zip(tmp_path, bomb, "is compressed")


def test_a_zip_of_another_program_is_refused(tmp_path: Path) -> None:
    refuse_zip(tmp_path, zipped(list(FILES.items())), "made by another program")


@pytest.mark.parametrize("extra", [b"\0", b"PK", b"#!/bin/sh\n"])
def test_nothing_can_stand_before_or_behind_a_zip(tmp_path: Path, extra: bytes) -> None:
    refuse_zip(tmp_path, pack_zip(FILES) + extra, "changed|whole")
    refuse_zip(tmp_path, extra + pack_zip(FILES), "changed|whole")


@given(st.integers(0, len(pack_zip(FILES)) - 1))
def test_a_truncated_zip_is_refused(tmp_path_factory: pytest.TempPathFactory, size: int) -> None:
    refuse_zip(tmp_path_factory.mktemp("cut"), pack_zip(FILES)[:size], "zip|changed")


@given(st.data())
def test_a_zip_with_a_changed_byte_is_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = pack_zip(FILES)
    at = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != whole[at]))
    damaged = whole[:at] + bytes([byte]) + whole[at + 1 :]
    refuse_zip(tmp_path_factory.mktemp("bit"), damaged, r"b\.zip")
