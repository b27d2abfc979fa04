"""A coordinator is lost and restored from an old backup: devices go on, and are not restarted."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest

from tests.system.test_coordinator import Served, connected, eventually
from tests.system.test_coordinator_killed import Auditor, Witness, fleet, releases_reach

pytestmark = pytest.mark.system


def test_devices_go_on_with_a_coordinator_restored_from_an_old_backup(tmp_path: Path) -> None:
    witness = Witness(random.Random(0))
    served = Served(tmp_path)
    devices = fleet(served, witness, 2)
    file, home = tmp_path / "made.tar", str(served.home.root)
    served.start()
    try:
        with connected(served, *devices):
            eventually(lambda: served.status.releases >= 1, "a release")
            served.run("backup", str(file), "--home", home)
            backed_up = served.status.sequence
            eventually(lambda: releases_reach(devices, backed_up + 1), "two more releases")

            served.stop(signal.SIGKILL)
            eventually(lambda: served.relatives() == [], "no process is left")
            served.home.root.rename(tmp_path / "lost")
            held = max(device.releases[-1].sequence for device in devices)
            served.run("restore", str(file), "--home", home)
            back = served.status.sequence
            assert back > held
            served.start()
            eventually(lambda: releases_reach(devices, back), "a release after the restore", 150)
        assert served.stop() == 0
    finally:
        if served.process.poll() is None:
            served.stop()
    Auditor(served.home, served.bundle, witness).audit()
