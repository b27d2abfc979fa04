from __future__ import annotations

from pathlib import Path

import pytest

from tests.agent.agent_toml import SMALLEST, complaint, load


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
        ("headwater/roof-1/{stream}/alarm", "output.alarm"),
    ],
)
def test_a_subscription_that_reads_our_own_output_is_refused(
    tmp_path: Path, pattern: str, key: str
) -> None:
    found = complaint(tmp_path, SMALLEST.replace("site/{stream}/{channel}", pattern))
    assert "would read this agent's own" in found
    assert key in found


@pytest.mark.parametrize("told", ['id = "id"', 'time = { field = "t", format = "ms" }'])
def test_labels_may_wait_for_more_only_where_they_say_what_they_are_for(
    tmp_path: Path, told: str
) -> None:
    text = (
        SMALLEST
        + 'time = { field = "t", format = "ms" }\n[broker]\nlinger = "50ms"\n'
        + '[labels]\npattern = "labels/{stream}"\n'
    )
    assert complaint(tmp_path, text).count("broker.linger: labels without a time or an id") == 1
    assert load(tmp_path, text + told).labels is not None


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
        ('[broker]\nretry = "0s"', "broker.retry: must be from 1s to 1h"),
        ('[broker]\nlinger = "2s"', "broker.linger: must be from 0s to 1s"),
        ('[broker]\nlinger = "50ms"', "broker.linger: records without a time of their own"),
        ('time = { format = "s" }', "input.time: give both"),
        ('stream = "id"', "input.stream: the pattern names the stream already"),
        ('share = "a/b"', "input.share: the name of a share"),
        ('[output]\ntopic = "out/#"', "output.topic: a wildcard"),
        ('[beside]\ntopic = "out/#"', "beside.topic: a wildcard"),
        (
            '[beside]\nmodels = ["m"]\ntopic = "site/a/b"',
            "input.pattern: 'site/{stream}/{channel}' would read this agent's own 'site/a/b'",
        ),
        ('[output]\ntopic = "out/{model}"', "output.topic: only {device} and {stream}"),
        ('[output]\nstatus = "a/{b"', "output.status: 'a/{b' is no topic pattern"),
        ("[store]\nrows = 10", "store.rows: must be at least store.examples"),
        ('[federation]\ncoordinator = "http://far"', "federation.coordinator: http:// is for"),
        ('[federation]\ncoordinator = "https://c"\npoll = "1ms"', "federation.poll: must be"),
        ('[federation]\ncoordinator = "https://c"\nevery = "5s"', "federation.every: must be"),
        ('[metrics]\nlisten = "9464"', "metrics.listen: must be an address and a port"),
        ('[metrics]\nlisten = "localhost:9464"', "metrics.listen: must be an address"),
        ('[metrics]\nlisten = "127.0.0.1:70000"', "metrics.listen: must be an address"),
        ('[metrics]\ntextfile = "hw.txt"', "metrics.textfile: its name must end in .prom"),
        ('[metrics]\nevery = "5ms"', "metrics.every: must be at least 1s"),
        (
            '[federation]\ncoordinator = "https://c"\nhours = ["01:00-02:00", "22-6"]',
            "federation.hours[1]: expected hours such as",
        ),
        (
            '[federation]\ncoordinator = "https://c"\nallow = ["on-mains"]',
            "federation.allow: the program needs an absolute path",
        ),
        (
            '[federation]\ncoordinator = "https://c"\nallow_timeout = "1h"',
            "federation.allow_timeout: must be from",
        ),
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


def test_the_coordinator_on_this_machine_needs_no_tls(tmp_path: Path) -> None:
    added = '[federation]\nenabled = true\ncoordinator = "http://127.0.0.1:9000"\n'
    assert load(tmp_path, SMALLEST + added).federation.enabled
