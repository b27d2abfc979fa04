"""Model builders: from a specification to manifest, graphs and first weights."""

from headwater_models.graphs.builders.assembly import Built, build
from headwater_models.graphs.builders.specification import ModelSpec

__all__ = ["Built", "ModelSpec", "build"]
