"""What a run is told: the options of each stage as one model, checked, and all of them together.

    MeasureOptions ── ExtractOptions ─┐
    (no images yet)   CountOptions    │
                      ExampleOptions  ├─ ResultOptions ─┬─ RunConfig
                      GraphOptions    │                 │
                      EmbedOptions   ─┘  ClusterOptions ┘

A changed option makes its stage and those after it run again (see `stages`); options of the cluster change no result.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import unquote

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    field_validator,
)
from pydantic.fields import FieldInfo
from upath import UPath

from summit_dask.facts.errors import ConfigError, suggestion
from summit_dask.facts.location import Location, is_address, location, parsed_options
from summit_dask.facts.names import checked_name
from summit_dask.facts.pairs import Edges, Nodes, Pair

#: Options of one kind; typing.Self can't be checked while testing.
Own = TypeVar("Own", bound="Options")

#: Seeds of NumPy and of what builds on it end here.
SEEDS = 2**32

#: More than anyone has: pixels along a side, images in a partition (see `store.layout`), and anything else.
MOST_SIDE = 2**15
MOST_IN_PARTITION = 1024
MOST = 2**31 - 1

_ADDRESS = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]+):/+", re.IGNORECASE)


def local_path(value: Any) -> Any:
    """The path that a text names; file:// is taken, any other address refused.

    Raises
    ------
    ValueError
        If it is an address such as s3://, which would be taken for a folder called "s3:".
    """
    match = _ADDRESS.match(str(value))
    if match is None:
        return value
    if match["scheme"].lower() == "file":
        return Path(unquote(str(value)[match.end() - 1 :]))
    raise ValueError(
        f"{value} is an address; only folders and files of this machine can be used here: mount or copy it"
    )


def place(value: Any) -> Any:
    """A path, or an address as the text that it is (see `location`)."""
    return Path(local_path(value)) if isinstance(value, str) and (not is_address(value) or _is_file(value)) else value


def _is_file(address: str) -> bool:
    return address.lower().startswith("file:")


def _local_text(value: Any) -> Any:
    """The same for a text that may name a file or something else."""
    return str(local_path(value)) if isinstance(value, str) else value


def _store_place(value: Any) -> Location:
    """Where a store is to lie: a folder, or the address of one in a bucket."""
    if not isinstance(value, str | Path | UPath):
        raise ValueError("must be a path or an address")
    place = location(checked_name(value))
    if not isinstance(place, Path) and len(place.parts) < 2:
        raise ValueError(f"names a whole bucket; give a folder in it, as in {str(place).rstrip('/')}/store.zarr")
    return place


def _plain_place(place: Location) -> Path | str:
    """Without what it takes to get there."""
    return place if isinstance(place, Path) else str(place)


# The last one comes first.
LocalPath = Annotated[Path, BeforeValidator(checked_name), BeforeValidator(local_path)]
LocalText = Annotated[str, BeforeValidator(checked_name), BeforeValidator(_local_text)]
Text = Annotated[str, BeforeValidator(checked_name)]
Place = Annotated[Path | str, BeforeValidator(checked_name), BeforeValidator(place), BeforeValidator(checked_name)]
StorePlace = Annotated[Location, PlainValidator(_store_place), PlainSerializer(_plain_place)]
Secrets = Annotated[dict[str, Any], BeforeValidator(parsed_options)]
Floats = tuple[Annotated[float, Field(allow_inf_nan=False)], ...]
Pixels = Annotated[int, Field(ge=1, le=MOST_SIDE)]
Orientation = Literal["ignore", "apply"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
CropMode = Literal["centre", "squash", "border"]


class Options(BaseModel):
    """Some options, frozen; the same names in YAML, on the command line and in the environment."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_numbers(cls, value: Any, info: Any) -> Any:
        """YAML takes yes for true, and Python true for 1."""
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation not in (bool, bool | None):
            raise ValueError("a truth value is none of the values that this option takes")
        return value

    @classmethod
    def of(cls: type[Own], options: Mapping[str, Any], where: str = "the configuration") -> Own:
        """Checked options.

        Raises
        ------
        ConfigError
            For an unknown key (names near ones), a missing one or a value out of range.
        """
        try:
            return cls(**options)
        except ValidationError as error:
            raise ConfigError("\n".join(_sentences(error, cls.model_fields, where))) from error

    @classmethod
    def part_of(cls: type[Own], options: "Options") -> Own:
        """The options of this kind out of more of them."""
        return cls(**{name: getattr(options, name) for name in cls.model_fields})

    def replaced(self: Own, **changes: Any) -> Own:
        """A copy with some options changed, checked like new."""
        return type(self).of({**self.model_dump(), **changes}, "the options given")

    def plain(self) -> dict[str, Any]:
        """As JSON can hold them; `of` turns them back."""
        return self.model_dump(mode="json")


def _option(default: Any, description: str, **limits: Any) -> Any:
    return Field(default, description=description, **limits)


