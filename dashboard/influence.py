"""Counts of sources as graphs are made from them, read no sooner than they are needed."""

from collections.abc import Iterator, Mapping, Sequence

from scipy import sparse

from summit_dask.store.store import Store


class InfluenceOfClass(Mapping[str, sparse.csr_array]):
    """Counts of the sources of one class by hop; a hop is read when it is first asked for, and kept.

    Parameters
    ----------
    hops
        The hops that the store has counts of.
    count
        Which counts: influence_count, contribution_count or inhibition_count.
    """

    def __init__(self, store: Store, hops: Sequence[str], class_index: int, count: str) -> None:
        self._store = store
        self._count = count
        self._hops = hops
        self._rows = slice(class_index, class_index + 1)
        self._kept: dict[str, sparse.csr_array] = {}

    def __getitem__(self, hop: str) -> sparse.csr_array:
        if hop not in self._hops:
            raise KeyError(hop)
        if hop not in self._kept:
            counts = self._store.read(f"matrices/{hop}/{self._count}", self._rows)
            self._kept[hop] = sparse.csr_array(counts[0])
        return self._kept[hop]

    def __iter__(self) -> Iterator[str]:
        return iter(self._hops)

    def __len__(self) -> int:
        return len(self._hops)
