"""The disk is full, and the database damaged."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import skip_or_fail
from tests.system.faults.stage import check, staged, until

pytestmark = pytest.mark.system

SIZE = 6 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        skip_or_fail("only root can make a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Leave no room at all."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65_536, 4_096):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    return filler


def test_a_disk_that_is_full_for_a_while(tmp_path: Path, small_disk: Path) -> None:
    """Predictions go on; nothing is acknowledged until it can be stored."""
    with staged(tmp_path / "stage", state=small_disk / "state") as stage:
        load = stage.begin().start()
        stage.predicts("at first")
        filler = fill(small_disk)
        until(lambda: "nothing can be stored for now" in stage.device.said(), "it says so")
        before = len(stage.wire.acknowledged)
        stage.predicts("while the disk is full")
        time.sleep(8)
        assert len(stage.wire.acknowledged) == before
        filler.unlink()
        until(lambda: "can be written again" in stage.device.said(), "it says so")
        stage.predicts("when there is room again")
        records = load.stop()
        stage.rest(len(records))
        stage.device.stop()
        check(stage, records, what="disk full for 8 s")


def test_an_agent_that_is_killed_while_the_disk_is_full(tmp_path: Path, small_disk: Path) -> None:
    with staged(tmp_path / "stage", state=small_disk / "state") as stage:
        load = stage.begin().start()
        stage.predicts("at first")
        filler = fill(small_disk)
        until(lambda: "nothing can be stored for now" in stage.device.said(), "it says so")
        stage.device.kill()
        stage.device.start()
        time.sleep(3)
        filler.unlink()
        if stage.device.ended:  # as its service manager does
            stage.device.start()
        stage.predicts("when there is room again")
        records = load.stop()
        stage.rest(len(records))
        stage.device.stop()
        check(stage, records, what="killed while the disk was full")
