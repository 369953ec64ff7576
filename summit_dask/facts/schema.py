"""Every array of the store: its group, dims, dtype, fill value, unit and meaning; nothing else may be stored.

A group name may end in ``{layer}`` or ``{hop}``, which stands for each layer's or hop's name.
Strings have the dtype "str" (`numpy.dtypes.StringDType` in memory). Counts are integers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from summit_dask.facts.errors import StoreError, suggestion

FORMAT_VERSION = 1

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

STRING = np.dtypes.StringDType()


@dataclass(frozen=True, slots=True)
class Variable:
    """One array: where it is, what it is."""

    group: str
    name: str
    dims: tuple[str, ...]
    dtype: str
    meaning: str
    units: str = "1"
    fill: int | float | str = 0

    @property
    def numpy_dtype(self) -> np.dtype[Any] | np.dtypes.StringDType:
        """The dtype in memory."""
        return STRING if self.dtype == "str" else np.dtype(self.dtype)


_IMAGE, _CLASS = ("image",), ("class",)
_NODE, _EDGE = ("node",), ("edge",)
_CHANNEL = ("channel",)
_EXAMPLE, _CLASS_EXAMPLE = ("channel", "rank"), ("class", "channel", "class_rank")
_BOX = "what the channel saw, in the original's pixels: top, left, bottom, right; the last two are outside"
_BYTES = "encoded pictures, one after the other (JPEG, PNG or WebP; see `encoded`)"

VARIABLES: tuple[Variable, ...] = (
    Variable("", "image", _IMAGE, "int64", "place of the image in the store: by class, then path"),
    Variable("", "class", _CLASS, "str", "folder name or label of the class; unique"),
    Variable("outputs", "name", ("output",), "str", "name of the network's output"),
    Variable("outputs", "synset", ("output",), "str", "WordNet synset of the output, empty if it has none"),
    Variable("images", "path", _IMAGE, "str", "path of the image as it was given"),
    Variable("images", "class_index", _IMAGE, "int32", "place of the image's class in /classes", fill=-1),
    Variable("images", "status", _IMAGE, "uint8", "0 not read yet, 1 read, 2 unreadable"),
    Variable("images", "reason", _IMAGE, "str", "why the image could not be read, else empty"),
    Variable("images", "file_size", _IMAGE, "int64", "size of the image's file when it was read; 0: unknown", "byte"),
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
    Variable("activations/{layer}", "value", ("image", "channel"), "float32", "maximum of the feature map"),
    Variable(
        "activations/{layer}",
        "position",
        ("image", "channel"),
        "int32",
        "where the maximum is: y * width + x, the lowest on ties",
    ),
    Variable(
        "influences/{layer}",
        "hop",
        ("image", "channel", "rank"),
        "int8",
        "which of the layer's incoming hops the source comes by; -1: no source",
        fill=-1,
    ),
    Variable(
        "influences/{layer}",
        "source",
        ("image", "channel", "rank"),
        "int16",
        "source channel of the rank-th largest positive influence; -1: no source",
        fill=-1,
    ),
    Variable("influences/{layer}", "value", ("image", "channel", "rank"), "float16", "the influence; 0: none"),
    Variable("matrices/{layer}", "activation_count", ("class", "channel"), "int32", "images that use the channel"),
    Variable(
        "matrices/{hop}",
        "influence_count",
        ("class", "channel", "source"),
        "int32",
        "images in which the source is among the channel's strongest; channels of the hop's own range",
    ),
    Variable("graphs", "node_class", _NODE, "int32", "place of the node's class in /classes"),
    Variable("graphs", "node_layer", _NODE, "int16", "place of the node's layer in the layer graph"),
    Variable("graphs", "node_channel", _NODE, "int32", "channel of the node"),
    Variable("graphs", "node_count", _NODE, "int32", "images of the class that use the channel"),
    Variable("graphs", "node_score", _NODE, "float64", "personalised PageRank over the class's whole graph"),
    Variable(
        "graphs",
        "node_source_layer",
        ("node", "source_rank"),
        "int16",
        "layer of the node's strongest sources, hidden ones allowed; -1: none",
        fill=-1,
    ),
    Variable(
        "graphs",
        "node_source_channel",
        ("node", "source_rank"),
        "int32",
        "channel of the node's strongest sources; -1: none",
        fill=-1,
    ),
    Variable("graphs", "node_source_influence", ("node", "source_rank"), "int32", "images in which it is a source"),
    Variable("graphs", "edge_class", _EDGE, "int32", "place of the edge's class in /classes"),
    Variable("graphs", "edge_source_layer", _EDGE, "int16", "layer of the edge's lower end"),
    Variable("graphs", "edge_source_channel", _EDGE, "int32", "channel of the edge's lower end"),
    Variable("graphs", "edge_target_layer", _EDGE, "int16", "layer of the edge's upper end"),
    Variable("graphs", "edge_target_channel", _EDGE, "int32", "channel of the edge's upper end"),
    Variable("graphs", "edge_influence", _EDGE, "int32", "smallest count on the widest path between the ends"),
    Variable("graphs", "node_offset", ("class_bound",), "int64", "nodes of class i: offset[i] to offset[i + 1]"),
    Variable("graphs", "edge_offset", ("class_bound",), "int64", "edges of class i: offset[i] to offset[i + 1]"),
    Variable(
        "graphs",
        "reached_p",
        ("class", "visible_layer"),
        "float64",
        "share of the layer's scores at which the selection stopped",
        fill=float("nan"),
    ),
    Variable(
        "graphs",
        "valid",
        ("class", "visible_layer"),
        "uint8",
        "1: the layer is joined to the one below (the lowest: always); 0: it never can be",
    ),
    Variable("embedding/{layer}", "x", _CLASS, "float32", "place of the class among similar classes"),
    Variable("embedding/{layer}", "y", _CLASS, "float32", "place of the class among similar classes"),
    Variable(
        "examples/{layer}",
        "image_index",
        _EXAMPLE,
        "int32",
        "image whose maximum of the channel is the rank-th largest, ties: lower image; -1: no further image",
        fill=-1,
    ),
    Variable("examples/{layer}", "value", _EXAMPLE, "float32", "the maximum of the feature map on that image"),
    Variable("examples/{layer}", "box", (*_EXAMPLE, "side"), "int32", _BOX, "pixel"),
    Variable("examples/{layer}", "thumbnail_bytes", ("thumbnail_byte",), "uint8", _BYTES),
    Variable(
        "examples/{layer}",
        "thumbnail_offset",
        ("thumbnail_bound",),
        "int64",
        "thumbnail i: bytes offset[i] to offset[i + 1]; i = channel * ranks + rank",
    ),
    Variable(
        "examples/{layer}",
        "class_image_index",
        _CLASS_EXAMPLE,
        "int32",
        "as image_index, among the images of one class",
        fill=-1,
    ),
    Variable("examples/{layer}", "class_value", _CLASS_EXAMPLE, "float32", "as value, for the class's images"),
    Variable("examples/{layer}", "class_box", (*_CLASS_EXAMPLE, "side"), "int32", _BOX, "pixel"),
    Variable("examples/{layer}", "class_thumbnail_bytes", ("class_thumbnail_byte",), "uint8", _BYTES),
    Variable(
        "examples/{layer}",
        "class_thumbnail_offset",
        ("class_thumbnail_bound",),
        "int64",
        "thumbnail i: bytes offset[i] to offset[i + 1]; i = (class * channels + channel) * class_ranks + class_rank",
    ),
    Variable("pictures/{layer}", "picture_bytes", ("picture_byte",), "uint8", _BYTES),
    Variable(
        "pictures/{layer}",
        "picture_offset",
        ("picture_bound",),
        "int64",
        "picture i: bytes offset[i] to offset[i + 1]; i = channel * len(PICTURE_KINDS) + place in PICTURE_KINDS",
    ),
    Variable(
        "pictures/{layer}",
        "made_with",
        ("channel", "kind"),
        "uint64",
        "settings that the picture was made with; 0: imported, or no picture",
    ),
    Variable("usage/{layer}", "class_count", _CHANNEL, "int32", "classes of which any image uses the channel"),
    Variable(
        "usage/{layer}",
        "top_class_count",
        _CHANNEL,
        "int32",
        "classes among whose four most used channels it is; ties: the lower channel",
    ),
    Variable("usage/{layer}", "image_count", _CHANNEL, "int64", "images of all classes that use the channel"),
    Variable(
        "usage/{layer}",
        "entropy",
        _CHANNEL,
        "float64",
        "of the share of images that use the channel over the classes: 0 one class alone; NaN: not used",
        "bit",
        fill=float("nan"),
    ),
    Variable("partitions", "fingerprint", ("partition",), "uint64", "configuration it was extracted with; 0: not yet"),
)


def group_of(template: str, name: str) -> str:
    """The group's path for one layer or hop: ``group_of("activations/{layer}", "4b")``."""
    return template.format(layer=name, hop=name)


