"""Where a bundle goes and who signs it, proved before the work that makes it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from headwater.clock import now_ms
from headwater.errors import SettingsError, StorageError
from headwater_models.bundle import Bundle
from headwater_models.files import storage_errors
from headwater_models.keys import SigningKey, read_public


def check_out(out: Path) -> None:
    """Refuse a place where nothing new can be written.

    Raises
    ------
    StorageError
        Saying what is in the way.
    """
    if out.exists():
        raise StorageError(f"{out} is there already; remove it or choose another name.")
    folder = out.absolute().parent
    if not folder.is_dir():
        raise StorageError(f"{out} cannot be written: there is no folder {folder}; make it first.")
    with storage_errors(out, "written"), tempfile.TemporaryFile(dir=folder):
        pass


class Publisher:
    """Whoever signs a bundle, if anyone does.

    Parameters
    ----------
    key
        File of the private key; None: nobody signs.
    delegates
        Public keys that may release versions, or files of them.
    replaces
        File of the private key in whose place this one comes.

    Raises
    ------
    SettingsError
        When a key is none, or there are delegates and nobody who signs.
    StorageError
        When a private key cannot be read, or is open to others.
    """

    def __init__(
        self, key: Path | None, delegates: list[str] | None, replaces: Path | None = None
    ) -> None:
        if delegates and key is None:
            raise SettingsError(
                "--delegate needs --sign-key: it is the signature that names who may release."
            )
        self._key = SigningKey.load(key) if key is not None else None
        self._replaces = SigningKey.load(replaces) if replaces is not None else None
        self._delegates = [read_public(delegate) for delegate in delegates or []]

    def sign(self, bundle: Bundle) -> Bundle:
        """Return the bundle signed, or as it is where nobody signs."""
        if self._key is None:
            return bundle
        return bundle.sign(
            self._key, delegates=self._delegates, created=now_ms(), replaces=self._replaces
        )
