"""``headwater model head``: a bundle's backbone gets a head that is solved from statistics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from headwater_models import new
from headwater_models.bundle import Bundle
from headwater_models.publishing import Publisher, check_out
from headwater_models.report import tell


def head(
    path: Annotated[Path, typer.Argument(help="The bundle with the backbone: a folder or .zip.")],
    out: new.Out,
    *,
    learner: Annotated[
        Literal["ridge", "naive_bayes"], typer.Option(help="How the head is solved.")
    ] = "ridge",
    ridge: Annotated[float, typer.Option(help="What weighs against statistics.")] = 1.0,
    min_count: new.MinCount = None,
    sign_key: new.SignKey = None,
    delegate: new.Delegates = None,
    as_json: new.AsJson = False,
) -> None:
    """Keep all of a model but its last layer, and solve that from statistics.

    The new model predicts what an untaught one does until devices have contributed.
    """
    from headwater_models.graphs.builders.solved import on_backbone  # noqa: PLC0415 - no onnx
    from headwater_models.graphs.stack import stack_inference  # noqa: PLC0415 - the same

    check_out(out)
    publisher = Publisher(sign_key, delegate)
    before = Bundle.load(path)
    manifest, infer, train, weights = on_backbone(
        before.manifest, before.infer, before.weights, learner, ridge=ridge, min_count=min_count
    )
    bundle = Bundle(
        manifest=manifest,
        infer=infer,
        train=train,
        stacked=stack_inference(infer, manifest),
        weights=weights,
        facts=new.facts(None) | {"backbone": before.version_id},
    )
    bundle = publisher.sign(bundle)
    bundle.save(out)
    tell(bundle, out, as_json=as_json)