class MeasureOptions(Options):
    """What decides the values that are measured of an image: the network, what it takes for an image, what is kept."""

    model: Text = _option(
        ..., "torchvision:NAME, timm:NAME, transformers:FOLDER, path/to/file.py:Class or package.module:factory"
    )
    weights: LocalText | None = _option(
        None, "a file (safetensors or state dict), or torchvision's name for its weights, or DEFAULT"
    )
    weights_key: str | None = _option(
        None, "where in the weights file the network's stand, if it holds several: as in ema or state_dict.net"
    )
    transform_input: bool | None = _option(
        None, "whether torchvision's googlenet or inception_v3 from a file changes the normalisation first"
    )
    output: Text | None = _option(
        None, "which tensor of a network that returns several: its name or index, as in logits, 0 or heads.fine"
    )
    layers: tuple[Text, ...] = _option((), "visible layers, instead of the family's own choice")
    resize: Pixels | tuple[Pixels, Pixels] | Literal["none"] | None = _option(
        None, "shorter side in pixels, HxW that the image is to cover, or none; see also --crop-mode"
    )
    crop: Pixels | tuple[Pixels, Pixels] | None = _option(None, "centre crop in pixels, one number or HxW")
    mean: Floats | None = _option(None, "mean of each colour; one value means grey input")
    std: Floats | None = _option(None, "standard deviation of each colour")
    interpolation: Interpolation | None = _option(
        None, "how images are resized: nearest, bilinear, bicubic, lanczos, box or hamming"
    )
    crop_mode: CropMode | None = _option(
        None, "centre (keep the shape, cut the rest off), squash (resize to --resize) or border (fit into it)"
    )
    orientation: Orientation = _option(
        "ignore", "what a camera's orientation tag does: ignore (as torchvision), or apply (turn the image)"
    )
    logits: bool | None = _option(
        None, "show the class itself as the top row; by itself where the network ends in pooling and one linear layer"
    )
    k: int = _option(5, "strongest sources kept per channel and image", ge=1, le=100)
    identity: bool = _option(True, "rank the identities of skip connections with the other sources")
    influences: bool = _option(True, "keep each channel's strongest sources by the paper's influence")
    contributions: bool = _option(True, "keep what adds most to each channel where it is largest, and what lowers it")
    relevance: bool = _option(False, "keep each channel's activation times gradient: one backward pass more")
    influence_values: bool = _option(True, "store influences and contributions beside their sources")
    batch_size: int = _option(8, "images in one forward pass", ge=1, le=MOST_IN_PARTITION)
    compile: bool | None = _option(
        None, "run the network compiled (needs a C++ compiler); by itself where there are so many images that it pays"
    )

    @field_validator("mean", "std", mode="before")
    @classmethod
    def _one_value(cls, value: Any) -> Any:
        return (value,) if isinstance(value, int | float) and not isinstance(value, bool) else value

    @field_validator("std")
    @classmethod
    def _positive(cls, value: Floats | None) -> Floats | None:
        if value is not None and min(value) <= 0:
            raise ValueError("must be above 0")
        return value

    @field_validator("mean", "std")
    @classmethod
    def _of_pixels(cls, value: Floats | None) -> Floats | None:
        if value is not None and max(value, default=0) > 1:
            divided = ", ".join(f"{number / 255:.3g}" for number in value)
            raise ValueError(
                "must be at most 1, as pixels lie between 0 and 1; figures for pixels of 0 to 255 are divided by 255, "
                f"those of mean and std alike, which gives {divided} here"
            )
        if value is not None and min(value, default=0) < 0:
            raise ValueError("must not be below 0, as pixels lie between 0 and 1")
        return value


class ExtractOptions(MeasureOptions):
    """What decides all the values that are measured."""

    images: Place = _option(
        ...,
        "folder of class folders, CSV or Parquet manifest, or shards with the images in them (tar, Parquet, Hugging "
        "Face's save_to_disk; a folder, a file, or a pattern as in train-{00..99}.tar); a path or an address (s3://)",
    )
    classes: LocalText | None = _option(
        None, "table or list of the outputs (CSV, JSON, Parquet, .txt), or the word folder-order"
    )
    images_per_class: int | None = _option(None, "take a fixed sample of each class", ge=1, le=MOST)


