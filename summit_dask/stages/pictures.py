"""The pictures stage: optimised pictures of a store's channels, made on Dask workers.

    channels x kinds ── batches ── workers ── drafts beside the store ── all there ── /pictures

A batch is saved as one file as soon as it is made, so that a second run makes only the others; batches
are formed anew from the channels that lack a picture, which gives the same batches again.
"""

import time
import zipfile
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import asdict, replace
from io import BytesIO
from itertools import groupby
from typing import Any

import numpy as np
import torch
from distributed import Worker

from summit_dask.arrays.pictures import KINDS, Batch, Kind, Preparation, Settings, Visualiser, batches, stored_kinds
from summit_dask.facts.config import ClusterOptions, fingerprint
from summit_dask.facts.errors import ConfigError, suggestion
from summit_dask.facts.files import folder
from summit_dask.facts.location import Location
from summit_dask.facts.run import NetworkSpec
from summit_dask.facts.schema import PICTURE_KINDS
from summit_dask.network.build import built
from summit_dask.network.part import part_below
from summit_dask.stages.cluster import Cluster, Connect, cluster, n_workers, resources
from summit_dask.stages.tasks import finished
from summit_dask.stages.workers import NetworkPlugin, installed, plugin_of, prepare_process
from summit_dask.store.graphs import chosen_pair, stored_pairs
from summit_dask.store.pictures import add_pictures, made_with, note_settings
from summit_dask.store.progress import Progress, duration, say
from summit_dask.store.store import Store

#: Steps that are timed to say how long all will take.
_TRIAL_STEPS = 4

#: Channels by layer.
Wanted = Mapping[str, Sequence[int]]


def wanted_channels(store: Store, text: str) -> dict[str, list[int]]:
    """Channels by layer, layers and channels ascending.

    Parameters
    ----------
    text
        "graphs": those in any class's attribution graph, of any pair of measures; "all"; or a list as in
        ``inception4c:1,2;inception5a:7``.

    Raises
    ------
    ConfigError, LayerNotFoundError
        If the list can't be read, or names what doesn't exist.
    StoreIncompleteError
        If there are no graphs yet.
    """
    visible = store.layer_graph.with_maps
    if text == "all":
        return {layer.name: list(range(layer.channels)) for layer in visible}
    if text != "graphs":
        return _listed(store, text)
    groups = [pair.group for pair in stored_pairs(store) or [chosen_pair(store)]]
    node_layer, node_channel = (
        np.concatenate([store.read(f"{group}/node_{name}") for group in groups]) for name in ("layer", "channel")
    )
    found = {
        layer.name: np.unique(node_channel[node_layer == store.layer_graph.layers.index(layer)]) for layer in visible
    }
    return {name: channels.tolist() for name, channels in found.items() if len(channels)}


def _listed(store: Store, text: str) -> dict[str, list[int]]:
    wanted: dict[str, set[int]] = {}
    for part in text.split(";"):
        name, _, numbers = part.strip().rpartition(":")
        try:
            channels = {int(number) for number in numbers.split(",")}
        except ValueError as error:
            raise ConfigError(
                f"--channels {text!r}: expected graphs, all, or LAYER:1,2 with several parted by semicolons."
            ) from error
        layer = store.layer_graph.layer(name)
        if outside := sorted(c for c in channels if not 0 <= c < layer.channels):
            raise ConfigError(f"--channels: {name} has the channels 0 to {layer.channels - 1}, not {outside}.")
        wanted.setdefault(name, set()).update(channels)
    return {layer.name: sorted(wanted[layer.name]) for layer in store.layer_graph.with_maps if layer.name in wanted}


def known_kinds(names: Iterable[str]) -> tuple[Kind, ...]:
    """Kinds to make, in the order they are made.

    Raises
    ------
    ConfigError
        For an unknown one.
    """
    names = set(names)
    if unknown := sorted(names - set(KINDS)):
        raise ConfigError(f"There is no kind of picture {unknown[0]!r}. {suggestion(unknown[0], KINDS)}")
    return tuple(kind for kind in KINDS if kind in names)


def make_pictures(
    path: Location, channels: str, kinds: Sequence[Kind], settings: Settings, where: ClusterOptions
) -> int:
    """Make pictures for a store's channels.

    Parameters
    ----------
    channels
        As `wanted_channels` takes them.
    where
        The cluster to run on.

    Returns
    -------
    int
        Channels that were asked for.

    Raises
    ------
    SummitError
        As `wanted_channels` and `paint` do.
    """
    store = Store.open(path, writable=True)
    wanted = wanted_channels(store, channels)
    with store.changing(), cluster(where) as connect:
        paint(store, connect, wanted, kinds, settings)
    return sum(map(len, wanted.values()))


