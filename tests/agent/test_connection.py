from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import msgspec

from headwater.settings import Duration
from headwater_agent.broker_settings import Broker
from headwater_agent.connection import make_transport, session_of
from headwater_agent.mqtt import MqttTransport
from headwater_agent.settings import AgentSettings, Input, LabelInput, StoreSettings
from headwater_agent.transport import Waker

SETTINGS = AgentSettings(
    device="roof-1",
    bundle=Path("m"),
    input=Input(pattern="site/{stream}", qos=0),
    labels=LabelInput(pattern="label/{stream}"),
)


def test_the_session_outlives_connections_and_hears_inputs_and_labels() -> None:
    session = session_of(SETTINGS)
    assert (session.client_id, session.persistent) == ("headwater-roof-1", True)
    assert session.subscriptions == (("site/+", 0), ("label/+", 1))


def test_the_status_says_who_is_there_and_who_is_not() -> None:
    status = session_of(SETTINGS).status
    assert status is not None
    assert status.topic == "headwater/roof-1/status"
    assert json.loads(status.online) == {"device": "roof-1", "status": "online"}
    assert json.loads(status.offline) == {"device": "roof-1", "status": "offline"}


def test_nothing_is_connected_before_the_first_poll() -> None:
    with closing(Waker()) as waker, closing(make_transport(SETTINGS, waker)) as transport:
        assert (transport.connected, transport.trouble) == (False, "")


def test_the_pauses_between_attempts_grow_no_longer_than_the_owner_says() -> None:
    settings = msgspec.structs.replace(SETTINGS, broker=Broker(retry=Duration(5_000)))
    with closing(Waker()) as waker, closing(make_transport(settings, waker)) as transport:
        assert isinstance(transport, MqttTransport)
        pauses = [pause for pause, _ in zip(transport._delays, range(200), strict=False)]
    assert 2 < max(pauses) <= 5


def test_as_many_messages_may_wait_as_the_outbox_holds() -> None:
    settings = msgspec.structs.replace(SETTINGS, store=StoreSettings(outbox=3))
    with closing(Waker()) as waker, closing(make_transport(settings, waker)) as transport:
        for _ in range(5):
            transport.publish("a", b"", qos=1, retain=False)
        assert transport.dropped == 2
