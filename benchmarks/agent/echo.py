"""The smallest client that answers: paho's loop, and a callback that publishes what it got.

Without ``TCP_NODELAY``, which paho does not set, Nagle's algorithm may hold an answer back until
the broker has acknowledged the one before, some ten milliseconds at 100 a second.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion


def answer(client: paho.Client, before: Callable[[], object], message: paho.MQTTMessage) -> None:
    """Publish the payload again, under the topic's own name."""
    before()
    client.publish(f"echo/{message.topic}", message.payload, message.qos)


def send_at_once(_client: paho.Client, _data: object, opened: Any) -> None:
    """Switch Nagle's algorithm off."""
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def main(port: int, qos: int, before: Callable[[], object] = lambda: None) -> None:
    """Answer until killed; do something *before* each answer."""
    client = paho.Client(CallbackAPIVersion.VERSION2, "measured", userdata=before)
    client.on_message = answer
    client.on_socket_open = send_at_once
    client.connect("127.0.0.1", port)
    client.subscribe("sensors/+", qos)
    client.loop_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
