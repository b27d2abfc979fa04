from __future__ import annotations

from pathlib import Path

from tests.agent.agent_toml import SMALLEST, complaint, load


def test_the_smallest_file_is_enough(tmp_path: Path) -> None:
    settings = load(tmp_path, SMALLEST)
    assert settings.inputs[0].subscription == "site/+/+"
    assert settings.client_id == "headwater-roof-1"
    assert (settings.broker.host, settings.broker.port) == ("127.0.0.1", 1883)
    assert settings.commit_records == 1000


def test_relative_paths_are_taken_from_the_files_folder(tmp_path: Path) -> None:
    settings = load(tmp_path, SMALLEST)
    assert settings.bundle == tmp_path / "model"
    assert settings.agent_db == tmp_path / "state" / "agent" / "agent.db"
    assert settings.node_key == tmp_path / "state" / "exchange" / "node.key"


def test_several_inputs_are_a_list(tmp_path: Path) -> None:
    text = SMALLEST.replace("[input]", "[[input]]") + '[[input]]\npattern = "air/{stream}"\n'
    assert [item.pattern for item in load(tmp_path, text).inputs] == [
        "site/{stream}/{channel}",
        "air/{stream}",
    ]


def test_every_wrong_key_is_named_with_its_path(tmp_path: Path) -> None:
    found = complaint(tmp_path, SMALLEST + 'qos = "one"\n[broker]\nprot = 1\n')
    assert "agent.toml: input.qos: Expected `int`" in found
    assert "agent.toml: broker.prot: there is no such key" in found


def test_a_shared_subscription_carries_the_name_of_the_share(tmp_path: Path) -> None:
    settings = load(tmp_path, SMALLEST + 'share = "agents"\n')
    assert settings.inputs[0].subscription == "$share/agents/site/+/+"


def test_the_password_comes_from_the_environment_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from-file\n")
    text = SMALLEST + '[broker]\nusername = "u"\npassword_file = "secret"\n'
    assert load(tmp_path, text).broker.password == "from-file"
    assert load(tmp_path, text, HEADWATER_BROKER_PASSWORD="env").broker.password == "env"


def test_a_password_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    found = complaint(tmp_path, SMALLEST + '[broker]\nusername = "u"\npassword_file = "no"\n')
    assert "broker.password_file" in found
    assert "no cannot be read" in found


def test_no_password_is_shown(tmp_path: Path) -> None:
    text = SMALLEST + '[broker]\nusername = "u"\npassword = "hunter2"\n'
    settings = load(tmp_path, text)
    assert settings.broker.password == "hunter2"
    assert "hunter2" not in repr(settings)


def test_a_31_broker_gets_its_acknowledgements_before_it_stops(tmp_path: Path) -> None:
    assert load(tmp_path, SMALLEST + '[broker]\nversion = "3.1.1"\n').commit_records == 20
