"""``headwater model import``: someone's own ONNX model becomes a bundle that learns."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import click
import numpy as np
import typer

from headwater_models import new
from headwater_models.bundle import Bundle
from headwater_models.checks import check_bundle
from headwater_models.publishing import Publisher, check_out
from headwater_models.report import tell
from headwater_models.table import Table

FILE = "The file and its arrays"
"""A panel of the help."""

File = Annotated[Path, typer.Argument(help="The model, an ONNX file.")]
Output = Annotated[
    str | None,
    typer.Option(help="Output that predicts, where there are several.", rich_help_panel=FILE),
]
Layout = Annotated[
    Literal["ntc", "nct", "flat"] | None,
    typer.Option(
        help="Of its input: rows, time, channels; rows, channels, time; or all cells in a row.",
        rich_help_panel=FILE,
    ),
]
Train = Annotated[
    list[str] | None,
    typer.Option(
        help="Pattern of initialisers that become arrays, such as '*fc1*'; by default all "
        "weights; repeatable.",
        rich_help_panel=FILE,
    ),
]
Freeze = Annotated[
    list[str] | None,
    typer.Option(
        help="Pattern of arrays that are in the bundle and never trained; repeatable.",
        rich_help_panel=FILE,
    ),
]
Local = Annotated[
    list[str] | None,
    typer.Option(
        help="Pattern of arrays that never leave the device; repeatable.", rich_help_panel=FILE
    ),
]
Fill = Annotated[
    list[str] | None,
    typer.Option(
        help="What the model sees where a cell is missing: mean (the default), zero, a number, "
        "CHANNEL=NUMBER, or model where it copes with NaN; repeatable.",
        rich_help_panel=FILE,
    ),
]
Scaled = Annotated[
    list[str] | None,
    typer.Option(
        click_type=click.Choice(["input", "output"]),
        help="input: it takes standardised values; output: it gives them; repeatable.",
        rich_help_panel=FILE,
    ),
]
Logits = Annotated[
    bool,
    typer.Option(
        "--logits", help="A softmax or sigmoid is still to be taken.", rich_help_panel=FILE
    ),
]
Residual = Annotated[
    bool,
    typer.Option(
        "--residual",
        help="Its forecast is the change from the target's last value.",
        rich_help_panel=FILE,
    ),
]


def import_(
    *,
    file: File,
    out: new.Out,
    spec: new.Spec = None,
    name: new.Name = None,
    data: new.Data = None,
    label: new.Label = None,
    task: new.Task = None,
    channels: new.Channels = None,
    categories: new.Categories = None,
    classes: new.Classes = None,
    target: new.Target = None,
    horizon: new.Horizon = None,
    period: new.Period = None,
    window: new.Window = None,
    max_gap: new.MaxGap = None,
    hold: new.Hold = None,
    output: Output = None,
    layout: Layout = None,
    fill: Fill = None,
    scaled: Scaled = None,
    logits: Logits = False,
    residual: Residual = False,
    train: Train = None,
    freeze: Freeze = None,
    local: Local = None,
    loss: new.Loss = None,
    optimiser: new.Optimiser = None,
    learning_rate: new.LearningRate = None,
    batch: new.Batch = None,
    sign_key: new.SignKey = None,
    delegate: new.Delegates = None,
    as_json: new.AsJson = False,
) -> None:
    """Make a bundle that learns of an ONNX model, exported from PyTorch or scikit-learn.

    Its predictions stay what they are. Ends with code 5 and the node's name where an operator
    cannot be imported or learned through.
    """
    given = {
        "name": name,
        "task": task,
        "channels": channels,
        "categories": categories,
        "classes": classes,
        "target": target,
        "horizon": horizon,
        "grid": {"period": period, "max_gap": max_gap, "hold": hold},
        "window": window,
        "output": output,
        "layout": layout,
        "fill": fill,
        "scaled": scaled,
        "logits": logits or None,
        "residual": residual or None,
        "train": train,
        "freeze": freeze,
        "local": local,
        "loss": loss,
        "optimiser": {"name": optimiser, "learning_rate": learning_rate, "batch": batch},
    }
    check_out(out)
    publisher = Publisher(sign_key, delegate)
    table = Table.read(data) if data else None
    bundle = _import(file, given, spec, table, label)
    for _ in check_bundle(bundle, np.random.default_rng(0)):
        pass
    bundle = publisher.sign(bundle)
    bundle.save(out)
    if not as_json:
        typer.echo("Arrays, and what they are called in the file:")
        for array, source in bundle.facts["imported"]["names"].items():
            typer.echo(f"  {array}  {source}")
    tell(bundle, out, as_json=as_json)


def _import(
    file: Path, given: dict[str, Any], spec: Path | None, table: Table | None, label: str | None
) -> Bundle:
    from headwater_models.graphs.importing import (  # noqa: PLC0415 - a device has no onnx
        ImportSpec,
        import_model,
        read_source,
    )
    from headwater_models.graphs.stack import stack_inference  # noqa: PLC0415 - the same
    from headwater_models.recipe import complete  # noqa: PLC0415 - the same

    source_name = str(spec) if spec else "headwater model import"
    wanted = complete(ImportSpec, given, source_name, file=spec, data=table, label=label)
    made = import_model(read_source(file, wanted.output), wanted)
    return Bundle(
        manifest=made.built.manifest,
        infer=made.built.infer,
        train=made.built.train,
        stacked=stack_inference(made.built.infer, made.built.manifest),
        weights=made.built.weights,
        facts=new.facts(table) | {"imported": {"file": file.name, "names": made.names}},
    )
