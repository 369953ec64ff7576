"""What a store's header says of the run that made it: options, the network, what decided the values, versions."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from summit_dask.facts.config import Place, ResultOptions
from summit_dask.facts.preprocessing import Preprocessing
from summit_dask.facts.stages import Stage, stage_fingerprints


class NetworkSpec(BaseModel):
    """Everything that a network is built from, and the SHA-256 digest that its weights must have.

    `weights_key`, `transform_input` and `output` are the options of these names, the second as it was decided.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model: str
    weights: str | None
    weights_key: str | None = None
    transform_input: bool | None = None
    output: str | None = None
    layers: tuple[str, ...]
    logits: bool = False
    preprocessing: Preprocessing
    digest: str

    def facts(self) -> dict[str, Any]:
        """What decides the extracted values, wherever the files lie."""
        return {
            "model": Path(self.model).name,
            "weights": self.digest[:16],
            "transform_input": self.transform_input,
            "output": self.output,
            "preprocessing": asdict(self.preprocessing),
        }


class Imported(BaseModel):
    """What an import noted of the original's files.

    Attributes
    ----------
    labels
        Position of each class in the synset file, from 1; empty where unknown.
    sources_in_layer_below
        Whether a node's sources are channels of the visible layer below, through the bottlenecks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: tuple[int, ...] = ()
    sources_in_layer_below: bool = False


class Run(BaseModel):
    """The run that a store was made by: our own, or an import of another program's files.

    Attributes
    ----------
    config
        Options that the results were made with.
    facts, fingerprint
        What decided the extracted values, in words and as one number; an import has neither, nor has it a network.
    revision
        How often images were measured again; what is made from them is renewed.
    earlier
        How many images there were, by the fingerprint that the run had then, each time some were appended. A partition
        with such a mark has those of them measured that it holds.
    network, images_root
        What the images were measured with, and the folder or address that their paths start from.
    versions
        Version of each package that had a part in it.
    imported
        What an import noted; None for a run of our own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    config: ResultOptions
    facts: Mapping[str, Any] = Field(default_factory=dict)
    fingerprint: int | None = None
    revision: int = 0
    earlier: Mapping[str, int] = Field(default_factory=dict)
    network: NetworkSpec | None = None
    images_root: Place | None = None
    versions: Mapping[str, str] = Field(default_factory=dict)
    imported: Imported | None = None

    @model_validator(mode="after")
    def _own_or_imported(self) -> "Run":
        own = (self.fingerprint, self.network, self.images_root)
        if self.imported is None and None in own:
            raise ValueError("fingerprint, network and images_root belong together; without them it must be imported")
        return self

    def stage_fingerprints(self) -> dict[str, int] | None:
        """What each stage's results depend on; None for an import, which no stage can run on."""
        return None if self.fingerprint is None else stage_fingerprints(self.fingerprint, self.config, self.revision)

    def with_options_of(self, stage: Stage, options: ResultOptions) -> "Run":
        """The run after a stage was made with other options."""
        changes = {name: getattr(options, name) for name in stage.options.model_fields}
        return self.model_copy(update={"config": self.config.replaced(**changes)})

    def plain(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return self.model_dump(mode="json", exclude_none=False)
