"""Someone's own ONNX model, made one that learns: read, lowered, replayed, fitted."""

from headwater_models.graphs.importing.assembly import Imported, import_model
from headwater_models.graphs.importing.source import read_source
from headwater_models.graphs.importing.specification import ImportSpec

__all__ = ["ImportSpec", "Imported", "import_model", "read_source"]
