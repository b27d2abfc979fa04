"""What the books say of earlier updates, for the firewall to go on from after a restart."""

from __future__ import annotations

from headwater_coordinator.cohort import KEPT_NORMS
from headwater_coordinator.engines import Engine
from headwater_coordinator.state import Conduct, Past

_HOUR_MS = 3_600_000


def read_past(engine: Engine) -> Past:
    """Return the norms of the newest accepted updates, and how each device has behaved.

    An hour's updates of a device count as if they had all come at its last one.
    """
    norms = engine.execute(
        "SELECT norm FROM updates WHERE norm IS NOT NULL ORDER BY id DESC LIMIT ?", (KEPT_NORMS,)
    )
    return Past([norm for (norm,) in reversed(norms)], _conduct(engine))


def _conduct(engine: Engine) -> dict[str, Conduct]:
    accepted = """
        SELECT node, max(examples), max(received_ms),
            count(*) FILTER (WHERE received_ms > newest - ?)
        FROM updates JOIN (SELECT node AS who, max(received_ms) AS newest FROM updates GROUP BY who)
            AS latest ON who = node
        GROUP BY node
    """
    conduct = {}
    for node, examples, newest, crowd in engine.execute(accepted, (_HOUR_MS,)):
        conduct[node] = Conduct(examples=examples, crowd=float(crowd), crowd_ms=newest)
    refused = """
        SELECT refusals.node, count(*), min(time_ms) FROM refusals
        LEFT JOIN (SELECT node AS who, max(received_ms) AS newest FROM updates GROUP BY who)
            AS latest ON who = refusals.node
        WHERE kind = 'Update' AND time_ms > coalesce(newest, -1)
        GROUP BY refusals.node
    """
    for node, count, first in engine.execute(refused):
        known = conduct.setdefault(node, Conduct())
        known.refusals, known.refused_ms = count, first
    return conduct
