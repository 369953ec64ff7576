"""What a run is told: one model of all options, checked, with the stage that each one first matters to.

A changed option makes its stage and the later ones run again; options of the cluster change no result.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from summit_dask.facts.errors import ConfigError, suggestion

Stage = Literal["extract", "reduce", "examples", "graphs", "embed", "cluster"]

#: The stages whose options change results, in the order they run.
RESULT_STAGES: tuple[Stage, ...] = ("extract", "reduce", "examples", "graphs", "embed")

Floats = tuple[float, ...]
Pixels = Annotated[int, Field(ge=1)]


class Exclusion(BaseModel):
    """Channels of a layer to leave out, and why (some networks have channels that fire for every image)."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    layer: str
    channels: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1)
    reason: str = Field(min_length=1)


def _option(stage: Stage, default: Any, description: str, **limits: Any) -> Any:
    return Field(default, description=description, json_schema_extra={"stage": stage}, **limits)


class RunConfig(BaseModel):
    """All options of a run; the same names in YAML, on the command line and in the environment."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    model: str = _option("extract", ..., "torchvision:NAME, path/to/file.py:Class or package.module:factory")
    weights: str | None = _option(
        "extract", None, "a file (safetensors or state dict), or torchvision's name for its weights, or DEFAULT"
    )
    layers: tuple[str, ...] = _option("extract", (), "visible layers, instead of the family's own choice")
    images: Path = _option("extract", ..., "folder of class folders, or a CSV or Parquet manifest")
    classes: str | None = _option(
        "extract", None, "JSON or CSV table (index, synset, name) of the outputs, or the word folder-order"
    )
    images_per_class: int | None = _option("extract", None, "take a fixed sample of each class", ge=1)
    resize: Pixels | Literal["none"] | None = _option("extract", None, "shorter side in pixels, or none")
    crop: Pixels | tuple[Pixels, Pixels] | None = _option("extract", None, "centre crop in pixels, one number or HxW")
    mean: Floats | None = _option("extract", None, "mean of each colour; one value means grey input")
    std: Floats | None = _option("extract", None, "standard deviation of each colour")
    k: int = _option("extract", 5, "strongest sources kept per channel and image", ge=1, le=100)
    influence_values: bool = _option("extract", True, "store the influences beside their sources")
    batch_size: int = _option("extract", 8, "images in one forward pass", ge=1)
    mass: float = _option("reduce", 0.03, "share of an image's activation that makes a channel used", gt=0, le=1)
    excluded: tuple[Exclusion, ...] = _option("reduce", (), "channels left out, as LAYER:1,2=reason")
    examples: int = _option("examples", 10, "strongest images kept per channel", ge=1, le=1000)
    class_examples: int = _option("examples", 0, "strongest images kept per channel and class", ge=0, le=1000)
    thumbnail: int = _option("examples", 96, "longer side of an example's thumbnail in pixels", ge=1)
    p: float = _option("graphs", 0.075, "share of a layer's scores that is selected at first", gt=0, le=1)
    unified: bool = _option("graphs", False, "one p over all layers")
    directed: bool = _option("graphs", False, "PageRank along the edges, from output to input")
    seed: int = _option("embed", 0, "seed of the class embedding", ge=0)
    out: Path = _option("cluster", ..., "the store, a folder that is made")
    workers: int | None = _option("cluster", None, "processes of the local cluster; default: one a core", ge=1)
    scheduler: str | None = _option("cluster", None, "address of an existing Dask cluster")
    scheduler_file: Path | None = _option("cluster", None, "scheduler file of an existing Dask cluster")

    @field_validator("mean", "std", mode="before")
    @classmethod
    def _one_value(cls, value: Any) -> Any:
        return (value,) if isinstance(value, int | float) else value

    @field_validator("std")
    @classmethod
    def _positive(cls, value: Floats | None) -> Floats | None:
        if value is not None and min(value) <= 0:
            raise ValueError("must be above 0")
        return value

    @classmethod
    def of(cls, options: Mapping[str, Any], where: str = "the configuration") -> "RunConfig":
        """Checked options.

        Raises
        ------
        ConfigError
            For an unknown key (names near ones), a missing one or a value out of range.
        """
        try:
            return cls(**options)
        except ValidationError as error:
            raise ConfigError("\n".join(_sentences(error, where))) from error

    def replaced(self, **changes: Any) -> "RunConfig":
        """A copy with some options changed, checked like new."""
        return type(self).of({**self.model_dump(), **changes}, "the options given")

    def excluded_channels(self, layer: str) -> tuple[int, ...]:
        """Excluded channels of a layer, ascending."""
        return tuple(sorted({c for e in self.excluded if e.layer == layer for c in e.channels}))


#: The stage that makes each group of results in a store.
STAGE_OF: Mapping[str, Stage] = {
    "matrices": "reduce",
    "examples": "examples",
    "graphs": "graphs",
    "embedding": "embed",
}


def command_of(stage: Stage) -> str:
    """The command that runs a stage; 'reduce' finds the examples too."""
    return "reduce" if stage == "examples" else stage


def stage_of(option: str) -> Stage:
    """The first stage that an option matters to."""
    extra = RunConfig.model_fields[option].json_schema_extra
    assert isinstance(extra, dict)
    return extra["stage"]  # type: ignore[return-value]


def options_of(*stages: Stage) -> tuple[str, ...]:
    """The options of some stages, in the order of their definition."""
    return tuple(name for name in RunConfig.model_fields if stage_of(name) in stages)


def read_yaml(path: Path) -> dict[str, Any]:
    """Options from a YAML file, not checked yet; relative paths start where the command runs.

    Raises
    ------
    ConfigError
        If there is no such file, it isn't YAML, or not a table of options.
    """
    try:
        options = yaml.safe_load(path.read_text()) or {}
    except OSError as error:
        raise ConfigError(f"Can't read the configuration {path}: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"The configuration {path} is not YAML: {error}") from error
    if not isinstance(options, dict):
        raise ConfigError(f"The configuration {path} holds a {type(options).__name__}, not a table of options.")
    return {str(key): value for key, value in options.items()}


def fingerprint(facts: Mapping[str, Any]) -> int:
    """A number from 1 to 2**63 - 1 that stays the same as long as the facts do, on every machine."""
    text = json.dumps(facts, sort_keys=True, default=str)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % (2**63 - 1) + 1


def _sentences(error: ValidationError, where: str) -> Iterator[str]:
    for key, found in groupby(error.errors(), key=_key):
        yield _sentence(key, list(found), where)


def _key(error: Any) -> str:
    """The option, with the place inside a list (``mean.1``), without pydantic's names for alternatives."""
    option, *inside = error["loc"]
    return ".".join(map(str, [option, *inside] if inside and isinstance(inside[0], int) else [option]))


def _sentence(key: str, errors: Sequence[Any], where: str) -> str:
    if key not in RunConfig.model_fields and errors[0]["type"] == "extra_forbidden":
        return f"Unknown option {key!r} in {where}. {suggestion(key, RunConfig.model_fields)}"
    if key in RunConfig.model_fields and errors[0]["type"] == "missing":
        return f"The option {key!r} is missing in {where}; give --{key.replace('_', '-')} or put it into the file."
    reasons = "; ".join(error["msg"] for error in errors)
    return f"The option {key!r} in {where} is {errors[0]['input']!r}: {reasons}."
