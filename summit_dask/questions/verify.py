"""Checks a store against its source: a sample of images is measured again, counts are counted again,
graphs are made again and hold what they must.

Every check gives the number of values it looked at and what it found wrong; nothing is ever repaired. Each variable of
the registry belongs to a check; one that belongs to none is reported, so that a new variable can't be forgotten.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from summit_dask.arrays.usage import Usage, usage
from summit_dask.facts import encoded, schema
from summit_dask.facts.addresses import addresses
from summit_dask.facts.errors import StoreError
from summit_dask.facts.location import Location
from summit_dask.facts.pairs import Pair
from summit_dask.questions import recheck
from summit_dask.questions.recheck import Findings, equal
from summit_dask.store.damage import find_damage
from summit_dask.store.evidence import is_tested
from summit_dask.store.graphs import stored_pairs
from summit_dask.store.groups import Groups, counted_groups
from summit_dask.store.present import GROUPED, present_arrays
from summit_dask.store.status import fingerprints, outdated, pending_commands
from summit_dask.store.store import Store

SAMPLE_CLASSES = 4
SAMPLE_CHANNELS = 16
WRONG_SHOWN = 5


@dataclass(frozen=True)
class Check:
    """One kind of thing that was looked at, and what is wrong with it."""

    name: str
    looked_at: int
    wrong: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """All checks of a store."""

    checks: tuple[Check, ...]

    @property
    def right(self) -> bool:
        """Whether nothing is wrong."""
        return not any(check.wrong for check in self.checks)

    def lines(self) -> Iterator[str]:
        """One line a check, then the first things that are wrong with it."""
        for check in self.checks:
            state = f"{len(check.wrong)} WRONG" if check.wrong else "right"
            yield f"{check.name}: {state} ({check.looked_at} looked at)"
            yield from (f"  {text}" for text in check.wrong[:WRONG_SHOWN])
            if len(check.wrong) > WRONG_SHOWN:
                yield f"  and {len(check.wrong) - WRONG_SHOWN} more"


@dataclass(frozen=True)
class Kind:
    """A kind of check: the variables it answers for (group/name, or a whole group), when it can be made, and how."""

    name: str
    variables: frozenset[str]
    applies: Callable[[Store], bool]
    find: Callable[[Store, int], Findings]


def verify_store(path: Location, n_images: int) -> Report:
    """Check every stored number that a sample reaches, and every invariant.

    Parameters
    ----------
    n_images
        Images to measure again, spread evenly over the store.

    Raises
    ------
    SummitError
        If the store can't be read or the network not be built again.
    """
    store = Store.open(path)
    checks = [_check(kind.name, kind.find(store, n_images)) for kind in KINDS if kind.applies(store)]
    return Report(tuple(checks))


def _check(name: str, findings: Findings) -> Check:
    """What a kind of check finds; an array that can't be read is a finding too."""
    found: list[str | None] = []
    try:
        found.extend(findings)
    except StoreError as error:
        found.append(str(error))
    return Check(name, len(found), tuple(text for text in found if text is not None))


def _sample(count: int, wanted: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, count - 1, min(wanted, count)).round().astype(np.int64))


def _classes(store: Store) -> NDArray[np.int64]:
    return _sample(store.header.n_classes, SAMPLE_CLASSES)


def _arrays(store: Store, _: int) -> Findings:
    """Of every array of the registry: its dims and dtype, and whether a check answers."""
    answered = frozenset().union(*(kind.variables for kind in KINDS))
    for address, variable in present_arrays(store):
        if not {variable.head, f"{variable.head}/{variable.name}"} & answered:
            yield f"{address}: no check of 'verify' answers for this variable; add it to questions/verify.py"
        yield _registered(store, address, variable)


def _files(store: Store, _: int) -> Findings:
    """Every file, read whole."""
    return (damage.sentence(store.path) if damage else None for damage in find_damage(store))


def _registered(store: Store, address: str, variable: schema.Variable) -> str | None:
    array: Any = store.group[address]
    dims = array.metadata.dimension_names
    if dims == variable.dims and array.dtype == variable.numpy_dtype:
        return None
    return f"{address}: expected {variable.dims} of {variable.dtype}, found {dims} of {array.dtype}"


def _stages(store: Store, _: int) -> Findings:
    waiting = pending_commands(store)
    yield f"still to run: {', '.join(waiting)}" if waiting else None
    known = {0, fingerprints(store)["extract"], *map(int, store.header.run.earlier)}
    marks = store.read("partitions/fingerprint").tolist()
    yield from (None if mark in known else f"partition {k} was made by another run" for k, mark in enumerate(marks))


