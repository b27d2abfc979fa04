"""``coordinator.toml`` is checked whole, and the template tells the truth about defaults."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from headwater.errors import SettingsError
from headwater.settings import encode_hook
from headwater_coordinator.settings import Buffered, Settings, read_settings
from headwater_coordinator.strategies.table import TABLE
from headwater_coordinator.template import TEMPLATE

FILLED = TEMPLATE.format(host="127.0.0.1", port=8443, superlink_port=8444)


def write(folder: Path, text: str) -> Path:
    path = folder / "coordinator.toml"
    path.write_text(text)
    return path


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    assert read_settings(write(tmp_path, "")) == Settings()


def test_the_template_is_valid_and_gives_the_defaults(tmp_path: Path) -> None:
    assert read_settings(write(tmp_path, FILLED)) == Settings()


def test_the_figures_behind_hash_signs_are_the_defaults() -> None:
    shown = tomllib.loads(re.sub(r"^# (?=[a-z_]+ = )", "", FILLED, flags=re.MULTILINE))
    defaults = msgspec.to_builtins(Settings(), enc_hook=encode_hook)
    manifests = {"batch", "learning_rate"}
    derived = {"exploration", "confidence", "listen", "textfile"}
    derived |= {"worst_device_tolerance", "worst_group_tolerance"}
    for section, fields in shown.items():
        for name, value in fields.items():
            if name not in manifests | derived:
                assert str(defaults[section][name]) == str(value), f"{section}.{name}"
    assert {name: set(fields) for name, fields in shown.items()} == {
        name: set(fields) for name, fields in defaults.items()
    }


def test_every_wrong_key_is_named_with_its_path(tmp_path: Path) -> None:
    path = write(tmp_path, '[front]\nprot = 1\n[federation]\nfraction = 2.0\npause = "soon"\n')
    with pytest.raises(SettingsError) as caught:
        read_settings(path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert any("front.prot: there is no such key" in line for line in lines)
    assert any("federation.fraction" in line for line in lines)
    assert any("federation.pause" in line and '"30s"' in line for line in lines)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[federation]\nmin_devices = 9\nmax_devices = 3", "max_devices must be at least"),
        ("[gate]\nmin_evaluators = 9\nmax_evaluators = 3", "max_evaluators must be at least"),
        ("[front]\nport = 9000\n[superlink]\nport = 9000", "must differ"),
        ('[superlink]\npoll = "1ms"', "between 50ms and 1min"),
        ('[gate]\ndeadline = "0s"', "at least 1s"),
        ('[federation]\nmessage_ttl = "1min"', "message_ttl must be at least"),
        (
            "[federation]\nbuffer = 3",
            'federation.buffer: only with federation.discipline = "buffered"',
        ),
        ('[federation]\ndiscipline = "buffered"\npause = "1s"', "federation.pause: only with"),
        ('[federation]\ndiscipline = "buffered"\nbuffer = 1', "buffer must be at least"),
        ('[federation]\ndiscipline = "buffered"\nconcurrency = 1', "concurrency must be at least"),
        ("[federation]\nexploration = 0.5", 'exploration is for federation.selection = "guided"'),
        ('[federation]\ndiscipline = "chaos"', "federation.discipline|Invalid value 'chaos'"),
        ("[gate]\ntolerance = 0.1\nmargin = 0.1", "exclude each other"),
        ("[gate]\nconfidence = 0.9", 'is for gate.test = "t" or "sign"'),
        ('[gate]\ntest = "t"', "min_evaluators must be at least 2"),
        ('[gate]\ntest = "sign"\nmin_evaluators = 4', "min_evaluators must be at least 5"),
        ('[strategy]\nname = "krum"', "min_devices must be at least 3, for strategy krum"),
    ],
)
def test_a_combination_that_cannot_work_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        read_settings(write(tmp_path, text))


def test_the_template_shows_the_defaults_of_the_buffered_discipline_too() -> None:
    shown = tomllib.loads("\n".join(re.findall(r"^#   (\w+ = .*)$", FILLED, flags=re.MULTILINE)))
    defaults = Buffered()
    assert shown == {"buffer": defaults.buffer, "concurrency": defaults.concurrency}
    assert f"buffered: {defaults.max_staleness}" in FILLED


def test_a_discipline_brings_its_own_keys(tmp_path: Path) -> None:
    text = '[federation]\ndiscipline = "buffered"\nbuffer = 1\nmin_devices = 1\n'
    assert read_settings(write(tmp_path, text)).federation == Buffered(buffer=1, min_devices=1)


def test_a_section_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="federation"):
        read_settings(write(tmp_path, "federation = 3\n"))


def test_the_strategy_is_checked_with_the_rest(tmp_path: Path) -> None:
    path = write(tmp_path, '[strategy]\nname = "fedadam"\nspeed = 1')
    with pytest.raises(SettingsError, match=r"coordinator.toml: strategy.speed: .* takes eta"):
        read_settings(path)


def test_the_template_names_every_strategy_that_can_be_chosen() -> None:
    names = {row.name.lower() for row in TABLE if row.kind is not None}
    assert names <= set(re.findall(r"\w+", FILLED))
