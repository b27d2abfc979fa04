"""Small bundles and the strategies that make manifests and weights, for the tests of models."""

from __future__ import annotations

from functools import cache

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from headwater.settings import Duration
from headwater_models.bundle import Bundle
from headwater_models.graphs.builders import ModelSpec, build
from headwater_models.keys import SigningKey
from headwater_models.manifest import Array, Channel, Grid, Manifest, Optimiser, Reserve

PUBLISHER = SigningKey.from_seed(b"p" * 32)
RELEASE = SigningKey.from_seed(b"r" * 32)
STRANGER = SigningKey.from_seed(b"s" * 32)
CREATED = 1_700_000_000_000

CHANNELS = (
    Channel(name="level", unit="m", minimum=0.0, maximum=10.0),
    Channel(name="rain", unit="mm", minimum=0.0, maximum=50.0),
)
GRID = Grid(period=Duration(60_000), max_gap=Duration(120_000))
RESERVE = Reserve(block=Duration(1_200_000))

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,11}", fullmatch=True)
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


def spec(kind: str = "linear") -> ModelSpec:
    """A forecast of ``level`` two minutes ahead from three rows of two channels."""
    return ModelSpec(
        kind="mlp" if kind == "mlp" else "linear",
        name="river",
        task="forecast",
        channels=CHANNELS,
        grid=GRID,
        window=3,
        target="level",
        horizon=Duration(120_000),
        loss="mae",
        reserve=RESERVE,
        hidden=(4,),
    )


@cache
def tiny(kind: str = "linear") -> Bundle:
    """An unsigned bundle with real graphs."""
    built = build(spec(kind), np.random.default_rng(0))
    return Bundle(
        manifest=built.manifest, infer=built.infer, train=built.train, weights=built.weights
    )


@cache
def signed() -> Bundle:
    """The tiny bundle, signed by the publisher, who delegates to the release key."""
    return tiny().sign(PUBLISHER, delegates=[RELEASE.public], created=CREATED)


def manifest_with(*arrays: Array) -> Manifest:
    """A valid manifest with these arrays."""
    return Manifest(
        name="river",
        task="forecast",
        channels=CHANNELS,
        grid=GRID,
        window=3,
        target="level",
        horizon=Duration(60_000),
        loss="mse",
        baseline="persistence",
        optimiser=Optimiser(),
        reserve=RESERVE,
        arrays=arrays,
    )


SHAPES = npst.array_shapes(min_dims=0, max_dims=3, max_side=4)
ARRAYS = st.builds(
    Array, name=NAMES, shape=SHAPES, merge=st.sampled_from(["mean", "solved", "local"])
)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    """A valid manifest with up to four arrays of any shape and merge rule."""
    arrays = draw(st.lists(ARRAYS, max_size=4, unique_by=lambda array: array.name))
    return manifest_with(*arrays)


@st.composite
def laid_out(draw: st.DrawFn, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A float32 array of a shape, with strides of C, of Fortran, negative or with holes."""
    values = draw(npst.arrays(np.float32, shape, elements=FINITE))
    layout = draw(st.sampled_from(["C", "F", "reversed", "strided"]))
    if layout == "F":
        return np.array(values, order="F")
    if layout == "reversed":
        return np.flip(np.array(np.flip(values), order="C"))
    if layout == "strided" and shape:
        wide = np.repeat(values, 2, axis=-1)
        return wide[..., ::2]
    return values


@st.composite
def models(draw: st.DrawFn) -> tuple[Manifest, dict[str, NDArray[np.float32]]]:
    """A manifest and weights that fit it."""
    manifest = draw(manifests())
    return manifest, {array.name: draw(laid_out(array.shape)) for array in manifest.arrays}
