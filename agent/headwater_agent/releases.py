"""A release that the federation client received, proved once more before it may serve."""

from __future__ import annotations

import math
import random

import numpy as np
from numpy.typing import NDArray

from headwater.errors import BundleError
from headwater_agent.compute import Compute
from headwater_agent.correspondence import StoredVersion
from headwater_agent.events import Infer, Version, Windows
from headwater_agent.exchange import ExchangeReader
from headwater_agent.settings import AgentSettings
from headwater_models.bundle import FIRST_SEQUENCE, Bundle
from headwater_models.checks import Draw, golden_windows
from headwater_models.identity import version_id
from headwater_models.signing import (
    ModelStatement,
    check_change,
    later,
    verify_model,
    verify_version,
)
from headwater_models.weights import load_weights


def first_version(bundle: Bundle) -> Version:
    """Return the version that the bundle itself holds."""
    sequence = FIRST_SEQUENCE
    if bundle.version_statement is not None:
        sequence = bundle.verify()[1].sequence
    return Version(bundle.version_id, sequence, bundle.weights)


class Releases:
    """Watches for a release newer than the one that serves.

    The client has checked it already; the agent trusts no other process with what it runs.

    Parameters
    ----------
    settings
        Where received versions lie.
    bundle
        The model, with the publisher's statement that names the release keys until a later
        one came.
    compute
        Warms a version and runs it on golden rows.
    """

    def __init__(self, settings: AgentSettings, bundle: Bundle, compute: Compute) -> None:
        self._exchange = ExchangeReader(settings.exchange_db)
        self._folder = settings.exchange / "versions"
        self._publisher = settings.trust.publisher or None
        self._bundle = bundle
        self._compute = compute
        self._refused: set[str] = set()

    def newer(self, current: Version) -> tuple[Version, int] | None:
        """Return the newest release and this device's highest update in it, or None.

        Raises
        ------
        BundleError
            When the newest release may not serve; it is not looked at again.
        StorageError
            When it cannot be read.
        """
        found = self._exchange.newest()
        if found is None or found.sequence <= current.sequence or found.statement in self._refused:
            return None
        try:
            version = self._prove(found)
        except BundleError:
            self._refused.add(found.statement)
            raise
        return version, found.merged

    def warm(self, version: Version) -> None:
        """Run a version on golden rows, so that its first prediction takes no longer than others.

        Raises
        ------
        BundleError
            When an answer is not finite.
        """
        draw = _draw_from(random.Random(version.sequence))  # noqa: S311 - no secret
        for name, values in golden_windows(self._bundle.manifest, draw).items():
            times = np.zeros(len(values), np.int64)
            windows = Windows(("golden",) * len(values), times, values)
            answer = self._compute.infer(Infer(windows, {"released": version.weights}))
            if not np.isfinite(answer.outputs["released"]).all():
                raise BundleError(f"Version {version.name[:12]} gives no finite answer on {name}.")

    def _prove(self, found: StoredVersion) -> Version:
        statement = verify_version(found.statement, trusted=self._trusted())
        if (statement.version, statement.sequence) != (found.version, found.sequence):
            raise BundleError(f"Version {found.version[:12]} is not what its statement says.")
        if statement.kind == "candidate":
            raise BundleError(f"Version {found.version[:12]} is a candidate: never served.")
        manifest = self._bundle.manifest
        weights = load_weights(self._folder / f"{found.version}.safetensors", manifest)
        if version_id(manifest, self._bundle.model_id, weights) != found.version:
            raise BundleError(f"The weights of version {found.version[:12]} were changed.")
        check_change(manifest, self._bundle.weights, weights)
        version = Version(found.version, found.sequence, weights)
        self.warm(version)
        return version

    def _trusted(self) -> ModelStatement:
        if self._bundle.model_statement is None:
            raise BundleError(
                "The bundle is not signed, so no release of it can be trusted; "
                "its publisher signs it with `headwater model sign`."
            )
        trusted = verify_model(
            self._bundle.model_statement, model=self._bundle.model_id, publisher=self._publisher
        )
        came = self._exchange.delegation()
        return trusted if came is None else later(trusted, came)


def _draw_from(chance: random.Random) -> Draw:
    """Draw from Python's own generator: numpy's is 2.5 MB that a running agent does without."""

    def draw(shape: tuple[int, ...]) -> NDArray[np.float64]:
        return np.array([chance.random() for _ in range(math.prod(shape))]).reshape(shape)

    return draw
