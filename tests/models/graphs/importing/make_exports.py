"""Makes the files in ``exports/``: small networks as PyTorch and scikit-learn write them.

Neither is needed by the tests, only to make the files again, in an environment of its own::

    pip install torch==2.13.0 onnxscript==0.7.2 scikit-learn==1.9.1 skl2onnx==1.20.0 onnx==1.23.2
    python tests/models/graphs/importing/make_exports.py [NAME ...]

With names only those are made again. Each network of PyTorch is written by both of its exporters
(``NAME.dynamo.onnx`` and ``NAME.script.onnx``), with an open number of rows where the name does not
say ``one_row``.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, OneHotEncoder, StandardScaler
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

OUT = Path(__file__).parent / "exports"
ROWS, STEPS, CHANNELS = 4, 6, 3


class Convolution(nn.Module):  # type: ignore[misc]
    """Convolutions along the window, batch normalisation with statistics, pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(CHANNELS, 8, 3, padding=1),
            nn.BatchNorm1d(8),
            nn.ReLU(),
            nn.MaxPool1d(2),
            nn.Conv1d(8, 4, 3),
            nn.ELU(),
        )
        self.head = nn.Linear(4, 3)
        self.entry = nn.BatchNorm1d(CHANNELS)
        for norm in (self.entry, self.body[1]):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(self.entry(x)).flatten(1))


class Recurrent(nn.Module):  # type: ignore[misc]
    """A recurrent network and a head on its last step."""

    def __init__(self, kind: type[nn.RNNBase], *, both: bool) -> None:
        super().__init__()
        self.rnn = kind(CHANNELS, 5, batch_first=True, bidirectional=both)
        self.head = nn.Linear(10 if both else 5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.rnn(x)[0][:, -1])


class Residual(nn.Module):  # type: ignore[misc]
    """Residual blocks with layer normalisation over the rows of the window, then their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(CHANNELS, 8)
        self.norm = nn.LayerNorm(8)
        self.block = nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Dropout(0.1), nn.Linear(8, 8))
        self.head = nn.Linear(8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        stem = self.stem(x)
        return self.head((stem + self.block(self.norm(stem))).mean(1)).squeeze(1)


class Temporal(nn.Module):  # type: ignore[misc]
    """Causal, dilated convolutions with weight normalisation and residuals (a TCN)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = weight_norm(nn.Conv1d(CHANNELS, 5, 3, padding=2))
        self.second = weight_norm(nn.Conv1d(5, 5, 3, padding=4, dilation=2))
        self.beside = nn.Conv1d(CHANNELS, 5, 1)
        self.head = nn.Linear(5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = torch.relu(self.first(x)[:, :, :-2])
        inner = torch.relu(self.second(inner)[:, :, :-4])
        return self.head(torch.relu(inner + self.beside(x))[:, :, -1])


class Echo(nn.Module):  # type: ignore[misc]
    """An autoencoder of two LSTMs: the last state of the first, repeated, is told by the second."""

    def __init__(self) -> None:
        super().__init__()
        self.listen = nn.LSTM(CHANNELS, 4, batch_first=True)
        self.tell = nn.LSTM(4, 4, batch_first=True)
        self.head = nn.Linear(4, CHANNELS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        _, (state, _) = self.listen(x)
        return self.head(self.tell(state[-1].unsqueeze(1).repeat(1, STEPS, 1))[0])


def strided_autoencoder() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(CHANNELS, 4, 3, stride=2, padding=1), nn.ReLU(),
        nn.ConvTranspose1d(4, CHANNELS, 3, stride=2, padding=1, output_padding=1),
    )  # fmt: skip


def pooled_autoencoder() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(CHANNELS, 4, 3, padding=1), nn.ReLU(), nn.MaxPool1d(2),
        nn.Upsample(scale_factor=2), nn.Conv1d(4, CHANNELS, 3, padding=1),
    )  # fmt: skip


def perceptron(width: int = CHANNELS, out: int = 1) -> nn.Module:
    return nn.Sequential(nn.Linear(width, 8), nn.Tanh(), nn.Linear(8, out))


def autoencoder() -> nn.Module:
    cells = STEPS * CHANNELS
    return nn.Sequential(
        nn.Flatten(), nn.Linear(cells, 4), nn.ReLU(), nn.Linear(4, cells),
        nn.Unflatten(1, (STEPS, CHANNELS)),
    )  # fmt: skip


def attention() -> nn.Module:
    layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
    return nn.Sequential(nn.Linear(CHANNELS, 4), layer, nn.Flatten(), nn.Linear(4 * STEPS, 1))


