from __future__ import annotations

from pathlib import Path

import pytest

from headwater.errors import BundleError, SettingsError, StorageError
from headwater_coordinator.requests import Request, find_requests, read_request, write_request


def test_what_is_asked_comes_back_in_the_order_of_the_devices_names(tmp_path: Path) -> None:
    folder = tmp_path / "requests"
    asked = [Request("forget", "a"), Request("readmit", "b"), Request("forget", "c")]
    for request in reversed(asked):
        write_request(folder, request)

    assert [read_request(path) for path in find_requests(folder)] == asked


def test_a_later_request_about_a_device_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    write_request(tmp_path, Request("forget", "a"))
    write_request(tmp_path, Request("readmit", "a"))

    assert [read_request(path).kind for path in find_requests(tmp_path)] == ["readmit"]


def test_requests_about_several_updates_of_a_device_stand_side_by_side(tmp_path: Path) -> None:
    asked = [Request("release", "a", 1), Request("drop", "a", 2), Request("forget", "a")]
    for request in asked:
        write_request(tmp_path, request)

    found = [read_request(path) for path in find_requests(tmp_path)]
    assert sorted(found, key=asked.index) == asked


def test_requests_about_the_groups_of_several_devices_stand_side_by_side(tmp_path: Path) -> None:
    asked = [Request("group", node=f"SHA256:{key}", group="north") for key in ("a/b", "a+b")]
    for request in asked:
        write_request(tmp_path, request)

    found = [read_request(path) for path in find_requests(tmp_path)]
    assert sorted(found, key=asked.index) == asked


def test_without_a_folder_nothing_is_asked(tmp_path: Path) -> None:
    assert find_requests(tmp_path / "requests") == []


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b'{"kind":"forget"}',
        b'{"kind":"release","device":"a"}',
        b'{"kind":"drop","device":"a","refusal":0}',
        b'{"kind":"forget","device":"a","refusal":1}',
        b'{"kind":"enrol","device":"a"}',
        b'{"kind":"forget","device":"../a"}',
        b'{"kind":"renew","statement":"{}"}',
        b'{"kind":"group","group":"north"}',
        b'{"kind":"group","node":"SHA256:../a","group":"north"}',
        b'{"kind":"forget","device":"a","group":"north"}',
        b'{"kind":"renew","version":"' + b"f" * 64 + b'"}',
        b'{"kind":"rollback","version":"' + b"f" * 64 + b'","statement":"{}"}',
        b'{"kind":"forget","device":"a","also":1}',
        b"\xff",
    ],
)
def test_a_file_that_is_no_request_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "a.request").write_bytes(text)

    with pytest.raises(StorageError, match="is no request"):
        read_request(tmp_path / "a.request")


def test_a_reason_that_no_one_would_read_is_refused_before_it_is_left(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"length <= 500.*reason"):
        write_request(tmp_path, Request("forget", "a", reason="x" * 501))

    assert find_requests(tmp_path) == []


def test_a_link_or_an_endless_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.request").symlink_to("/etc/hostname")
    (tmp_path / "b.request").write_bytes(b" " * 70_000)

    for path in find_requests(tmp_path):
        with pytest.raises(BundleError):
            read_request(path)
