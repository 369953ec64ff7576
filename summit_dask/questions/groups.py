"""What groups of images use: counts and attribution graphs by any column, not by class alone.

count(tree, by="correct")               counts of every layer and hop, (group, channel) and (group, channel, source)
attribution_graphs(tree, by="correct")  a graph for "right" and one for "wrong", each made when it is asked for
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dask
import dask.array as da
import numpy as np
import xarray as xr
from dask.delayed import Delayed, delayed
from numpy.typing import NDArray
from scipy.sparse import csr_array

from summit_dask.arrays.matrices import add_counts, tree_reduce
from summit_dask.facts import schema
from summit_dask.store.counting import BLOCK, RANKED, USED, Matrix, by_values, bytes_of_group, kept, matrices
from summit_dask.store.counts import Read
from summit_dask.store.groups import Groups, groups_of_tree, is_counted
from summit_dask.store.tree import Find, finder_of, layer_graph_of, reader_of, run_of

#: Dense counts of some groups that are made at once, in bytes.
COUNTED_AT_ONCE = 2**27


def count(tree: xr.DataTree, by: str | Sequence[str] = "class") -> xr.DataTree:
    """Count which channels and sources the images of each group use (DESIGN 3.2, 3.3).

    Parameters
    ----------
    tree
        An open store.
    by
        "class", "predicted" (the class that the network takes an image for), "correct" (right or wrong), a further
        column of the manifest, or several of these. Numbers make a group of each value.

    Returns
    -------
    xarray.DataTree
        A dataset for each visible layer with ``activation_count`` (group, channel), for each hop with
        ``influence_count`` (group, channel, source), and what else the run keeps; with the coordinates group (its
        name) and a column's value in each group, and ``n_images`` (group,) at the root. Dask arrays where the tree was
        opened with chunks, made of some thousand images at a time; else NumPy arrays. Images that can't be read, or
        without a value in a column, are in no group.

    Raises
    ------
    GroupNotFoundError
        If images have no such column, or it has too many values.
    StoreIncompleteError, StoreError
        If the store lacks values of single images, or their files are damaged.

    Examples
    --------
    With the path of a finished store of 90 images of three classes:

    >>> from summit_dask import open_store
    >>> counts = count(open_store(path), by="correct")
    >>> dict(zip(counts["group"].values.tolist(), counts["n_images"].values.tolist(), strict=True))
    {'right': 30, 'wrong': 60}
    >>> counts["upper/activation_count"].dims
    ('group', 'channel')
    """
    groups = groups_of_tree(tree, by)
    options = run_of(tree).config
    own = matrices(layer_graph_of(tree), kept((*USED, *RANKED), options), options.mass, options.excluded_by_layer())
    if is_counted(tree, groups):
        return _stored(tree, groups, own)
    blocks = [slice(start, min(start + BLOCK, len(groups.index))) for start in range(0, len(groups.index), BLOCK)]
    images = _Images(groups.index, len(groups.names), blocks, finder_of(tree), reader_of(tree))
    made = (counted for together in by_values(own) for counted in images.counted(together))
    counts = _tree(groups, {matrix.name: _variable(matrix.name, array) for matrix, array in made})
    return counts if _is_chunked(tree, own) else _computed(counts)


def _stored(tree: xr.DataTree, groups: Groups, own: Sequence[Matrix]) -> xr.DataTree:
    """What `reduce --by` made."""
    find = finder_of(tree)
    return _tree(groups, {matrix.name: find(f"{groups.address}/{matrix.name}", slice(None)).variable for matrix in own})


def _variable(name: str, array: da.Array) -> xr.Variable:
    about = schema.variable(f"matrices/{name}")
    return xr.Variable(("group", *about.dims[1:]), array, {"long_name": about.meaning, "units": about.units})


def _tree(groups: Groups, variables: Mapping[str, xr.Variable]) -> xr.DataTree:
    """A dataset for each layer and hop, from the variables by layer or hop and name."""
    coords: dict[str, Any] = {"group": np.array(groups.names, schema.STRING)}
    coords |= {name: ("group", values) for name, values in groups.values.items()}
    datasets = {"/": xr.Dataset({"n_images": ("group", groups.n_images)}, coords)}
    for address, variable in variables.items():
        member, _, name = address.rpartition("/")
        datasets[member] = datasets.get(member, xr.Dataset()).assign({name: variable})
    return xr.DataTree.from_dict(datasets)


def _computed(counts: xr.DataTree) -> xr.DataTree:
    with dask.config.set(scheduler="threads"):
        return counts.compute()


def _is_chunked(tree: xr.DataTree, own: Sequence[Matrix]) -> bool:
    return all(tree[address].chunks is not None for matrix in own for address in matrix.values)


@dataclass(frozen=True)
class _Images:
    """Images in groups, cut into blocks; what is counted of them is computed when it is asked for.

    Attributes
    ----------
    index, n_groups
        Group of each image, and how many there are.
    blocks
        Images that are counted at once.
    find, read
        Of an open tree.
    """

    index: NDArray[np.int32]
    n_groups: int
    blocks: Sequence[slice]
    find: Find
    read: Read

    def counted(self, together: Sequence[Matrix]) -> Iterator[tuple[Matrix, da.Array]]:
        """The counts of matrices that are counted from the same values."""
        values = [self._values(address) for address in together[0].values]
        for matrix in together:
            step = max(1, COUNTED_AT_ONCE // bytes_of_group([matrix]))
            starts = range(0, self.n_groups, step)
            parts = [self._of_groups(matrix, range(i, min(i + step, self.n_groups)), values) for i in starts]
            yield matrix, da.concatenate(parts)

    def _values(self, address: str) -> list[Delayed]:
        """Values of each block; files that were lost are refused, here or when they are read."""
        array = self.find(address, slice(None))
        if array.chunks is None:
            once = delayed(self.read, pure=False, traverse=False)
            return [once(address, rows) for rows in self.blocks]
        lengths = tuple(rows.stop - rows.start for rows in self.blocks)
        return list(array.data.rechunk((lengths, *array.shape[1:])).to_delayed().ravel())

    def _of_groups(self, matrix: Matrix, own: range, values: Sequence[Sequence[Delayed]]) -> da.Array:
        """Counts of some neighbouring groups, from the blocks that hold images of them."""
        one = delayed(_of_block, pure=False, traverse=False)
        parts = []
        for number, rows in enumerate(self.blocks):
            index = self.index[rows]
            is_own = (index >= own.start) & (index < own.stop)
            if is_own.any():
                places = np.where(is_own, index - own.start, -1).astype(np.int32)
                parts.append(one(matrix, places, len(own), *(of_blocks[number] for of_blocks in values)))
        shape = (len(own), *matrix.shape)
        dense = delayed(_dense, pure=False)(tree_reduce(parts, add_counts), shape)
        made: da.Array = da.from_delayed(dense, shape, np.int32)
        return made


def _of_block(matrix: Matrix, index: NDArray[np.int32], n_groups: int, *values: NDArray[Any]) -> csr_array:
    """Counts over the images of a block that are in a group."""
    is_own = index >= 0
    return matrix.counts(index[is_own], n_groups, *(part[is_own] for part in values))


def _dense(counts: csr_array, shape: tuple[int, ...]) -> NDArray[np.int32]:
    dense: NDArray[np.int32] = counts.toarray().reshape(shape)
    return dense