def of_torch(wanted: Callable[[str], bool]) -> None:
    torch.manual_seed(0)
    rows, window, turned = (CHANNELS,), (STEPS, CHANNELS), (CHANNELS, STEPS)
    networks = {
        "perceptron": (perceptron(), rows),
        "sigmoid": (nn.Sequential(perceptron(), nn.Sigmoid()), rows),
        "softmax": (nn.Sequential(perceptron(out=3), nn.Softmax(dim=1)), rows),
        "convolution": (Convolution(), turned),
        "gru": (Recurrent(nn.GRU, both=False), window),
        "lstm": (Recurrent(nn.LSTM, both=True), window),
        "residual": (Residual(), window),
        "autoencoder": (autoencoder(), window),
        "attention": (attention(), window),
        "tcn": (Temporal(), turned),
        "autoencoder_strided": (strided_autoencoder(), turned),
        "autoencoder_pooled": (pooled_autoencoder(), turned),
        "autoencoder_lstm": (Echo(), window),
    }
    for name, (network, shape) in networks.items():
        network.eval()
        if not wanted(name):
            continue
        x = torch.randn(ROWS, *shape)
        one = {"input_names": ["x"], "output_names": ["y"]}
        torch.onnx.export(
            network, (x,), OUT / f"{name}.dynamo.onnx", dynamo=True, external_data=False,
            dynamic_shapes=({0: torch.export.Dim("batch")},), **one,
        )  # fmt: skip
        if name == "attention":
            continue  # the older one writes 20 kB of shapes
        torch.onnx.export(
            network, (x,), OUT / f"{name}.script.onnx", dynamo=False,
            dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}}, **one,
        )  # fmt: skip
    for name in filter(wanted, ("gru", "autoencoder")):
        network, shape = networks[name]
        x = torch.randn(1, *shape)
        torch.onnx.export(
            network, (x,), OUT / f"{name}_one_row.dynamo.onnx", dynamo=True, external_data=False
        )
        torch.onnx.export(network, (x,), OUT / f"{name}_one_row.script.onnx", dynamo=False)


def of_sklearn(wanted: Callable[[str], bool]) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(3.0, 2.0, (200, CHANNELS)).astype(np.float32)
    y = x @ [1.0, -2.0, 0.5] + rng.normal(size=200)
    two, three = np.where(y > -2, "high", "low"), np.digitize(y, [-4, -1])
    missing = np.where(rng.random(x.shape) < 0.1, np.nan, x)
    kinds = x.copy()
    kinds[:, 2] = rng.integers(0, 4, len(x))
    encoded = make_column_transformer(
        (StandardScaler(), [0, 1]), (OneHotEncoder(handle_unknown="ignore"), [2])
    )
    small = {"hidden_layer_sizes": (6,), "random_state": 0}
    models = {
        "ridge": (make_pipeline(StandardScaler(), Ridge()), x, y),
        "imputed_ridge": (make_pipeline(SimpleImputer(), Ridge()), missing, y),
        "mlp_regressor": (make_pipeline(StandardScaler(), MLPRegressor(**small)), x, y),
        "logistic_two": (LogisticRegression(), x, two),
        "logistic_three": (make_pipeline(Normalizer(), LogisticRegression()), x, three),
        "mlp_two": (make_pipeline(StandardScaler(), MLPClassifier(**small)), x, two),
        "mlp_three": (make_pipeline(StandardScaler(), MLPClassifier(**small)), x, three),
        "sgd_three": (SGDClassifier(loss="log_loss", random_state=0), x, three),
        "one_by_one": (OneVsRestClassifier(LogisticRegression()), x, three),
        "one_hot": (make_pipeline(encoded, Ridge()), kinds, y),
        "forest": (RandomForestRegressor(2, max_depth=3, random_state=0), x, y),
    }
    for name, (model, rows, labels) in models.items():
        if not wanted(name):
            continue
        model.fit(rows, labels)
        written = to_onnx(model, initial_types=[("X", FloatTensorType([None, CHANNELS]))])
        onnx.save(written, OUT / f"{name}.sklearn.onnx")


def slim(path: Path) -> None:
    """Leave out what the exporter says about source files; it holds paths of the machine."""
    model = onnx.load(path, load_external_data=False)
    for node in (*model.graph.node, *(n for f in model.functions for n in f.node)):
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    for tensor in model.graph.initializer:
        del tensor.metadata_props[:]
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    onnx.save(model, path)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    OUT.mkdir(exist_ok=True)
    chosen = set(sys.argv[1:])

    def wanted(name: str) -> bool:
        return not chosen or name in chosen

    for stale in OUT.iterdir():
        if wanted(stale.name.partition(".")[0]):
            stale.unlink()
    of_torch(wanted)
    of_sklearn(wanted)
    for path in OUT.glob("*.onnx"):
        if wanted(path.name.partition(".")[0]):
            slim(path)
