"""Every array of the store: its group, dims, dtype, fill value, unit and meaning; nothing else may be stored.

An array's address is its group and name. A group may end in a placeholder, which stands for a name of that kind:

    activations/{visible}/value          ->  activations/inception4c/value     each visible layer
    examples/{with_maps}/value           ->  examples/inception4c/value        the same without the row of the class
    influences/{influenced}/source       ->  influences/4c.reduce/source       each layer that hops lead to
    matrices/{hop}/influence_count       ->  matrices/4c.weight/influence_count
    graphs/{pair}/node_class             ->  graphs/activation-influence/node_class     see `pairs`
    grouped/{by}/{hop}/influence_count   ->  grouped/site correct/4c.weight/influence_count     see `store.groups`

Strings have the dtype "str" (`numpy.dtypes.StringDType` in memory; xarray before 2026.9 reads them as objects). Counts
are integers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any

import numpy as np

from summit_dask.facts.errors import StoreError, suggestion

FORMAT_VERSION = 4

#: Values of /images status.
PENDING, READ, UNREADABLE = 0, 1, 2

#: Predictions kept per image.
N_PREDICTIONS = 5

#: Strongest sources kept per node of a stored graph.
N_NODE_SOURCES = 3

#: Kinds of pictures of a channel, in the order of the stored pictures: made ones, then (imported) examples.
PICTURE_KINDS = (
    "channel",
    "neuron",
    "negative",
    *(f"diversity-{i}" for i in range(4)),
    *(f"dataset-p-{i}" for i in range(10)),
    *(f"dataset-n-{i}" for i in range(10)),
)

#: What is found out of an image itself, beside its layers.
MEASURED_OF_IMAGES = tuple(
    f"images/{name}"
    for name in ("status", "reason", "file_size", "checksum", "predicted", "probability", "true_probability")
)

STRING = np.dtypes.StringDType()


@dataclass(frozen=True, slots=True)
class Variable:
    """One array: where it is, what it is; `options` are those of a run without which it is left out."""

    group: str
    name: str
    dims: tuple[str, ...]
    dtype: str
    meaning: str
    units: str = "1"
    fill: int | float | str = 0
    options: tuple[str, ...] = ()

    @property
    def head(self) -> str:
        """The outermost group."""
        return self.group.partition("/")[0]

    @property
    def members(self) -> str:
        """What the last placeholder stands for: visible, with_maps, influenced, hop, pair or by; empty without one."""
        return self.group.partition("/")[2].rpartition("/")[2].strip("{}")

    @property
    def is_grouped(self) -> bool:
        """Whether it is a count by groups of images, which each stand in a group of their own."""
        return "{by}" in self.group

    def address(self, member: str = "") -> str:
        """Group and name, for one layer, hop or pair where the group has a placeholder."""
        return "/".join(filter(None, [self.head, member if self.members else "", self.name]))

    @property
    def numpy_dtype(self) -> np.dtype[Any] | np.dtypes.StringDType:
        """The dtype in memory."""
        return STRING if self.dtype == "str" else np.dtype(self.dtype)


_IMAGE = ("image",)
_CLASS = ("class",)
_NODE = ("node",)
_EDGE = ("edge",)
_CHANNEL = ("channel",)
_EXAMPLE = ("channel", "rank")
_BOX = "what the thumbnail shows, in the original's pixels: top, left, bottom, right; the last two are outside"
_BYTES = "encoded pictures, one after the other (JPEG, PNG or WebP; see `encoded`)"


def _ranking(head: str, prefix: str, what: str) -> tuple[Variable, ...]:
    """Hop, source and value of each channel's k first."""
    group, dims, options = f"{head}/{{influenced}}", ("image", "channel", "rank"), (head,)
    by = "which of the layer's incoming hops the source comes by; -1: no source"
    source = f"source channel of the rank-th {what}; -1: no source"
    value = "the contribution, where the channel's own maximum is; 0: none"
    return (
        Variable(group, f"{prefix}hop", dims, "int8", by, fill=-1, options=options),
        Variable(group, f"{prefix}source", dims, "int16", source, fill=-1, options=options),
        Variable(group, f"{prefix}value", dims, "float16", value, options=(*options, "influence_values")),
    )


def _counts(head: str, row: str) -> tuple[Variable, ...]:
    """Counts of channels by layer and of sources by hop, a row a class or another group of images."""
    return (
        Variable(f"{head}/{{visible}}", "activation_count", (row, "channel"), "int32", "images that use the channel"),
        Variable(
            f"{head}/{{visible}}",
            "relevance_count",
            (row, "channel"),
            "int32",
            "images for which the channel is relevant",
            options=("relevance",),
        ),
        _source_count(head, row, "influence_count", "influences", "its largest influences"),
        _source_count(head, row, "contribution_count", "contributions", "what adds most to it"),
        _source_count(head, row, "inhibition_count", "contributions", "what lowers it most"),
    )


