"""Counts of sources as graphs are made from them, read no sooner than they are needed."""

from collections.abc import Iterator, Mapping, Sequence

from scipy import sparse

from summit_dask.facts.pairs import Pair
from summit_dask.store.counts import edge_counts
from summit_dask.store.store import Store


class InfluenceOfClass(Mapping[str, sparse.csr_array]):
    """Counts of influence, or contribution, of one class by hop; a hop is read when it is first asked for, and kept.

    Parameters
    ----------
    hops
        The hops that the store has counts of.
    pair
        Which counts.
    """

    def __init__(self, store: Store, hops: Sequence[str], class_index: int, pair: Pair) -> None:
        self._store = store
        self._pair = pair
        self._hops = hops
        self._rows = slice(class_index, class_index + 1)
        self._kept: dict[str, sparse.csr_array] = {}

    def __getitem__(self, hop: str) -> sparse.csr_array:
        if hop not in self._hops:
            raise KeyError(hop)
        if hop not in self._kept:
            counts = self._store.read(edge_counts(hop, self._pair), self._rows)
            self._kept[hop] = sparse.csr_array(counts[0])
        return self._kept[hop]

    def __iter__(self) -> Iterator[str]:
        return iter(self._hops)

    def __len__(self) -> int:
        return len(self._hops)
