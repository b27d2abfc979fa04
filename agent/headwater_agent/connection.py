"""The connection to the broker that an agent's settings ask for."""

from __future__ import annotations

import random

from headwater_agent import publish
from headwater_agent.mqtt import MqttTransport
from headwater_agent.settings import AgentSettings
from headwater_agent.transport import Session, Status, Transport, Waker, backoff


def session_of(settings: AgentSettings) -> Session:
    """Return who the agent is to the broker, and what it wants to hear."""
    device = settings.device
    return Session(
        client_id=settings.client_id,
        subscriptions=settings.subscriptions,
        status=Status(
            settings.status_topic,
            online=publish.status(device, "online"),
            offline=publish.status(device, "offline"),
        ),
    )


def make_transport(settings: AgentSettings, waker: Waker) -> Transport:
    """Return the transport; it connects with its first poll.

    Raises
    ------
    SettingsError
        When a certificate or key cannot be read.
    """
    chance, longest = random.SystemRandom(), settings.broker.retry / 1000
    return MqttTransport(
        settings.broker,
        session_of(settings),
        waker=waker,
        delays=lambda: backoff(chance, longest=longest),
        queue=settings.store.outbox,
    )