class Exclusion(BaseModel):
    """Channels of a layer to leave out, and why (some networks have channels that fire for every image)."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    layer: str
    channels: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1)
    reason: str = Field(min_length=1)


class CountOptions(Options):
    """What decides which channels an image uses (DESIGN 3.2)."""

    mass: float = _option(0.03, "share of an image's activation that makes a channel used", gt=0, le=1)
    excluded: tuple[Exclusion, ...] = _option((), "channels left out, as LAYER:1,2=reason")

    def excluded_channels(self, layer: str) -> tuple[int, ...]:
        """Excluded channels of a layer, ascending."""
        return self.excluded_by_layer().get(layer, ())

    def excluded_by_layer(self) -> dict[str, tuple[int, ...]]:
        """Excluded channels, ascending, of each layer that has any."""
        channels: dict[str, set[int]] = {}
        for exclusion in self.excluded:
            channels.setdefault(exclusion.layer, set()).update(exclusion.channels)
        return {layer: tuple(sorted(own)) for layer, own in channels.items()}


class ExampleOptions(Options):
    """Which images are shown of each channel."""

    examples: int = _option(10, "strongest images kept per channel", ge=1, le=1000)
    thumbnail: int = _option(96, "longer side of an example's thumbnail in pixels", ge=1, le=MOST_SIDE)


class GraphOptions(Options):
    """What a class's channels are ranked and joined by, and how they are selected (DESIGN 3.5, 3.6)."""

    nodes: Nodes = _option(
        "activation",
        "what ranks channels: activation (how strongly they fire) or relevance (what they do to the logit)",
    )
    edges: Edges = _option(
        "influence", "what joins channels: influence (the paper's) or contribution (what adds most where one fires)"
    )
    p: float = _option(0.075, "share of a layer's scores that is selected at first", gt=0, le=1)
    unified: bool = _option(False, "one p over all layers")
    directed: bool = _option(False, "PageRank along the edges, from output to input")

    @property
    def pair(self) -> Pair:
        """What nodes and edges are measured by."""
        return Pair(self.nodes, self.edges)


class EmbedOptions(Options):
    """How the classes are placed in the plane."""

    seed: int = _option(0, "seed of the class embedding", ge=0, lt=SEEDS)


class ClusterOptions(Options):
    """Where the work is done; none of these changes a result."""

    workers: int | None = _option(None, "processes of the local cluster; default: one a core", ge=1, le=MOST)
    scheduler: Text | None = _option(None, "address of an existing Dask cluster")
    scheduler_file: LocalPath | None = _option(None, "scheduler file of an existing Dask cluster")
    wait_for_workers: int | None = _option(
        None, "workers of an existing cluster to wait for before starting", ge=1, le=MOST
    )
    worker_timeout: float = _option(300.0, "seconds to wait for workers, at the start and when none are left", gt=0)


class ResultOptions(EmbedOptions, GraphOptions, ExampleOptions, CountOptions, ExtractOptions):
    """All options that decide results; a store keeps those that it was made with."""


class RunConfig(ClusterOptions, ResultOptions):
    """All options of a run."""

    out: StorePlace = _option(..., "the store, a folder that is made, here or in a bucket (s3://bucket/store.zarr)")
    storage_options: Secrets | None = _option(
        None, "JSON object of what fsspec needs to get to addresses; kept nowhere", repr=False
    )


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in a table, of which YAML's own reader silently takes the last."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Called by YAML's parser."""
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            line = key.start_mark.line + 1
            if key.value in lines:
                raise yaml.YAMLError(f"{key.value!r} stands twice, in lines {lines[key.value]} and {line}; keep one.")
            lines[key.value] = line
        return node


def read_yaml(path: Path) -> dict[str, Any]:
    """Options from a YAML file, not checked yet; relative paths start where the command runs.

    Raises
    ------
    ConfigError
        If there is no such file, it isn't YAML, a key stands twice, or it is not a table of options.
    """
    try:
        options = yaml.load(path.read_text(encoding="utf-8"), _Loader) or {}
    except OSError as error:
        raise ConfigError(f"Can't read the configuration {path}: {error.strerror}.") from error
    except (yaml.YAMLError, ValueError, AttributeError, RecursionError) as error:  # as of a date in a 13th month
        raise ConfigError(f"The configuration {path} is not YAML: {error}") from error
    if not isinstance(options, dict):
        raise ConfigError(f"The configuration {path} holds a {type(options).__name__}, not a table of options.")
    return {str(key): value for key, value in options.items()}


def fingerprint(facts: Mapping[str, Any]) -> int:
    """A number from 1 to 2**63 - 1 that stays the same as long as the facts do, on every machine."""
    text = json.dumps(facts, sort_keys=True, default=str)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % (2**63 - 1) + 1


def _sentences(error: ValidationError, known: Mapping[str, FieldInfo], where: str) -> Iterator[str]:
    for key, errors in groupby(error.errors(), key=_key):
        yield _sentence(key, list(errors), known, where)


def _key(error: Any) -> str:
    """The option, with the place inside a list (``mean.1``), without pydantic's names for alternatives."""
    option, *inside = error["loc"]
    return ".".join(map(str, [option, *inside] if inside and isinstance(inside[0], int) else [option]))


def _sentence(key: str, errors: Sequence[Any], known: Mapping[str, FieldInfo], where: str) -> str:
    if key not in known and errors[0]["type"] == "extra_forbidden":
        return f"Unknown option {key!r} in {where}. {suggestion(key, known)}"
    if key in known and errors[0]["type"] == "missing":
        return f"The option {key!r} is missing in {where}; give --{key.replace('_', '-')} or put it into the file."
    reasons = "; ".join(error["msg"].removeprefix("Value error, ") for error in errors)
    return f"The option {key!r} in {where} is {errors[0]['input']!r}: {reasons}."
