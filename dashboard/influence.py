"""Counts of sources as graphs are made from them, read no sooner than they are needed."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from scipy import sparse


class InfluenceOfClass(Mapping[str, sparse.csr_array]):
    """Counts of the sources of one class by hop; a hop is read when it is first asked for, and kept.

    Parameters
    ----------
    read
        Takes the address of counts, and gives those of the class.
    hops
        The hops that the store has counts of.
    count
        Which counts: influence_count, contribution_count or inhibition_count.
    """

    def __init__(self, read: Callable[[str], sparse.csr_array], hops: Sequence[str], count: str) -> None:
        self._read = read
        self._count = count
        self._hops = hops
        self._kept: dict[str, sparse.csr_array] = {}

    def __getitem__(self, hop: str) -> sparse.csr_array:
        if hop not in self._hops:
            raise KeyError(hop)
        if hop not in self._kept:
            self._kept[hop] = self._read(f"matrices/{hop}/{self._count}")
        return self._kept[hop]

    def __iter__(self) -> Iterator[str]:
        return iter(self._hops)

    def __len__(self) -> int:
        return len(self._hops)