def variables(template: str) -> tuple[Variable, ...]:
    """All variables of a group, named as in the registry.

    Raises
    ------
    StoreError
        If the registry has no such group.
    """
    found = tuple(v for v in VARIABLES if v.group == template)
    if not found:
        raise StoreError(f"There is no group {template!r}. {suggestion(template, {v.group for v in VARIABLES})}")
    return found


def variable(template: str, name: str) -> Variable:
    """One variable of a group.

    Raises
    ------
    StoreError
        If the registry has no such variable.
    """
    found = {v.name: v for v in variables(template)}
    if name not in found:
        raise StoreError(f"There is no variable {name!r} in {template!r}. {suggestion(name, found)}")
    return found[name]


def sizes(variable: Variable, lengths: Mapping[str, int]) -> tuple[int, ...]:
    """Shape of a variable, given the length of every dim it uses."""
    return tuple(lengths[dim] for dim in variable.dims)


def check(variable: Variable, values: NDArray[Any], lengths: Mapping[str, int]) -> None:
    """Refuse values of another dtype or shape than the registry says.

    Raises
    ------
    StoreError
        Names the variable, what was expected and what was found.
    """
    expected = sizes(variable, lengths)
    if values.shape != expected:
        raise StoreError(
            f"{variable.group}/{variable.name}: expected the shape {expected} for the dims {variable.dims}, "
            f"found {values.shape}."
        )
    if values.dtype != variable.numpy_dtype:
        raise StoreError(
            f"{variable.group}/{variable.name}: expected values of dtype {variable.dtype}, found {values.dtype}."
        )
