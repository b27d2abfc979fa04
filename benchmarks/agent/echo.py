"""The smallest client that answers: paho's loop, and a callback that publishes what it got."""

from __future__ import annotations

import sys

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion


def answer(client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
    """Publish the payload again, under the topic's own name."""
    client.publish(f"echo/{message.topic}", message.payload, message.qos)


def main(port: int, qos: int) -> None:
    """Answer until killed."""
    client = paho.Client(CallbackAPIVersion.VERSION2, "measured")
    client.on_message = answer
    client.connect("127.0.0.1", port)
    client.subscribe("sensors/+", qos)
    client.loop_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
