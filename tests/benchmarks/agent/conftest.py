from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.agent import workload


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the benchmark's model."""
    folder = tmp_path_factory.mktemp("benchmark") / "model"
    workload.model().save(folder)
    return folder
