"""The personal model as a bundle of its own: to look at, or to run wherever ONNX runs."""

from __future__ import annotations

import dataclasses
from contextlib import closing

from headwater.errors import StorageError, UnsupportedError
from headwater_agent.agent_reader import AgentReader
from headwater_agent.learner import SavedLearning, read_checkpoint
from headwater_agent.rivers.personal import RiverPersonal
from headwater_agent.rivers.settings import RiverSettings
from headwater_agent.rivers.step import saved_river
from headwater_agent.settings import AgentSettings
from headwater_agent.sync import unpack_arrays
from headwater_models.arrays import Arrays
from headwater_models.bundle import Bundle
from headwater_models.session import Predictor


def export_personal(settings: AgentSettings) -> Bundle:
    """Return what a device has learned, as of its last checkpoint, beside the running agent.

    Returns
    -------
    Bundle
        Unsigned, for its weights are nobody's release. Arrays that never leave the device by
        themselves are in it.

    Raises
    ------
    BundleError
        When the model cannot be read.
    StorageError
        When there is no state yet, or it cannot be read.
    UnsupportedError
        When the personal model is a river model without ONNX form.
    """
    bundle = Bundle.load(settings.bundle, publisher=settings.trust.publisher or None)
    with closing(AgentReader(settings.agent_db, bundle.manifest)) as reader:
        state = reader.checkpoint()
    if state is None:
        raise StorageError(f"{settings.agent_db} holds nothing learned yet; let the agent run.")
    saved = read_checkpoint(state)
    weights = unpack_arrays(saved.personal.parameters)
    if settings.learn.river is not None:
        weights = _river_weights(settings.learn.river, bundle, saved, weights)
    return dataclasses.replace(
        bundle,
        weights=weights,
        model_statement=None,
        version_statement=None,
        facts={"device": settings.device, "base": saved.version},
    )


def _river_weights(
    settings: RiverSettings, bundle: Bundle, saved: SavedLearning, weights: Arrays
) -> Arrays:
    river = RiverPersonal(settings, bundle.manifest, Predictor(bundle.infer), weights)
    if river.federates:
        return weights
    river.resume(saved_river(unpack_arrays(saved.personal.state)), ())
    made = river.weights() if river.examples else None
    if made is None:
        raise UnsupportedError(
            f"{river.name} has learned nothing yet that fits into the bundle's graphs; only linear "
            "models of river have an ONNX form."
        )
    return made
