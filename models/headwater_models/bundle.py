"""The bundle: everything needed to predict with a model, learn, merge and judge it.

``manifest.json``, ``infer.onnx``, ``train.onnx`` and ``weights.safetensors``, with the publisher's
statement about the model (``model.sig.json``), a release key's statement about the version
(``version.json``), and what no name covers: facts about how it came to be (``facts.json``) and a
page about it for people (``card.md``). Models whose graph can be stacked also have that graph for
many members (``infer.stacked.onnx``), which the model's name covers like the others.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from headwater.errors import BundleError
from headwater_models.arrays import Arrays
from headwater_models.container import read_files, write_files
from headwater_models.graphscan import refuse_external_data
from headwater_models.identity import model_id, version_id
from headwater_models.keys import SigningKey
from headwater_models.limits import Limits
from headwater_models.manifest import Manifest
from headwater_models.signing import (
    MAX_SUCCESSIONS,
    ModelStatement,
    VersionStatement,
    sign_model,
    sign_succession,
    sign_version,
    verify_model,
    verify_version,
)
from headwater_models.weights import check_weights, decode_weights, encode_weights

FIRST_SEQUENCE = 1
"""The sequence number of the version that a publisher signs with a new model."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A model with one version of its weights; treat its arrays as constant.

    Parameters
    ----------
    manifest
        What the model is for.
    infer, train
        The bytes of ``infer.onnx`` and ``train.onnx``.
    weights
        Name to float32 array, all arrays of the manifest; kept C-contiguous.
    stacked
        The bytes of ``infer.stacked.onnx``, None where the bundle has none.
    model_statement, version_statement
        The signed statements as JSON, None where the bundle is not signed.
    facts
        Where it came from and how it did; outside every hash and signature.
    card
        The same for people, in Markdown; empty where there is none.
    manifest_json
        The manifest's bytes as they were read, so that a later program keeps the model's name;
        by default its canonical JSON.
    """

    manifest: Manifest
    infer: bytes
    train: bytes
    weights: Arrays
    stacked: bytes | None = None
    model_statement: str | None = None
    version_statement: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    card: str = ""
    manifest_json: bytes = b""

    def __post_init__(self) -> None:
        check_weights(self.manifest, self.weights)
        weights = {
            a.name: np.asarray(self.weights[a.name], order="C") for a in self.manifest.arrays
        }
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "manifest_json", self.manifest_json or self.manifest.encode())
        if Manifest.decode(self.manifest_json) != self.manifest:
            raise BundleError("manifest_json is not the JSON of the manifest beside it.")

    @classmethod
    def load(
        cls, path: Path, *, publisher: str | None = None, limits: Limits | None = None
    ) -> Bundle:
        """Read a bundle from a folder or a zip, and check all that can be checked unrun.

        Parameters
        ----------
        path
            A folder, or a zip as :meth:`save` writes it.
        publisher
            The public key that must have signed the model. Without one, signatures that are
            there must hold, but may be anyone's, and may be absent.
        limits
            How much is read at most.

        Raises
        ------
        BundleError
            When it is damaged, too large, does not fit its manifest or its signatures.
        StorageError
            When it cannot be read.
        """
        files = read_files(path, limits or Limits())
        manifest = Manifest.decode(files["manifest.json"])
        bundle = cls(
            manifest=manifest,
            manifest_json=files["manifest.json"],
            infer=files["infer.onnx"],
            train=files["train.onnx"],
            weights=decode_weights(manifest, files["weights.safetensors"]),
            stacked=files.get("infer.stacked.onnx"),
            model_statement=_text(files, "model.sig.json"),
            version_statement=_text(files, "version.json"),
            facts=_facts(files.get("facts.json")),
            card=_text(files, "card.md") or "",
        )
        bundle.check(publisher=publisher)
        return bundle

    def save(self, path: Path, *, replace: bool = False) -> None:
        """Write a folder, or a zip where the name ends in ``.zip``, whole or not at all.

        The same bundle always gives the same bytes.

        Raises
        ------
        BundleError
            When the bundle is one that :meth:`load` would refuse.
        StorageError
            When something is there and may not be replaced, or the disk refuses.
        """
        self.check()
        write_files(path, self._files(), replace=replace)

    @cached_property
    def model_id(self) -> str:
        """The model's name: a hash of manifest and graphs."""
        return model_id(self.manifest_json, self.infer, self.train, self.stacked)

    @cached_property
    def version_id(self) -> str:
        """The version's name: a hash of the model's name and the weights."""
        return version_id(self.manifest, self.model_id, self.weights)

    def sign(
        self,
        key: SigningKey,
        *,
        delegates: Iterable[str] = (),
        created: int,
        replaces: SigningKey | None = None,
    ) -> Bundle:
        """Return the bundle signed by its publisher: the model, and these weights as a version.

        A version statement that is there already stays, where its key may still speak for the
        model; else the publisher signs the weights as the next release.

        Parameters
        ----------
        key
            The publisher's key.
        delegates
            Public keys that may sign further versions (a coordinator's release key).
        created
            UTC milliseconds.
        replaces
            The publisher's key until now, where *key* comes in its place.

        Raises
        ------
        BundleError
            When a statement is there already that does not hold, or there is none of the key that
            is replaced.
        """
        model = sign_model(
            key,
            model=self.model_id,
            release_keys=delegates,
            created=created,
            successions=self._successions(key, replaces, created),
        )
        previous = self.verify()[1] if self.version_statement is not None else None
        signed = dataclasses.replace(self, model_statement=model)
        if previous is not None and previous.key in verify_model(model).signers:
            return signed
        statement = sign_version(
            key,
            kind="release",
            model=self.model_id,
            version=self.version_id,
            sequence=previous.sequence + 1 if previous else FIRST_SEQUENCE,
        )
        return dataclasses.replace(signed, version_statement=statement)

    def _successions(
        self, key: SigningKey, replaces: SigningKey | None, created: int
    ) -> tuple[str, ...]:
        """Return how the publisher's key came to be this one."""
        before = verify_model(self.model_statement) if self.model_statement is not None else None
        if replaces is None:
            return before.successions if before and before.publisher == key.public else ()
        if before is None or before.publisher != replaces.public:
            raise BundleError(
                f"Key {replaces.public[:12]} does not publish this bundle, so no other can come in "
                "its place; give the bundle that it signed."
            )
        if len(before.successions) == MAX_SUCCESSIONS:
            raise BundleError(
                f"The publisher's key was replaced {MAX_SUCCESSIONS} times, and cannot be again; "
                "sign with the new key alone, and let devices trust it in their settings."
            )
        succession = sign_succession(replaces, successor=key.public, created=created)
        return (*before.successions, succession)

    def with_version(self, weights: Arrays, statement: str | None) -> Bundle:
        """Return the same model with other weights and the signed statement about them."""
        return dataclasses.replace(self, weights=weights, version_statement=statement)

    def verify(self, *, publisher: str | None = None) -> tuple[ModelStatement, VersionStatement]:
        """Return the statements of a signed bundle once they are proved to be about it.

        Raises
        ------
        BundleError
            When one is missing, false, about something else, or of a key without the right.
        """
        if self.model_statement is None or self.version_statement is None:
            missing = "model.sig.json" if self.model_statement is None else "version.json"
            raise BundleError(
                f"The bundle is not signed ({missing} is missing); "
                "its publisher signs it with `headwater model sign`."
            )
        model = verify_model(self.model_statement, model=self.model_id, publisher=publisher)
        version = verify_version(self.version_statement, trusted=model)
        if version.version != self.version_id:
            raise BundleError(
                f"The weights are version {self.version_id[:12]}, but the signed statement is "
                f"about {version.version[:12]}; get the bundle again."
            )
        return model, version

    def check(self, *, publisher: str | None = None) -> None:
        """Refuse graphs that reach outside, and signatures that do not hold.

        Raises
        ------
        BundleError
            As :meth:`verify`; a bundle without statements passes where no publisher is asked for.
        """
        refuse_external_data("infer.onnx", self.infer)
        refuse_external_data("train.onnx", self.train)
        if self.stacked is not None:
            refuse_external_data("infer.stacked.onnx", self.stacked)
        if publisher or self.model_statement is not None or self.version_statement is not None:
            self.verify(publisher=publisher)

    def _files(self) -> dict[str, bytes]:
        files = {
            "manifest.json": self.manifest_json,
            "infer.onnx": self.infer,
            "train.onnx": self.train,
            "weights.safetensors": encode_weights(self.weights),
        }
        if self.stacked is not None:
            files["infer.stacked.onnx"] = self.stacked
        if self.model_statement is not None:
            files["model.sig.json"] = self.model_statement.encode()
        if self.version_statement is not None:
            files["version.json"] = self.version_statement.encode()
        if self.facts:
            files["facts.json"] = msgspec.json.encode(self.facts, order="deterministic")
        if self.card:
            files["card.md"] = self.card.encode()
        return files


def _text(files: dict[str, bytes], name: str) -> str | None:
    try:
        return files[name].decode() if name in files else None
    except UnicodeDecodeError as error:
        raise BundleError(f"{name} is no text; get the bundle again.") from error


def _facts(data: bytes | None) -> dict[str, Any]:
    try:
        return msgspec.json.decode(data, type=dict[str, Any]) if data is not None else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"facts.json is damaged ({error}); remove or replace it.") from error
