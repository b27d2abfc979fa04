"""One run of the Ray engine."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from headwater.settings import encode_hook
from headwater_simulator.cluster.dealing import Carry, Dealer
from headwater_simulator.cluster.working import require_tables
from headwater_simulator.report.results import Results
from headwater_simulator.scenario.settings import Scenario
from headwater_simulator.sources.opening import open_source
from headwater_simulator.virtual.engine import Engine
from headwater_simulator.virtual.fleet import make_bundle


def clustered(
    name: str,
    scenario: Scenario,
    told: Callable[[float], None],
    *,
    address: str | None = None,
    workers: int | None = None,
) -> Results:
    """Run a scenario whose devices are trained on a Ray cluster.

    Clock, network, coordinator, the gate's judges and the report are here, as on the virtual
    engine.

    Parameters
    ----------
    name
        What to call it in the report.
    told
        Called now and then with the share of the run that is over.
    address
        Of the cluster; without it, one is started on this machine.
    workers
        How many; without it, one for each CPU of the cluster.

    Raises
    ------
    UnsupportedError
        When the scenario has streams, or Ray is not installed.
    UnreachableError, PeerError
        When there is no such cluster, or a worker fails.
    """
    source = require_tables(open_source(scenario))
    manifest = make_bundle(scenario, source.facts).manifest

    def work(found: int, carry: Carry) -> Results:
        engine = Engine(scenario, source, elsewhere=Dealer(manifest, found, carry))
        return engine.run(name, told)

    from headwater_simulator.cluster.flower import on_cluster  # noqa: PLC0415 - slow, and an extra

    said = msgspec.json.encode(scenario, enc_hook=encode_hook)
    return on_cluster(said, work, address=address, workers=workers)
