"""The smallest settings file, and what loading one gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.errors import SettingsError
from headwater_agent.settings import AgentSettings, load_settings

SMALLEST = """
device = "roof-1"
bundle = "model"
[trust]
allow_unsigned = true
[input]
pattern = "site/{stream}/{channel}"
"""


def load(folder: Path, text: str, **environ: str) -> AgentSettings:
    path = folder / "agent.toml"
    path.write_text(text)
    return load_settings(path, environ)


def complaint(folder: Path, text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(folder, text)
    return str(caught.value)