def _source_count(head: str, row: str, name: str, option: str, what: str) -> Variable:
    """Counts by hop."""
    meaning = f"images in which the source is among {what}; channels are the hop's own targets, in its order"
    return Variable(f"{head}/{{hop}}", name, (row, "channel", "source"), "int32", meaning, options=(option,))


_EVIDENCE = "evidence/{pair}"
_NONE = float("nan")


def _evidence(name: str, dims: tuple[str, ...], meaning: str) -> Variable:
    """A share; NaN: it could not be measured."""
    return Variable(_EVIDENCE, name, dims, "float64", meaning, fill=_NONE)


def _with_interval(name: str, dims: tuple[str, ...], meaning: str) -> tuple[Variable, ...]:
    """A share, and the interval of the middle 90 % of its bootstrap samples over the images."""
    ends = (("low", "lower"), ("high", "upper"))
    return (
        _evidence(name, dims, meaning),
        *(_evidence(f"{name}_{end}", dims, f"{word} end of the interval of `{name}`") for end, word in ends),
    )


VARIABLES: tuple[Variable, ...] = (
    Variable(
        "",
        "image",
        _IMAGE,
        "int64",
        "place of the image in the store: by class, then path; or as in its shards",
    ),
    Variable("", "class", _CLASS, "str", "folder name or label of the class; unique"),
    Variable("outputs", "name", ("output",), "str", "name of the network's output"),
    Variable("outputs", "synset", ("output",), "str", "WordNet synset of the output, empty if it has none"),
    Variable("images", "path", _IMAGE, "str", "path of the image as it was given"),
    Variable(
        "images", "shard_offset", _IMAGE, "int64", "first byte in its shard, or row; -1: a file of its own", fill=-1
    ),
    Variable("images", "shard_length", _IMAGE, "int64", "bytes in its shard; -1: a row, or a file of its own", fill=-1),
    Variable("images", "class_index", _IMAGE, "int32", "place of the image's class in /classes", fill=-1),
    Variable("images", "status", _IMAGE, "uint8", "0 not read yet, 1 read, 2 unreadable"),
    Variable("images", "reason", _IMAGE, "str", "why the image could not be read, else empty"),
    Variable("images", "file_size", _IMAGE, "int64", "size of the image's file when it was read; 0: unknown", "byte"),
    Variable("images", "checksum", _IMAGE, "uint32", "crc32 of the image's file when it was read; 0: unknown"),
    Variable(
        "images",
        "predicted",
        ("image", "prediction_rank"),
        "int32",
        "the outputs of highest probability, descending; ties: lower output",
        fill=-1,
    ),
    Variable("images", "probability", ("image", "prediction_rank"), "float32", "probability of `predicted`"),
    Variable("images", "true_probability", _IMAGE, "float32", "probability of the image's own class"),
    Variable("classes", "name", _CLASS, "str", "name of the class; two classes may share one"),
    Variable("classes", "synset", _CLASS, "str", "WordNet synset of the class, empty if it has none"),
    Variable("classes", "output_index", _CLASS, "int32", "the network's output for the class", fill=-1),
    Variable("classes", "n_images", _CLASS, "int32", "readable images of the class"),
    Variable("classes", "n_correct", _CLASS, "int32", "images whose highest prediction is their class"),
    Variable("activations/{visible}", "value", ("image", "channel"), "float32", "maximum of the feature map"),
    Variable(
        "activations/{visible}",
        "position",
        ("image", "channel"),
        "int32",
        "where the maximum is: y * width + x, the lowest on ties",
    ),
    Variable(
        "influences/{influenced}",
        "hop",
        ("image", "channel", "rank"),
        "int8",
        "which of the layer's incoming hops the source comes by; -1: no source",
        fill=-1,
        options=("influences",),
    ),
    Variable(
        "influences/{influenced}",
        "source",
        ("image", "channel", "rank"),
        "int16",
        "source channel of the rank-th largest positive influence; -1: no source",
        fill=-1,
        options=("influences",),
    ),
    Variable(
        "influences/{influenced}",
        "value",
        ("image", "channel", "rank"),
        "float16",
        "the influence; 0: none",
        options=("influences", "influence_values"),
    ),
    *_ranking("contributions", "", "largest positive contribution"),
    *_ranking("contributions", "inhibitor_", "most negative contribution"),
    Variable(
        "relevances/{visible}",
        "value",
        ("image", "channel"),
        "float32",
        "activation times gradient of the image's own logit, summed over positions",
        options=("relevance",),
    ),
    *_counts("matrices", "class"),
    Variable(
        "grouped/{by}", "group", ("group",), "str", "values of the columns that the images are grouped by; unique"
    ),
    Variable("grouped/{by}", "n_images", ("group",), "int32", "readable images of the group"),
    *_counts("grouped/{by}", "group"),
    Variable("graphs/{pair}", "node_class", _NODE, "int32", "place of the node's class in /classes"),
    Variable("graphs/{pair}", "node_layer", _NODE, "int16", "place of the node's layer in the layer graph"),
    Variable("graphs/{pair}", "node_channel", _NODE, "int32", "channel of the node"),
    Variable("graphs/{pair}", "node_count", _NODE, "int32", "images of the class that use the channel"),
    Variable("graphs/{pair}", "node_score", _NODE, "float64", "personalised PageRank over the class's whole graph"),
    Variable(
        "graphs/{pair}",
        "node_source_layer",
        ("node", "source_rank"),
        "int16",
        "layer of the node's strongest sources, hidden ones allowed; -1: none",
        fill=-1,
    ),
    Variable(
        "graphs/{pair}",
        "node_source_channel",
        ("node", "source_rank"),
        "int32",
        "channel of the node's strongest sources; -1: none",
        fill=-1,
    ),
    Variable(
        "graphs/{pair}", "node_source_influence", ("node", "source_rank"), "int32", "images in which it is a source"
    ),
    Variable("graphs/{pair}", "edge_class", _EDGE, "int32", "place of the edge's class in /classes"),
    Variable("graphs/{pair}", "edge_source_layer", _EDGE, "int16", "layer of the edge's lower end"),
    Variable("graphs/{pair}", "edge_source_channel", _EDGE, "int32", "channel of the edge's lower end"),
    Variable("graphs/{pair}", "edge_target_layer", _EDGE, "int16", "layer of the edge's upper end"),
    Variable("graphs/{pair}", "edge_target_channel", _EDGE, "int32", "channel of the edge's upper end"),
    Variable("graphs/{pair}", "edge_influence", _EDGE, "int32", "smallest count on the widest path between the ends"),
    Variable(
        "graphs/{pair}",
        "edge_identity",
        _EDGE,
        "uint8",
        "1: the widest path is an identity straight from the lower end, and no other path is as wide; 0: it is not",
    ),
    Variable("graphs/{pair}", "node_offset", ("class_bound",), "int64", "nodes of class i: offset[i] to offset[i + 1]"),
    Variable("graphs/{pair}", "edge_offset", ("class_bound",), "int64", "edges of class i: offset[i] to offset[i + 1]"),
    Variable(
        "graphs/{pair}",
        "reached_p",
        ("class", "visible_layer"),
        "float64",
        "share of the layer's scores at which the selection stopped",
        fill=float("nan"),
    ),
    Variable(
        "graphs/{pair}",
        "valid",
        ("class", "visible_layer"),
        "uint8",
        "1: the layer is joined to one that it draws from (a lowest: always); 0: it never can be",
    ),
    Variable("embedding/{with_maps}", "x", _CLASS, "float32", "place of the class among similar classes"),
    Variable("embedding/{with_maps}", "y", _CLASS, "float32", "place of the class among similar classes"),
    Variable(
        "examples/{with_maps}",
        "image_index",
        _EXAMPLE,
        "int32",
        "image whose maximum of the channel is the rank-th largest, ties: lower image; -1: no further image",
        fill=-1,
    ),
    Variable("examples/{with_maps}", "value", _EXAMPLE, "float32", "the maximum of the feature map on that image"),
    Variable("examples/{with_maps}", "box", (*_EXAMPLE, "side"), "int32", _BOX, "pixel"),
    Variable(
        "examples/{with_maps}",
        "centre",
        (*_EXAMPLE, "axis"),
        "float32",
        "middle of where the channel fires, around its maximum: shares of the height and width that the network sees",
        fill=_NONE,
    ),
    Variable(
        "examples/{with_maps}",
        "share",
        _EXAMPLE,
        "float32",
        "positions at which the feature map is at least half of its maximum, of all; NaN: the image can't be opened",
        fill=_NONE,
    ),
    Variable(
        "examples/{with_maps}",
        "map",
        (*_EXAMPLE, "grid_y", "grid_x"),
        "uint8",
        "the feature map over the box, from 0 to 15, its maximum; from 8 on it is at least half of that",
    ),
    Variable("examples/{with_maps}", "thumbnail_bytes", ("thumbnail_byte",), "uint8", _BYTES),
    Variable(
        "examples/{with_maps}",
        "thumbnail_offset",
        ("thumbnail_bound",),
        "int64",
        "thumbnail i: bytes offset[i] to offset[i + 1]; i = channel * ranks + rank",
    ),
    Variable("pictures/{with_maps}", "picture_bytes", ("picture_byte",), "uint8", _BYTES),
    Variable(
        "pictures/{with_maps}",
        "picture_offset",
        ("picture_bound",),
        "int64",
        "picture i: bytes offset[i] to offset[i + 1]; i = channel * len(PICTURE_KINDS) + place in PICTURE_KINDS",
    ),
    Variable(
        "pictures/{with_maps}",
        "made_with",
        ("channel", "kind"),
        "uint64",
        "settings that the picture was made with; 0: imported, or no picture",
    ),
    Variable("usage/{with_maps}", "class_count", _CHANNEL, "int32", "classes of which any image uses the channel"),
    Variable(
        "usage/{with_maps}",
        "top_class_count",
        _CHANNEL,
        "int32",
        "classes among whose four most used channels it is; ties: the lower channel",
    ),
    Variable("usage/{with_maps}", "image_count", _CHANNEL, "int64", "images of all classes that use the channel"),
    Variable(
        "usage/{with_maps}",
        "entropy",
        _CHANNEL,
        "float64",
        "of the share of images that use the channel over the classes: 0 one class alone; NaN: not used",
        "bit",
        fill=float("nan"),
    ),
    Variable(_EVIDENCE, "choice", ("choice",), "str", "which channels are taken away from all layers at once"),
    Variable(_EVIDENCE, "layer_choice", ("layer_choice",), "str", "which channels are taken away from one layer"),
    Variable(_EVIDENCE, "rival", ("rival",), "str", "which other class's graph the class's own is held against"),
    Variable(_EVIDENCE, "map_layer", ("map_layer",), "str", "visible layer with maps, input side first"),
    Variable(_EVIDENCE, "kept", ("kept",), "str", "which channels of a layer are kept"),
    Variable(
        _EVIDENCE, "ranked_layer", ("ranked_layer",), "str", "layer whose channels have sources, input side first"
    ),
    Variable(_EVIDENCE, "measure", ("measure",), "str", "what ranks a channel's sources"),
    Variable(_EVIDENCE, "share", ("share",), "float64", "share of a layer's channels that is kept"),
    Variable(_EVIDENCE, "ablation", ("ablation",), "str", "what the map of a channel becomes: its mean, or zero"),
    Variable(_EVIDENCE, "images", ("ablation",), "int64", "images of each half of a class that test, at most"),
    Variable(_EVIDENCE, "samples", ("ablation",), "int64", "bootstrap samples of a class's images"),
    Variable(_EVIDENCE, "seed", ("ablation",), "int64", "of halves, random channels and samples"),
    Variable(
        _EVIDENCE,
        "replacement",
        ("map_channel",),
        "float32",
        "what the map of a channel becomes everywhere; the channels of one layer after those of the other",
    ),
    Variable(_EVIDENCE, "n_tested", _CLASS, "int32", "images that tested graphs that were made without them"),
    Variable(_EVIDENCE, "n_drawn", _CLASS, "int32", "those of them from which random channels were taken away"),
    Variable(_EVIDENCE, "n_tested_by_layer", _CLASS, "int32", "those of them that tested single layers"),
    _evidence("margin", _CLASS, "the class's logit minus the mean of all logits, mean over the images that test"),
    _evidence("margin_without", _CLASS, "the same without any channel of a visible layer"),
    Variable(
        _EVIDENCE, "rival_class", ("class", "rival"), "int32", "place of the other class in /classes; -1: none", fill=-1
    ),
    *_with_interval("necessity", ("class", "choice"), "share of the margin that is lost without the channels"),
    _evidence("random_necessity", ("class", "draw"), "the same of each draw of random channels"),
    _evidence("necessity_beside_random", _CLASS, "necessity of the graph's channels for the same images as the draws'"),
    _evidence("p_value", _CLASS, "how often random channels are as necessary as the graph's; (1 + draws) / (1 + all)"),
    *_with_interval("specificity", ("class", "rival"), "necessity of the class's graph minus that of the other's"),
    *_with_interval(
        "layer_necessity",
        ("class", "map_layer", "layer_choice"),
        "share of what is lost without the layer that is lost without some of its channels",
    ),
    *_with_interval(
        "sufficiency",
        ("class", "map_layer", "kept", "share"),
        "share of what is lost without the layer that some of its channels alone bring back",
    ),
    *_with_interval(
        "loss_elsewhere",
        ("class", "layer_choice"),
        "necessity of the channels for images of other classes, each with the margin of its own class",
    ),
    Variable(_EVIDENCE, "n_elsewhere", _CLASS, "int32", "images of other classes that tested the class's channels"),
    _evidence(
        "capture",
        ("class", "ranked_layer", "measure"),
        "share of what the truly strongest sources of single images do to a channel that its kept ones do",
    ),
    _evidence(
        "class_capture",
        ("class", "ranked_layer", "measure"),
        "the same of the sources that are kept on most images, over all images of the class that test",
    ),
    _evidence(
        "rank_correlation",
        ("class", "ranked_layer", "measure"),
        "Spearman's, of a channel's sources: the measure, and what the channel loses without each",
    ),
    Variable(
        _EVIDENCE,
        "n_targets",
        ("class", "ranked_layer"),
        "int32",
        "channels of single images whose sources were tested",
    ),
    _evidence("node_stability", _NODE, "share of bootstrap samples of the class's images whose graph holds the node"),
    _evidence("edge_stability", _EDGE, "share of bootstrap samples of the class's images whose graph holds the edge"),
    _evidence(
        "edge_effect",
        _EDGE,
        "median over images of the class: share of the upper end's maximum that is lost without the lower end; "
        "of the class: of its logit; negative: it grows; NaN: it is above 0 on none of them",
    ),
    _evidence("node_jaccard", _CLASS, "mean over the samples: nodes in both graphs, of those in any"),
    _evidence("edge_jaccard", _CLASS, "mean over the samples: edges in both graphs, of those in any"),
    Variable("partitions", "fingerprint", ("partition",), "uint64", "configuration it was extracted with; 0: not yet"),
)

