"""The ServerApp that never ends: Flower's run, and the coordinator inside it."""

from __future__ import annotations

import logging
import logging.handlers
import time
from pathlib import Path

import numpy as np

from headwater.clock import now_ms
from headwater_coordinator.child import end_with_parent
from headwater_coordinator.coordinator import Coordinator
from headwater_coordinator.database import Database
from headwater_coordinator.flower import Connect, RunEnded, server_app
from headwater_coordinator.home import Home
from headwater_coordinator.lock import held
from headwater_coordinator.settings import read_settings
from headwater_models.arrays import packed_bytes
from headwater_models.bundle import Bundle

_log = logging.getLogger(__name__)


def run(connect: Connect, folder: Path) -> None:
    """Run the federation until the process is told to stop."""
    end_with_parent()
    home = Home(folder)
    _log_to(home.logs / "serverapp.log")
    try:
        _run(connect, home)
    except RunEnded as error:
        _log.info("stopped: %s", error)
    except Exception as error:
        _log.exception("the coordinator failed: %s", error)
        raise


def _run(connect: Connect, home: Home) -> None:
    settings = read_settings(home.settings)
    with held(home.lock), Database(home.books) as database:
        database.rounds.interrupt(now_ms())
        bundle = Bundle.load(home.bundle)
        link = connect(packed_bytes(bundle.manifest))
        coordinator = Coordinator(
            home=home,
            settings=settings,
            bundle=bundle,
            database=database,
            link=link,
            rng=np.random.default_rng(),
        )
        _log.info("model %s, %s", bundle.model_id[:12], bundle.manifest.name)
        while True:
            coordinator.turn(now_ms())
            time.sleep(settings.superlink.poll / 1000)


def _log_to(path: Path) -> None:
    """Log to a file of bounded size; Flower shows nothing of what a ServerApp prints."""
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=10_000_000, backupCount=3)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("headwater_coordinator")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)


app = server_app(run)
"""What the run's bundle names; importing this module starts nothing."""
