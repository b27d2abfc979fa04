"""The coordinator's home folder: what lies where, and with which permissions."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from headwater.errors import StorageError
from headwater_coordinator.location import Location, read_location


@dataclass(frozen=True, slots=True)
class Home:
    """Paths below the folder that ``headwater coordinator init`` makes.

    Parameters
    ----------
    root
        The folder; everything the coordinator knows lies in it.
    """

    root: Path

    @property
    def settings(self) -> Path:
        """``coordinator.toml``."""
        return self.root / "coordinator.toml"

    @property
    def bundle(self) -> Path:
        """The model's bundle, copied at ``init``."""
        return self.root / "bundle"

    @property
    def keys(self) -> Path:
        """Certificates and keys; only the owner may look."""
        return self.root / "keys"

    @property
    def authority(self) -> Path:
        """The certificate that devices trust (``ca.crt``); it is no secret."""
        return self.root / "ca.crt"

    @property
    def certificate(self) -> Path:
        """The server's certificate, used by the front and by the SuperLink."""
        return self.keys / "server.crt"

    @property
    def certificate_key(self) -> Path:
        """The key of :attr:`certificate`."""
        return self.keys / "server.key"

    @property
    def authority_key(self) -> Path:
        """The key of :attr:`authority`; may be moved away once the certificate is made."""
        return self.keys / "ca.key"

    @property
    def release_key(self) -> Path:
        """The key that signs versions."""
        return self.keys / "release.key"

    @property
    def next_release_key(self) -> Path:
        """The key that shall sign versions, until the running ServerApp has taken it."""
        return self.keys / "release.key.next"

    @property
    def publisher_key(self) -> Path:
        """The publisher's key, where ``init`` had to make one."""
        return self.keys / "publisher.key"

    @property
    def executor_secret(self) -> Path:
        """What the SuperExec proves itself with to the SuperLink."""
        return self.keys / "superexec.secret"

    @property
    def nodes(self) -> Path:
        """One public key for each enrolled device."""
        return self.root / "nodes"

    @property
    def versions(self) -> Path:
        """``<version id>.safetensors``: the weights of each version."""
        return self.root / "versions"

    @property
    def database(self) -> Path:
        """``coordinator.db``: the books, unless the settings name another place."""
        return self.root / "coordinator.db"

    @property
    def books(self) -> Location:
        """Where the books lie, as the settings say; their one writer is the ServerApp.

        Raises
        ------
        SettingsError
            When the settings cannot be read.
        """
        return read_location(self.settings, self.database)

    @property
    def requests(self) -> Path:
        """What commands ask of the ServerApp (see :mod:`.requests`)."""
        return self.root / "requests"

    @property
    def live(self) -> Path:
        """Where the federation stands (see :mod:`.live`); read while :attr:`lock` is held."""
        return self.root / "live.json"

    @property
    def lock(self) -> Path:
        """Held by the ServerApp while it lives."""
        return self.root / "serverapp.lock"

    @property
    def flower(self) -> Path:
        """Flower's own folder (``FLWR_HOME``) and the SuperLink's database."""
        return self.root / "flower"

    @property
    def logs(self) -> Path:
        """Logs of the processes that ``serve`` starts."""
        return self.root / "logs"

    def make(self) -> None:
        """Make the folders; only the owner can look into them.

        Raises
        ------
        StorageError
            When one cannot be made.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            for folder in (self.keys, self.nodes, self.versions, self.flower, self.logs):
                folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{self.root} cannot be made: {error}.") from error


def existing(folder: Path) -> Home:
    """Return the home in a folder that ``init`` made.

    Raises
    ------
    StorageError
        When it is none.
    """
    home = Home(folder.resolve())
    if not home.settings.is_file():
        raise StorageError(
            f"{home.root} is no coordinator's folder (it has no coordinator.toml); name it with "
            "--home, or make one with `headwater coordinator init`."
        )
    return home


def write_secret(path: Path, content: bytes) -> None:
    """Write a new file that only its owner can read, durable before this returns.

    Raises
    ------
    StorageError
        When the file exists already or cannot be written.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError as error:
        raise StorageError(f"{path} is there already and is never overwritten.") from error
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error}.") from error