_BY_GROUP: dict[str, tuple[Variable, ...]] = {
    head: tuple(own) for head, own in groupby(sorted(VARIABLES, key=attrgetter("head")), attrgetter("head"))
}
#: By outermost group, name, and whether the group has members (layers, hops or pairs).
_BY_NAME = {(v.head, v.name, bool(v.members)): v for v in VARIABLES}


def variables(head: str) -> tuple[Variable, ...]:
    """All variables of an outermost group, "" for the root's own.

    Raises
    ------
    StoreError
        If the registry has no such group.
    """
    if head not in _BY_GROUP:
        raise StoreError(f"There is no group {head!r}. {suggestion(head, _BY_GROUP)}")
    return _BY_GROUP[head]


def variable(address: str) -> Variable:
    """The variable at an address, such as ``activations/inception4c/value``.

    Raises
    ------
    StoreError
        If the registry has no such variable.
    """
    known = _registered(address)
    if known is None:
        group, _, name = address.rpartition("/")
        head, _, member = group.partition("/")
        names = {v.name for v in variables(head) if bool(v.members) == bool(member)}
        raise StoreError(f"There is no variable {name!r} in {group!r}. {suggestion(name, names)}")
    return known


def is_registered(address: str) -> bool:
    """Whether the registry has it; columns of a manifest it has not."""
    return _registered(address) is not None


def _registered(address: str) -> Variable | None:
    group, _, name = address.rpartition("/")
    head, _, member = group.partition("/")
    return _BY_NAME.get((head, name, bool(member)))


def sizes(variable: Variable, lengths: Mapping[str, int]) -> tuple[int, ...]:
    """Shape of a variable, given the length of every dim it uses."""
    return tuple(lengths[dim] for dim in variable.dims)


def check(address: str, shape: tuple[int, ...], dtype: object, lengths: Mapping[str, int]) -> None:
    """Refuse values of another dtype or shape than the registry says.

    Parameters
    ----------
    shape, dtype
        Of the values.
    lengths
        Of the dims whose length is known; any other may have any.

    Raises
    ------
    StoreError
        Names the variable, what was expected and what was found.
    """
    known = variable(address)
    free = len(known.dims) == len(shape)
    expected = tuple(lengths.get(dim, shape[axis] if free else -1) for axis, dim in enumerate(known.dims))
    if shape != expected:
        raise StoreError(f"{address}: expected the shape {expected} for the dims {known.dims}, found {shape}.")
    if dtype != known.numpy_dtype:
        raise StoreError(f"{address}: expected values of dtype {known.dtype}, found {dtype}.")
