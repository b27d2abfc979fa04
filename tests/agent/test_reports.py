from __future__ import annotations

import logging
from pathlib import Path

import msgspec
import numpy as np
import pytest

from headwater.wire import CheckedIn
from headwater_agent.live import LiveReport, read_ranks
from headwater_agent.met import Met
from headwater_agent.pipeline import Pipeline
from headwater_agent.predictions import Predictions
from headwater_agent.ranking import Ranking
from headwater_agent.releases import first_version
from headwater_agent.reports import Reports
from headwater_agent.settings import AgentSettings, Input
from tests.agent.making import prediction
from tests.models.bundles import tiny

WINDOW = np.zeros((3, 2), np.float32)


def settings_in(folder: Path) -> AgentSettings:
    made = AgentSettings(
        device="d1", bundle=Path("m"), input=Input(pattern="in/{stream}"), state=folder
    )
    made.agent_db.parent.mkdir(parents=True, exist_ok=True)
    made.share.mkdir(exist_ok=True)
    return made


def pipeline(settings: AgentSettings) -> Pipeline:
    manifest = tiny().manifest
    ranking = Ranking(manifest, ("rival",), ("v1",))
    return Pipeline(manifest, first_version(tiny()), settings.pipeline(manifest), ranking)


def count(pipe: Pipeline) -> None:
    made = msgspec.structs.replace(prediction(1), beside=np.array([[3]], np.float32))
    met = Met(Predictions.of([made]), WINDOW[None], [5.0], [None])
    pipe.ranking.count(met)


def test_the_owner_and_the_federation_client_find_what_they_read(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    Reports(settings, "ab" * 32, pipeline(settings)).write(
        connected=True, trouble="the disk is full", clock=""
    )
    told = msgspec.json.decode(settings.live.read_bytes(), type=LiveReport)
    assert (told.connected, told.trouble) == (True, "the disk is full")
    checked_in = msgspec.json.decode((settings.share / "status.json").read_bytes(), type=CheckedIn)
    assert (checked_in.device, checked_in.model) == ("d1", "ab" * 32)


def test_ranks_outlive_the_agent(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    assert read_ranks(settings.beside_ranks) == ()
    first = pipeline(settings)
    reports = Reports(settings, "m", first)
    reports.write(connected=True, trouble="", clock="")
    count(first)
    reports.write(connected=True, trouble="", clock="", last=True)
    second = pipeline(settings)
    Reports(settings, "m", second)
    assert second.ranking.report() == first.ranking.report() == read_ranks(settings.beside_ranks)
    assert second.ranking.report()[0].labels == 1


def test_ranks_that_cannot_be_read_begin_anew(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    settings.beside_ranks.write_bytes(b"[{")
    assert read_ranks(settings.beside_ranks) == ()


def test_a_status_that_cannot_be_written_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_in(tmp_path)
    reports = Reports(settings, "m", pipeline(settings))
    settings.share.rmdir()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            reports.write(connected=True, trouble="", clock="")
    assert len(caplog.records) == 1
    settings.share.mkdir()
    reports.write(connected=True, trouble="", clock="")
    assert settings.live.exists()
