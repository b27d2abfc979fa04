from __future__ import annotations

from pathlib import Path

import pytest

from headwater.errors import HeadwaterError, SettingsError, StorageError
from headwater_models.keys import SigningKey
from headwater_models.publishing import Publisher, check_out
from tests.models.bundles import tiny


def test_a_place_where_nothing_can_be_written_is_refused(tmp_path: Path) -> None:
    check_out(tmp_path / "new")
    (tmp_path / "file").touch()
    for out, complaint in (
        (tmp_path / "file", "is there already"),
        (tmp_path / "none" / "new", "there is no folder .*none; make it first"),
        (tmp_path / "file" / "new", "there is no folder"),
        (Path("/proc/new"), "/proc/new cannot be written"),
    ):
        with pytest.raises(StorageError, match=complaint):
            check_out(out)


def test_a_publisher_signs_and_names_who_may_release(tmp_path: Path) -> None:
    key = SigningKey.create(tmp_path / "key")
    signed = Publisher(tmp_path / "key", ["ab" * 32]).sign(tiny())
    model, _ = signed.verify(publisher=key.public)
    assert model.release_keys == ("ab" * 32,)


def test_without_a_key_nobody_signs() -> None:
    assert Publisher(None, None).sign(tiny()).model_statement is None


@pytest.mark.parametrize(
    ("key", "delegates", "kind", "complaint"),
    [
        ("none", None, StorageError, "cannot be read"),
        ("key", ["xyz"], SettingsError, "xyz is no public key"),
        (None, ["ab" * 32], SettingsError, "--delegate needs --sign-key"),
    ],
)
def test_keys_that_cannot_sign_are_noticed_before_there_is_a_bundle(
    tmp_path: Path,
    key: str | None,
    delegates: list[str] | None,
    kind: type[HeadwaterError],
    complaint: str,
) -> None:
    SigningKey.create(tmp_path / "key")
    with pytest.raises(kind, match=complaint):
        Publisher(tmp_path / key if key else None, delegates)
