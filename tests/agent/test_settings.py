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


def test_every_impossible_combination_is_named_in_one_pass(tmp_path: Path) -> None:
    found = complaint(
        tmp_path,
        SMALLEST.replace("allow_unsigned = true", "")
        + 'qos = 2\n[broker]\nurl = "tcp://host"\n[federation]\nenabled = true\n',
    )
    assert "trust.publisher: this key is required" in found
    assert "input.qos: 2 is not supported" in found
    assert "broker.url: must be mqtt://HOST:PORT" in found
    assert "federation.coordinator: must be https://HOST:PORT" in found


@pytest.mark.parametrize(
    ("pattern", "key"),
    [
        ("#", "output.topic"),
        ("headwater/+/{stream}/prediction", "output.topic"),
        ("headwater/roof-1/{channel}", "output.status"),
    ],
)
def test_a_subscription_that_reads_our_own_output_is_refused(
    tmp_path: Path, pattern: str, key: str
) -> None:
    found = complaint(tmp_path, SMALLEST.replace("site/{stream}/{channel}", pattern))
    assert "would read this agent's own" in found
    assert key in found


def test_another_devices_predictions_may_be_read(tmp_path: Path) -> None:
    text = SMALLEST.replace("site/{stream}/{channel}", "headwater/roof-2/{stream}/prediction")
    assert load(tmp_path, text).inputs[0].subscription == "headwater/roof-2/+/prediction"


@pytest.mark.parametrize(
    ("added", "expected"),
    [
        ('[broker]\nurl = "mqtt://me:secret@host"', "broker.url: write the user"),
        ('[broker]\nurl = "mqtt://host:99999"', "broker.url: must be"),
        ('[broker]\nurl = "mqtt://host/path"', "broker.url: must be"),
        ('[broker]\nca = "ca.pem"', "broker.url: certificates are given"),
        ('[broker]\nurl = "mqtts://h"\ncert = "c.pem"', "broker.cert: a client certificate"),
        ('[broker]\npassword = "p"', "broker.username: a password needs"),
        ('[broker]\nkeepalive = "1s"', "broker.keepalive: must be"),
        ('time = { format = "s" }', "input.time: give both"),
        ('stream = "id"', "input.stream: the pattern names the stream already"),
        ('share = "a/b"', "input.share: the name of a share"),
        ('[output]\ntopic = "out/#"', "output.topic: a wildcard"),
        ('[output]\ntopic = "out/{model}"', "output.topic: only {device} and {stream}"),
        ('[output]\nstatus = "a/{b"', "output.status: 'a/{b' is no topic pattern"),
        ("[store]\nrows = 10", "store.rows: must be at least store.examples"),
        ('[federation]\ncoordinator = "http://far"', "federation.coordinator: http:// is for"),
        ('[federation]\ncoordinator = "https://c"\npoll = "1ms"', "federation.poll: must be"),
        ('[store]\ncommit_every = "fast"', "store.commit_every: expected a duration"),
    ],
)
def test_what_cannot_work_is_refused_with_its_key(
    tmp_path: Path, added: str, expected: str
) -> None:
    assert f"agent.toml: {expected}" in complaint(tmp_path, SMALLEST + added + "\n")


def test_a_publisher_that_is_no_key_is_refused(tmp_path: Path) -> None:
    text = SMALLEST.replace("allow_unsigned = true", 'publisher = "me"')
    assert "trust.publisher: must be a public key" in complaint(tmp_path, text)


@pytest.mark.parametrize(
    "pattern", ["site/{stream", "site/{place}", "$share/{stream}/{stream}", "a/#/b"]
)
def test_a_pattern_that_means_nothing_is_refused(tmp_path: Path, pattern: str) -> None:
    assert "input.pattern: " in complaint(
        tmp_path, SMALLEST.replace("site/{stream}/{channel}", pattern)
    )


def test_a_shared_subscription_carries_the_name_of_the_share(tmp_path: Path) -> None:
    settings = load(tmp_path, SMALLEST + 'share = "agents"\n')
    assert settings.inputs[0].subscription == "$share/agents/site/+/+"


def test_the_coordinator_on_this_machine_needs_no_tls(tmp_path: Path) -> None:
    added = '[federation]\nenabled = true\ncoordinator = "http://127.0.0.1:9000"\n'
    assert load(tmp_path, SMALLEST + added).federation.enabled


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