def _tables(store: Store, _: int) -> Findings:
    """Names are unique, and every number that stands for a row of another table is one of its rows."""
    header = store.header
    yield equal("image", store.read("image"), np.arange(header.n_images))
    labels = store.read("class").tolist()
    yield None if len(set(labels)) == len(labels) else "class: a folder name stands twice"
    outputs = store.read("classes/output_index")
    yield None if (outputs >= 0).all() and (outputs < header.n_outputs).all() else "classes/output_index out of range"
    index = store.read("images/class_index")
    in_range = not len(index) or (index.min() >= 0 and index.max() < header.n_classes)
    in_shards = store.has("images/shard_offset") and (store.read("images/shard_offset") >= 0).all()
    is_ordered = header.run.earlier or in_shards or (np.diff(index) >= 0).all()
    yield None if in_range and is_ordered else "images/class_index is not ascending, or out of range"
    for address in ("outputs/name", "outputs/synset", "classes/name", "classes/synset", "images/path"):
        if store.has(address):
            yield None if len(store.read(address)) else f"{address} is empty"


def _embedding(store: Store, _: int) -> Findings:
    for address, _variable in addresses(store.layer_graph, "embedding"):
        yield None if np.isfinite(store.read(address)).all() else f"{address} is not finite"


def _examples(store: Store, n_images: int) -> Findings:
    """The strongest images of some channels, found again, and where these fire in some; thumbnails belong to them."""
    yield from recheck.examples(store, n_images)
    readable = store.read("images/status") == schema.READ
    for layer in store.layer_graph.with_maps:
        group = f"examples/{layer.name}"
        image, value, box = (store.read(f"{group}/{name}") for name in ("image_index", "value", "box"))
        offsets = store.read(f"{group}/thumbnail_offset")
        yield _encoded(f"{group}/thumbnail", store.read(f"{group}/thumbnail_bytes"), offsets, image.size)
        has_area = (box[..., 2:] > box[..., :2]).all(axis=-1) | (box == 0).all(axis=-1)
        yield None if has_area.all() else f"{group}/box: {int((~has_area).sum())} boxes hold no pixel"
        for channel in _sample(layer.channels, SAMPLE_CHANNELS).tolist():
            maxima = store.read(f"activations/{layer.name}/value", column=channel)
            strongest = np.argsort(-np.where(readable, maxima, -np.inf), kind="stable")[: image.shape[1]]
            kept = image[channel][image[channel] >= 0]
            yield equal(f"{group}/image_index of channel {channel}", kept, strongest[: len(kept)])
            yield equal(f"{group}/value of channel {channel}", value[channel][: len(kept)], maxima[kept])


def _pictures(store: Store, _: int) -> Findings:
    for layer in store.layer_graph.with_maps:
        group = f"pictures/{layer.name}"
        if store.has(group):
            offsets = store.read(f"{group}/picture_offset")
            n = layer.channels * len(schema.PICTURE_KINDS)
            yield _encoded(f"{group}/picture", store.read(f"{group}/picture_bytes"), offsets, n)
            is_there = np.diff(offsets).reshape(layer.channels, -1) > 0
            made = store.read(f"{group}/made_with") != 0
            yield None if is_there[made].all() else f"{group}/made_with names settings of pictures that are not there"


def _encoded(stem: str, data: NDArray[np.uint8], offsets: NDArray[np.int64], n: int) -> str | None:
    """Whether the offsets part the bytes into n pictures, empty where there is none."""
    if len(offsets) != n + 1 or offsets[0] != 0 or offsets[-1] != len(data) or (np.diff(offsets) < 0).any():
        return f"{stem}_offset does not part {len(data)} bytes into {n} pictures"
    for item, picture in enumerate(encoded.unpack_all(data, offsets)):
        try:
            encoded.media_type(picture or b"\xff\xd8\xff")
        except StoreError as error:
            return f"{stem} {item}: {error}"
    return None


def _usage(store: Store, _: int) -> Findings:
    n_images = store.read("classes/n_images")
    for layer in store.layer_graph.with_maps:
        again = usage(store.read(f"matrices/{layer.name}/activation_count"), n_images)
        for name in Usage.__dataclass_fields__:
            stored = np.nan_to_num(store.read(f"usage/{layer.name}/{name}"), nan=-1)
            yield equal(f"usage/{layer.name}/{name}", stored, np.nan_to_num(getattr(again, name), nan=-1))


