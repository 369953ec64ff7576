"""Evidence in a store: which graphs have it, and how they were tested (see `stages.evidence`)."""

from dataclasses import dataclass
from typing import Literal, get_args

from summit_dask.arrays.graph.attribution import Marks
from summit_dask.facts.pairs import Pair
from summit_dask.store.graphs import ReadWhole
from summit_dask.store.store import Store

Ablation = Literal["mean", "zero"]
ABLATIONS: tuple[Ablation, ...] = get_args(Ablation)

#: Settings that are numbers, each stored under its name.
NUMBERS = ("images", "samples", "seed")


@dataclass(frozen=True)
class Settings:
    """How graphs are tested.

    Parameters
    ----------
    images
        Images of each half that test, at most.
    samples
        Bootstrap samples of the images, for the stability of the graphs.
    seed
        Of the halves, the random channels, and all samples.
    ablation
        What the map of a channel that is taken away becomes: its mean over images and positions, or zero.
    """

    images: int = 50
    samples: int = 100
    seed: int = 0
    ablation: Ablation = "mean"


def group_of(pair: Pair) -> str:
    """The store's group of the evidence for the graphs of a pair."""
    return f"evidence/{pair.name}"


def is_tested(store: Store, pair: Pair) -> bool:
    """Whether the store's graphs of a pair, as they are now, have their evidence."""
    tested = store.finished(group_of(pair))
    return tested is not None and tested == store.finished(pair.group)


def stored_settings(store: Store, pair: Pair) -> Settings:
    """How the graphs of a pair were tested."""
    group = group_of(pair)
    numbers = {name: int(store.read(f"{group}/{name}")[0]) for name in NUMBERS}
    return Settings(**numbers, ablation=store.read(f"{group}/ablation").tolist()[0])


def read_marks(read: ReadWhole, index: int, pair: Pair) -> Marks:
    """What evidence says of the graph of one class; the pair's graphs must be tested.

    Raises
    ------
    StoreIncompleteError
        If the store has no evidence for the pair.
    """
    nodes, edges = (
        slice(*read(f"{pair.group}/{kind}_offset")[index : index + 2].tolist()) for kind in ("node", "edge")
    )
    group = group_of(pair)
    return Marks(
        read(f"{group}/node_stability")[nodes],
        read(f"{group}/edge_stability")[edges],
        read(f"{group}/edge_effect")[edges],
    )
