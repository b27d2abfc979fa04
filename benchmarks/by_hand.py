"""Training steps as one would write them in NumPy: what the derived graphs are measured against.

Each takes the arrays of the model that ``headwater model new`` makes of the same kind, and steps
by Adam on the weighted mean of squared errors, in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater_models.graphs.scaling import Scaling
from headwater_models.session import Batch

Array = NDArray[np.float32]
Arrays = dict[str, Array]
Network = Callable[[Batch, Arrays], tuple[Array, Arrays]]
"""``network(batch, weights) -> loss [N], gradients of its weighted mean``"""

KERNEL = 3


@dataclass(frozen=True)
class Units:
    """How numbers are scaled, as arrays."""

    mean: Array
    scale: Array
    label_mean: np.float32
    label_scale: np.float32

    @classmethod
    def of(cls, scaling: Scaling) -> Units:
        """Take the scales of a specification."""
        mean, scale = (np.asarray(x, np.float32) for x in (scaling.mean, scaling.scale))
        return cls(mean, scale, np.float32(scaling.label_mean), np.float32(scaling.label_scale))

    def read(self, window: Array) -> tuple[Array, Array]:
        """Return ``[N, T, C]`` twice: scaled with 0 where missing, and 1 where missing."""
        missing = np.isnan(window)
        return np.where(missing, np.float32(0), (window - self.mean) / self.scale), np.asarray(
            missing, np.float32
        )


def step(network: Network, batch: Batch, weights: Arrays, state: Arrays, rate: float) -> Array:
    """Step unless there is nothing to learn from; replace weights and state where they stand.

    Returns
    -------
    numpy.ndarray
        ``[N]``, the loss of each row before the step.
    """
    with np.errstate(invalid="ignore"):
        loss, gradients = network(batch, weights)
    if np.isfinite(loss @ batch.weight) and _known_weight(batch).sum() > 0:
        adam(weights, state, gradients, rate)
    return loss


def mlp(units: Units) -> Network:
    """Return one hidden layer."""

    def network(batch: Batch, weights: Arrays) -> tuple[Array, Arrays]:
        scaled, missing = units.read(batch.window)
        rows, last = len(scaled), scaled[:, -1:]
        changes = np.concatenate([last, scaled[:, :-1] - last], axis=1)
        x = np.concatenate([changes.reshape(rows, -1), missing.reshape(rows, -1)], axis=1)
        hidden = np.maximum(x @ weights["hidden.1.weight"] + weights["hidden.1.bias"], 0)
        loss, g, gradients = _head(units, batch, weights, hidden)
        g *= hidden > 0
        gradients["hidden.1.weight"], gradients["hidden.1.bias"] = x.T @ g, g.sum(0)
        return loss, gradients

    return network


def cnn(units: Units, layers: int) -> Network:
    """Return causal convolutions with growing dilation."""

    def network(batch: Batch, weights: Arrays) -> tuple[Array, Arrays]:
        scaled, missing = units.read(batch.window)
        value = np.concatenate([scaled, missing], axis=2)
        values, patches = [value], []
        for number in range(1, layers + 1):
            patch = _patches(value, 2 ** (number - 1))
            value = patch @ weights[f"hidden.{number}.weight"] + weights[f"hidden.{number}.bias"]
            value = np.maximum(value, 0)
            patches.append(patch)
            values.append(value)
        last, top = value[:, -1], value.max(1)
        features = np.concatenate([last, value.mean(1), top, scaled[:, -1]], axis=1)
        loss, g, gradients = _head(units, batch, weights, features)
        width = value.shape[2]
        g_last, g_mean, g_top = (g[:, i * width : (i + 1) * width] for i in range(3))
        hit = (value == top[:, None]).astype(np.float32)
        g = hit * (g_top / hit.sum(1))[:, None]
        g += (g_mean / value.shape[1])[:, None]
        g[:, -1] += g_last
        for number in range(layers, 0, -1):
            g *= values[number] > 0
            patch, weight = patches[number - 1], weights[f"hidden.{number}.weight"]
            flat = g.reshape(-1, g.shape[2])
            gradients[f"hidden.{number}.weight"] = patch.reshape(-1, patch.shape[2]).T @ flat
            gradients[f"hidden.{number}.bias"] = flat.sum(0)
            if number > 1:
                g = _unpatched(g @ weight.T, values[number - 1].shape[2], 2 ** (number - 1))
        return loss, gradients

    return network


def _patches(value: Array, dilation: int) -> Array:
    rows, steps, width = value.shape
    padded = np.zeros((rows, steps + (KERNEL - 1) * dilation, width), np.float32)
    padded[:, (KERNEL - 1) * dilation :] = value
    return np.concatenate([padded[:, i * dilation :][:, :steps] for i in range(KERNEL)], axis=2)


def _unpatched(g: Array, width: int, dilation: int) -> Array:
    rows, steps, _ = g.shape
    reach = (KERNEL - 1) * dilation
    padded = np.zeros((rows, steps + reach, width), np.float32)
    for i in range(KERNEL):
        padded[:, i * dilation :][:, :steps] += g[:, :, i * width : (i + 1) * width]
    return padded[:, reach:]


def gru(units: Units) -> Network:
    """Return one recurrent layer, with backpropagation through time."""

    def network(batch: Batch, weights: Arrays) -> tuple[Array, Arrays]:
        scaled, missing = units.read(batch.window)
        x = np.concatenate([scaled, missing], axis=2)
        into, again = weights["hidden.1.input.weight"], weights["hidden.1.state.weight"]
        given = x @ into + weights["hidden.1.input.bias"]
        rows, steps, width = len(x), x.shape[1], again.shape[0]
        states = np.zeros((steps + 1, rows, width), np.float32)
        trace = []
        for t in range(steps):
            kept = states[t] @ again
            gates = _sigmoid(given[:, t, : 2 * width] + kept[:, : 2 * width])
            update, reset, new = gates[:, :width], gates[:, width:], kept[:, 2 * width :]
            proposed = np.tanh(given[:, t, 2 * width :] + reset * new)
            states[t + 1] = proposed + update * (states[t] - proposed)
            trace.append((update, reset, new, proposed))
        features = np.concatenate([states[-1], scaled[:, -1]], axis=1)
        loss, g, gradients = _head(units, batch, weights, features)
        g = g[:, :width]
        g_given = np.empty((steps, rows, 3 * width), np.float32)
        g_kept = np.empty_like(g_given)
        for t in range(steps - 1, -1, -1):
            update, reset, new, proposed = trace[t]
            g_new = g * (1 - update) * (1 - proposed * proposed)
            g_given[t, :, :width] = g * (states[t] - proposed) * update * (1 - update)
            g_given[t, :, width : 2 * width] = g_new * new * reset * (1 - reset)
            g_given[t, :, 2 * width :] = g_new
            g_kept[t, :, : 2 * width] = g_given[t, :, : 2 * width]
            g_kept[t, :, 2 * width :] = g_new * reset
            g = g * update + g_kept[t] @ again.T
        flat = g_given.reshape(-1, 3 * width)
        gradients["hidden.1.input.weight"] = x.transpose(1, 0, 2).reshape(-1, x.shape[2]).T @ flat
        gradients["hidden.1.input.bias"] = flat.sum(0)
        gradients["hidden.1.state.weight"] = states[:-1].reshape(-1, width).T @ g_kept.reshape(
            -1, 3 * width
        )
        return loss, gradients

    return network


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def _head(
    units: Units, batch: Batch, weights: Arrays, features: Array
) -> tuple[Array, Array, Arrays]:
    """Return the loss of each row, the gradient of the features, and those of the last layer."""
    raw = features @ weights["head.weight"] + weights["head.bias"]
    prediction = units.label_mean + units.label_scale * raw
    known = ~np.isnan(batch.label)
    error = np.where(known, (prediction - batch.label) / units.label_scale, np.float32(0))
    weight = _known_weight(batch)
    g = 2 * error * (weight / weight.sum())[:, None]
    gradients = {"head.weight": features.T @ g, "head.bias": g.sum(0)}
    return (error * error)[:, 0], g @ weights["head.weight"].T, gradients


def _known_weight(batch: Batch) -> Array:
    return np.where(np.isnan(batch.label[:, 0]), np.float32(0), batch.weight)


def adam(weights: Arrays, state: Arrays, gradients: Arrays, rate: float) -> None:
    """Step by Kingma and Ba (2015), in the order of their section 2."""
    state["adam.step"] = state["adam.step"] + 1
    count: Any = state["adam.step"].item()
    spread = np.sqrt(1 - 0.999**count)
    pace = rate * spread / (1 - 0.9**count)
    for name, g in gradients.items():
        m, v = state[f"adam.m.{name}"], state[f"adam.v.{name}"]
        state[f"adam.m.{name}"] = m = m + np.float32(0.1) * (g - m)
        state[f"adam.v.{name}"] = v = v + np.float32(0.001) * (g * g - v)
        root = np.sqrt(v) + np.float32(1e-8 * spread)
        weights[name] = weights[name] - np.float32(pace) * (m / root)


def fresh_state(weights: Arrays) -> Arrays:
    """Return Adam's state before its first step."""
    moments = {
        f"adam.{key}.{name}": np.zeros_like(w) for name, w in weights.items() for key in "mv"
    }
    return {"adam.step": np.zeros(1, np.float32), **moments}