def _grouped(store: Store, _: int) -> Findings:
    """Groups of images, found again, and the counts of some; what is outdated can't be found again."""
    return chain.from_iterable(_of_groups(store, groups) for groups in counted_groups(store).values() if groups)


def _of_groups(store: Store, groups: Groups) -> Findings:
    yield equal(f"{groups.address}/group", store.read(f"{groups.address}/group"), np.array(groups.names))
    yield equal(f"{groups.address}/n_images", store.read(f"{groups.address}/n_images"), groups.n_images)
    for index in _sample(len(groups.names), SAMPLE_CLASSES).tolist():
        yield from recheck.counts_of(store, groups.address, index, groups.index == index)


def _is_ours(store: Store) -> bool:
    return store.header.run.imported is None


def _finished(*groups: str) -> Callable[[Store], bool]:
    """Of a group that is outdated nothing can be found out again: what it was made from is another by now."""
    return lambda store: all(store.finished(group) is not None and group not in outdated(store) for group in groups)


def _pairs(store: Store) -> list[Pair]:
    """Pairs of measures whose graphs are there, and not outdated."""
    return [pair for pair in stored_pairs(store) if _finished(pair.group)(store)]


def _tested(store: Store) -> list[Pair]:
    """Those of them whose graphs were tested as they are now."""
    return [pair for pair in _pairs(store) if is_tested(store, pair)]


def _of_pairs(find: Callable[[Store, Pair], Findings]) -> Callable[[Store, int], Findings]:
    """The findings about each pair's graphs."""
    return lambda store, _: chain.from_iterable(find(store, pair) for pair in _pairs(store))


_MEASURED = frozenset(recheck.COMPARED)
_TEXTS = frozenset({"images/path", "images/class_index", "classes/name", "classes/synset", "classes/output_index"})
_SHARDS = frozenset({"images/shard_offset", "images/shard_length"})

#: All checks, in the order they are made.
KINDS: tuple[Kind, ...] = (
    Kind("files", frozenset(), lambda store: True, _files),
    Kind("arrays as registered", frozenset(), lambda store: True, _arrays),
    Kind("tables", _TEXTS | _SHARDS | {"", "/image", "/class", "outputs"}, lambda store: True, _tables),
    Kind("stages complete", frozenset({"partitions"}), _is_ours, _stages),
    Kind("layer graph complete", frozenset(), _is_ours, lambda store, _: recheck.completeness(store)),
    Kind(
        "images measured again",
        _MEASURED,
        _is_ours,
        lambda store, n: recheck.images(store, _sample(store.header.n_images, n)),
    ),
    Kind(
        "class statistics",
        frozenset({"classes/n_images", "classes/n_correct"}),
        lambda store: _is_ours(store) and _finished("matrices")(store),
        lambda store, _: recheck.statistics(store),
    ),
    Kind(
        "counts of classes",
        frozenset({"matrices"}),
        lambda store: _is_ours(store) and _finished("matrices")(store),
        lambda store, _: recheck.counts(store, _classes(store)),
    ),
    Kind(
        "graphs of classes",
        frozenset(),
        lambda store: _is_ours(store) and _finished("matrices")(store) and bool(_pairs(store)),
        _of_pairs(lambda store, pair: recheck.graphs(store, _classes(store), pair)),
    ),
    Kind(
        "all graphs' invariants",
        frozenset({"graphs"}),
        lambda store: bool(_pairs(store)),
        _of_pairs(recheck.invariants),
    ),
    Kind(
        "evidence for graphs",
        frozenset({"evidence"}),
        lambda store: bool(_tested(store)),
        lambda store, _: chain.from_iterable(recheck.evidence(store, _classes(store), p) for p in _tested(store)),
    ),
    Kind("embedding", frozenset({"embedding"}), _finished("embedding"), _embedding),
    Kind(
        "examples", frozenset({"examples"}), lambda store: _is_ours(store) and _finished("examples")(store), _examples
    ),
    Kind("pictures", frozenset({"pictures"}), lambda store: store.has("pictures"), _pictures),
    Kind(
        "counts of groups",
        frozenset({GROUPED}),
        lambda store: _is_ours(store) and any(counted_groups(store).values()),
        _grouped,
    ),
    Kind("usage", frozenset({"usage"}), _finished("usage", "matrices"), _usage),
)
