"""What is known of each device, in the books: written whole, read back at a start."""

from __future__ import annotations

from headwater_coordinator.engines import Engine
from headwater_coordinator.state import Device


class Devices:
    """A table of the books; whoever calls holds the transaction.

    Parameters
    ----------
    engine
        The database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def keep(self, device: Device) -> None:
        """Keep what is known of a device."""
        self._engine.upsert(
            "devices",
            {
                "node": device.node,
                "device": device.name,
                "version": device.version,
                "sequence": device.sequence,
                "records": device.records,
                "examples": device.examples,
                "alarms": device.alarms,
                "retrain": int(device.retrain),
                "asked": device.asked,
                "asked_ms": device.asked_ms,
                "unanswered": device.unanswered,
                "utility": device.utility,
                "duration_ms": device.duration_ms,
                "group_name": device.group,
                "scored": device.scored,
                "loss_baseline": device.loss_baseline,
                "loss_released": device.loss_released,
                "loss_personal": device.loss_personal,
                "online": int(device.online),
                "seen_ms": device.seen_ms,
            },
            key="node",
        )

    def all(self) -> list[Device]:
        """Return the devices as they were last heard of, with what of theirs was merged."""
        query = """
            SELECT node, device, version, sequence,
                (SELECT coalesce(max(sequence), 0) FROM updates WHERE node = devices.node),
                (SELECT coalesce(max(updates.sequence), 0) FROM updates
                    JOIN versions ON versions.version = updates.merged_in
                    WHERE node = devices.node AND kind = 'release'),
                records, examples, alarms, retrain, forgotten,
                asked, asked_ms, unanswered, utility, duration_ms, group_name,
                scored, loss_baseline, loss_released, loss_personal
            FROM devices
        """
        devices = [Device(*row) for row in self._engine.execute(query)]
        for device in devices:
            device.retrain, device.forgotten = bool(device.retrain), bool(device.forgotten)
        return devices
