"""Which arrays a network's store has: the registry's variables for each of its layers, hops and pairs of measures.

schema        activations/{visible}/value
layer graph   visible: lower (12 channels), upper (15 channels)
addresses     activations/lower/value (image, 12)    activations/upper/value (image, 15)
"""

from collections.abc import Iterator, Sequence
from math import prod

from summit_dask.facts import schema
from summit_dask.facts.config import MeasureOptions
from summit_dask.facts.layergraph import LayerGraph
from summit_dask.facts.pairs import PAIRS, Pair
from summit_dask.facts.schema import Variable


def members_of(layer_graph: LayerGraph, variable: Variable, groupings: Sequence[str] = ()) -> tuple[str, ...]:
    """Names of the layers, hops or pairs that a variable exists for; ("",) for one that belongs to none.

    What is counted by groups of images is there once for each of the groupings, as in "site/inception4c".
    """
    by_kind = {
        "": ("",),
        "visible": tuple(layer.name for layer in layer_graph.visible),
        "with_maps": tuple(layer.name for layer in layer_graph.with_maps),
        "influenced": tuple(layer.name for layer in layer_graph.influenced),
        "hop": tuple(hop.name for hop in layer_graph.hops),
        "pair": tuple(pair.name for pair in PAIRS),
        "by": ("",),
    }
    members = by_kind[variable.members]
    if variable.is_grouped:
        return tuple(f"{by}/{member}".rstrip("/") for by in groupings for member in members)
    return members


def addresses(layer_graph: LayerGraph, head: str, groupings: Sequence[str] = ()) -> Iterator[tuple[str, Variable]]:
    """Address of every array that an outermost group may hold, with what it is; see `members_of`."""
    for variable in schema.variables(head):
        for member in members_of(layer_graph, variable, groupings):
            yield variable.address(member), variable


def measured_arrays(layer_graph: LayerGraph, options: MeasureOptions) -> dict[str, Variable]:
    """What the extraction measures of every image in the layers, by address."""
    return {
        variable.address(member): variable
        for variable in schema.VARIABLES
        if variable.dims[0] == "image" and variable.members and is_kept(variable, options)
        for member in members_of(layer_graph, variable)
    }


def is_kept(variable: Variable, options: MeasureOptions) -> bool:
    """Whether a run with these options keeps a variable."""
    return all(getattr(options, name) for name in variable.options)


def why_not_counted(pair: Pair, options: MeasureOptions) -> str:
    """Why a run with these options has no graphs of a pair and what to do, in words; empty if it has them."""
    for side, measure in pair._asdict().items():
        (variable,) = (v for v in schema.variables("matrices") if v.name == f"{measure}_count")
        if not is_kept(variable, options):
            flags = " ".join(f"--{name.replace('_', '-')}" for name in variable.options)
            return (
                f"Graphs with {pair.words} need counts of {measure}, which only a run with {flags} keeps. "
                f"Make a store with 'summit-dask run {flags}', or ask for another --{side}."
            )
    return ""


def own_lengths(layer_graph: LayerGraph, address: str) -> dict[str, int]:
    """Lengths of the dims that the layer or hop in an address decides."""
    variable = schema.variable(address)
    kind = variable.members
    member = address.partition("/")[2].rpartition("/")[0]
    if variable.is_grouped:
        member = member.partition("/")[2]
    hop = next((hop for hop in layer_graph.hops if kind == "hop" and hop.name == member), None)
    if hop is not None:
        return {"channel": hop.channels, "source": layer_graph.layer(hop.source).channels}
    return {} if kind in ("", "pair", "by") else {"channel": layer_graph.layer(member).channels}


def bytes_per_image(layer_graph: LayerGraph, options: MeasureOptions) -> int:
    """Bytes of what is measured of one image in the layers, before compression."""
    return sum(
        prod(schema.sizes(variable, {"image": 1, "rank": options.k, **own_lengths(layer_graph, address)}))
        * variable.numpy_dtype.itemsize
        for address, variable in measured_arrays(layer_graph, options).items()
    )