def paint(store: Store, connect: Connect, wanted: Wanted, kinds: Sequence[Kind], settings: Settings) -> None:
    """Make the pictures that the store lacks; says beforehand how long it will take.

    Raises
    ------
    StoreIncompleteError
        If the store was imported and names no network.
    ClusterError
        If a worker can't build the network, or died.
    """
    spec = store.network
    key = fingerprint({**spec.facts(), **asdict(settings)})
    drafts = _drafts_place(store) / f"{key:x}"
    drafted = {layer: {place for name in names for place in _read_draft(drafts / name)}
               for layer, names in _drafts_by_layer(drafts).items()}  # fmt: skip
    todo = [
        batch
        for layer, channels in wanted.items()
        for kind in kinds
        for batch in batches(
            layer, kind, _missing(store, drafted.get(layer, set()), layer, kind, channels, key), settings
        )
    ]
    if todo:
        workers = connect()
        visualisers = VisualiserPlugin(store.path, key, spec, store.header.run.config.batch_size)
        with installed(workers.client, visualisers, spec.model) as plugin:
            _paint_batches(workers, todo, drafts, settings, plugin)
    note_settings(store, key, asdict(settings))
    _collect(store, drafts, key)
    store.finish("pictures", key)


def _missing(
    store: Store, drafted: Set[tuple[int, str]], layer: str, kind: Kind, channels: Sequence[int], key: int
) -> list[int]:
    """Channels that have no such picture yet, neither stored nor drafted."""
    name = stored_kinds(kind)[0]
    stored = made_with(store, layer)[:, PICTURE_KINDS.index(name)] == np.uint64(key)
    return [c for c in channels if not stored[c] and (c, name) not in drafted]


def _paint_batches(cluster: Cluster, todo: Sequence[Batch], drafts: Location, settings: Settings, plugin: str) -> None:
    client = cluster.client
    options: dict[str, Any] = {"settings": settings, "plugin": plugin, "pure": False, "resources": resources(client)}
    n_pictures = sum(batch.n_pictures for batch in todo)
    workers = max(1, n_workers(client))
    trial = client.submit(trial_task, todo[-1], **options)
    ((_, seconds),) = finished(cluster, [trial], ["trial"])
    say(f"{n_pictures} pictures on {workers} workers will take about {duration(seconds * n_pictures / workers)}.")
    with Progress("pictures", "pictures", n_pictures) as progress:
        for batch, pictures in finished(cluster, client.map(paint_task, todo, **options), todo):
            _write_draft(drafts / batch.layer / f"{batch.kind}-{batch.channels[0]}.zip", pictures)
            progress.add(batch.n_pictures)


def _write_draft(path: Location, pictures: Mapping[tuple[int, str], bytes]) -> None:
    """One file a batch, there whole or not at all."""
    content = BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for (channel, kind), picture in pictures.items():
            archive.writestr(f"{channel}-{kind}.jpg", picture)
    folder(path.parent).write(path.name, content.getvalue())


def _read_draft(path: Location) -> dict[tuple[int, str], bytes]:
    with zipfile.ZipFile(BytesIO(folder(path.parent).read(path.name))) as archive:
        parts = {name: name.removesuffix(".jpg").partition("-") for name in archive.namelist()}
        return {(int(channel), kind): archive.read(name) for name, (channel, _, kind) in parts.items()}


def _drafts_by_layer(drafts: Location) -> dict[str, list[str]]:
    """Names of the files of each layer, both ascending."""
    names = sorted(name for name in folder(drafts).sizes() if name.endswith(".zip"))
    return {layer: list(own) for layer, own in groupby(names, lambda name: name.partition("/")[0])}


def _collect(store: Store, drafts: Location, key: int) -> None:
    """All drafts become part of the store, an interrupted run's for other layers too."""
    for layer, names in _drafts_by_layer(drafts).items():
        pictures = {place: picture for name in names for place, picture in _read_draft(drafts / name).items()}
        add_pictures(store, layer, pictures, key)
    folder(drafts).remove()
    everything = folder(_drafts_place(store))
    if not everything.sizes():  # drafts of other settings are left
        everything.remove()


def _drafts_place(store: Store) -> Location:
    """Beside the store: where pictures lie while a layer is incomplete."""
    return store.path.with_name(f"{store.path.name}.pictures")


class VisualiserPlugin(NetworkPlugin):
    """Builds the network on every worker, once."""

    def __init__(self, path: Location, key: int, spec: NetworkSpec, batch_size: int) -> None:
        super().__init__(path, key)
        self.path, self.spec, self.batch_size = path, spec, batch_size

    def prepare(self, worker: Worker) -> None:
        """See `NetworkPlugin`."""
        prepare_process()
        self.network = built(self.spec, self.batch_size, self.path)

    def visualiser(self, layer: str, settings: Settings) -> Visualiser:
        """Of one layer."""
        preprocessing = self.spec.preprocessing
        preparation = Preparation(preprocessing.input_size, preprocessing.mean, preprocessing.std)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        part = part_below(self.network.module, self.network.values[layer].node).to(device)
        return Visualiser(part, layer, preparation, settings, device)


def paint_task(batch: Batch, settings: Settings, plugin: str) -> dict[tuple[int, str], bytes]:
    """Pictures of a batch. Runs on a worker."""
    return plugin_of(plugin, VisualiserPlugin).visualiser(batch.layer, settings).pictures(batch)


def trial_task(batch: Batch, settings: Settings, plugin: str) -> float:
    """Seconds that a picture of a batch will take, from a few steps. Runs on a worker."""
    few = replace(settings, steps=_TRIAL_STEPS)
    visualiser = plugin_of(plugin, VisualiserPlugin).visualiser(batch.layer, few)
    visualiser.pictures(batch)  # the first run is slower than all others
    start = time.perf_counter()
    visualiser.pictures(batch)
    return (time.perf_counter() - start) / batch.n_pictures * settings.steps / _TRIAL_STEPS
