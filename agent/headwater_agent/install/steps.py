"""One thing that is done to a device: what it is called, and how it is done."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path

from headwater.errors import StorageError, UnsupportedError
from headwater_agent.nodekey import make_key
from headwater_models.bundle import Bundle


@dataclass(frozen=True, slots=True)
class Step:
    """What is done, in words, and the doing."""

    says: str
    do: Callable[[], None]


def write(path: Path, text: str) -> Step:
    """Write a file that everyone may read, in one move, so that it is never half there."""

    def do() -> None:
        with _at(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            new = path.with_name(f"{path.name}.new")
            new.write_text(text, encoding="utf-8")
            new.chmod(0o644)
            new.replace(path)

    return Step(f"write {path}", do)


def copy_bundle(source: Path, path: Path) -> Step:
    """Copy a model to where services can read it."""

    def do() -> None:
        before = os.umask(0o022)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            Bundle.load(source).save(path)
        finally:
            os.umask(before)

    return Step(f"copy {source} to {path}", do)


def make_device_key(folder: Path) -> Step:
    """Make the device's key as the user whose folder it is, who could have put a trap there."""

    def do() -> None:
        with _at(folder), _as_owner_of(folder):
            make_key(Path())

    return Step(f"make the device's key in {folder}", do)


def remove(path: Path) -> Step:
    """Remove a file, or a folder with all that is in it."""

    def do() -> None:
        with _at(path):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    return Step(f"remove {path}", do)


def remove_if_empty(path: Path) -> Step:
    """Remove a folder in which nobody else put anything."""

    def do() -> None:
        with _at(path):
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()

    return Step(f"remove {path}, if nothing else is in it", do)


def run(*command: str) -> Step:
    """Run a program of the system."""
    line = " ".join(command)

    def do() -> None:
        try:
            done = subprocess.run(command, check=False, capture_output=True, text=True)
        except FileNotFoundError as error:
            raise UnsupportedError(
                f"There is no {command[0]} here: this needs a Linux with systemd 250 or newer."
            ) from error
        if done.returncode:
            said = (done.stderr or done.stdout).strip() or f"exit code {done.returncode}"
            raise UnsupportedError(f"`{line}` failed: {said}")

    return Step(f"run {line}", do)


@contextmanager
def _at(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path} cannot be changed: {error.strerror or error}.") from error


@contextmanager
def _as_owner_of(folder: Path) -> Iterator[None]:
    """Work in a folder with the rights of its owner alone, so that no link leads elsewhere."""
    owner, user, group = folder.stat(), os.geteuid(), os.getegid()
    with chdir(folder):
        os.setegid(owner.st_gid)
        os.seteuid(owner.st_uid)
        try:
            yield
        finally:
            os.seteuid(user)
            os.setegid(group)
