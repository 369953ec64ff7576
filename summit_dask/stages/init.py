"""The init stage: network, images and classes are looked at once, and an empty store is laid out for them.

A store that an equal configuration laid out is opened instead, so that a run goes on where it stopped.
"""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from summit_dask.facts.addresses import bytes_per_image, why_not_counted
from summit_dask.facts.config import ExtractOptions, ResultOptions, RunConfig, fingerprint
from summit_dask.facts.errors import ConfigError, StoreError, StoreMismatchError
from summit_dask.facts.layergraph import LayerGraph
from summit_dask.facts.location import Location, location, use_storage_options
from summit_dask.facts.run import Run
from summit_dask.facts.stages import stage_named
from summit_dask.images.classes import Outputs, map_classes
from summit_dask.images.readable import check_readable
from summit_dask.images.sources import ImageSet, read_image_set
from summit_dask.measure.artefact import compiler, pays_from
from summit_dask.network.build import specified
from summit_dask.network.program import program_path, save_program
from summit_dask.stages.append import append as append_images
from summit_dask.stages.changes import Changes, some
from summit_dask.stages.originals import changed_images
from summit_dask.stages.sources import facts_of_images, tables_of
from summit_dask.store.extend import is_left, settle
from summit_dask.store.header import Header
from summit_dask.store.layout import partition_size
from summit_dask.store.lock import holding
from summit_dask.store.progress import say, size
from summit_dask.store.store import Store, is_taken

PACKAGES = ("summit-dask", "torch", "torchvision", "numpy", "numba", "zarr", "xarray", "dask", "networkx")

#: Zoos that are packages, beside torchvision.
ZOOS = ("timm", "transformers")

#: Beginnings of models that go on with a folder of this machine.
FOLDER_ZOOS = ("transformers:", "timm:local-dir:")


def init(config: RunConfig, append: bool = False, remeasure: bool = False) -> Store:
    """Lay out the store, or open the one that an equal configuration laid out.

    Parameters
    ----------
    append
        Add images to a store that lacks some, instead of refusing them.
    remeasure
        Have images whose files have changed measured again, instead of refusing them.

    Raises
    ------
    ConfigError
        If the run would not keep what its graphs are made of.
    StoreMismatchError
        If the store was extracted with other options, or of other images; says which.
    """
    check_counted(config)
    if config.storage_options is not None:
        use_storage_options(config.storage_options)
    config = resolved(config)
    spec, network = specified(config)
    images = read_image_set(config.images, config.images_per_class)
    outputs = map_classes(images.classes, network.n_outputs, config.classes, network.categories)
    check_readable(images)
    for sentence in (*network.notes, *images.remarks, outputs.summary):
        say(sentence)
    facts = {**spec.facts(), **_facts(config, images, outputs, network.traced.layer_graph)}
    facts["compiled"] = compiles(config, len(images.table), network.traced.layer_graph)
    facts = json.loads(json.dumps(facts))  # as they come back from the store
    run = Run(
        config=ResultOptions.part_of(config),
        facts=facts,
        fingerprint=fingerprint(facts),
        network=spec,
        images_root=images.root if isinstance(images.root, Path) else str(images.root),
        versions={package: version(package) for package in _packages(config.model)},
    )
    n_images = len(images.table)
    n_classes = len(images.classes)
    header = Header(network.traced.layer_graph, run, n_images, n_classes, network.n_outputs, partition_size(n_images))
    check_exclusions(config, network.traced.layer_graph)
    if is_left(config.out):
        with holding(config.out):
            settle(config.out)
    if is_taken(config.out):
        return _gone_on_with(config.out, run, images, outputs, append, remeasure)
    with holding(config.out):
        if is_taken(config.out):  # another process was quicker
            return _gone_on_with(config.out, run, images, outputs, append, remeasure)
        _say_cost(header)
        _say_compiling(header, config)
        save_program(network.traced, program_path(config.out, spec, config.batch_size))
        return Store.create(config.out, header, tables_of(images, outputs))


def _packages(model: str) -> tuple[str, ...]:
    """Packages that had a part in the results; a zoo's, where the network is its own."""
    zoo, _, _ = model.partition(":")
    return (*PACKAGES, zoo) if zoo in ZOOS else PACKAGES


def resolved(config: RunConfig) -> RunConfig:
    """The same options with whole paths, so that the stages can run from anywhere; ~ stands for the home folder."""
    changes: dict[str, Any] = {"images": whole(config.images), "out": _whole_place(config.out)}
    for name in ("classes", "weights"):
        value = getattr(config, name)
        if value is not None and Path(value).expanduser().is_file():
            changes[name] = str(_whole(Path(value)))
    for zoo in FOLDER_ZOOS:
        if config.model.startswith(zoo):
            changes["model"] = f"{zoo}{_whole(Path(config.model.removeprefix(zoo)))}"
    file, colon, factory = config.model.rpartition(":")
    if colon and Path(file).expanduser().is_file():
        changes["model"] = f"{_whole(Path(file))}:{factory}"
    return config.replaced(**changes)


def whole(place: Path | str) -> Path | str:
    """An address is whole already."""
    return _whole(place) if isinstance(place, Path) else place


def _whole(path: Path) -> Path:
    return path.expanduser().resolve()


def _whole_place(place: Location) -> Location:
    """An address is reached with the storage options as they are by now."""
    return _whole(place) if isinstance(place, Path) else location(str(place))


def _facts(options: ResultOptions, images: ImageSet, outputs: Outputs, layer_graph: LayerGraph) -> dict[str, Any]:
    """What decides the extracted values, beside the network."""
    return {
        **facts_of_images(images, outputs),
        "layers": [layer.name for layer in layer_graph.layers],
        "k": options.k,
        "identity": options.identity,
        "influence_values": options.influence_values,
        "influences": options.influences,
        "contributions": options.contributions,
        "relevance": options.relevance,
        "batch_size": options.batch_size,
    }


def compiles(options: ExtractOptions, n_images: int, layer_graph: LayerGraph) -> bool:
    """Whether the network is run compiled: as the options say, else where it pays and there is a compiler.

    Raises
    ------
    ConfigError
        If it is asked for where there is no compiler.
    """
    if options.compile and compiler() is None:
        raise ConfigError(
            "The option 'compile' needs a C++ compiler, and neither CXX nor the system's usual one is found. "
            "Install one (g++, clang++), or leave the option out."
        )
    if options.compile and options.relevance:
        raise ConfigError(
            "The options 'compile' and 'relevance' can't go together: a compiled network has no backward pass. Leave "
            "one of them out."
        )
    if options.relevance:
        return False
    if options.compile is not None:
        return options.compile
    return n_images >= pays_from(layer_graph) and compiler() is not None


def check_counted(options: ResultOptions) -> None:
    """See that a run with these options counts what its graphs are made of.

    Raises
    ------
    ConfigError
        If it leaves one of their measures out.
    """
    if why := why_not_counted(options.pair, options):
        raise ConfigError(why)


def check_exclusions(options: ResultOptions, layer_graph: LayerGraph) -> None:
    """See that the excluded channels exist.

    Raises
    ------
    LayerNotFoundError, StoreError
        If a layer doesn't, or has fewer channels.
    """
    for name, channels in options.excluded_by_layer().items():
        layer = layer_graph.layer(name)
        if channels[-1] >= layer.channels:
            raise StoreError(
                f"The excluded channel {channels[-1]} of {layer.name} doesn't exist; the layer has "
                f"{layer.channels} channels, 0 to {layer.channels - 1}. Correct the option 'excluded'."
            )


def _gone_on_with(path: Location, run: Run, images: ImageSet, outputs: Outputs, append: bool, remeasure: bool) -> Store:
    store = _reopened(path, run, images, outputs, append)
    if changed := changed_images(store):
        paths = some(store.read("images/path")[changed].tolist())
        if not remeasure:
            raise StoreMismatchError(
                f"{len(changed)} images have changed since they were measured for {path}: {paths}. Restore the files, "
                "or give --remeasure to have these and their neighbours measured again."
            )
        say(f"{len(changed)} images have changed ({paths}); they and their neighbours are measured again.")
        store = Store.open(path, writable=True)
        with store.changing():
            store.forget(sorted({index // store.header.partition_size for index in changed}))
    return store


def _reopened(path: Location, run: Run, images: ImageSet, outputs: Outputs, append: bool) -> Store:
    """The store there, if the same run laid it out; network and images may lie elsewhere by now."""
    store = Store.open(path)
    stored = store.header.run
    if run.config.compile is None:  # a store goes on in the way in which it was begun
        facts = {**run.facts, "compiled": stored.facts.get("compiled")}
        run = run.model_copy(update={"facts": facts, "fingerprint": fingerprint(facts)})
    changes = Changes.between(store, run.facts, images, outputs)
    if append and changes.are_new_images:
        return append_images(store, run, images, outputs)
    if changes:
        raise StoreMismatchError(changes.sentence(path))
    moved = stored.with_options_of(stage_named("extract"), run.config)
    moved = moved.model_copy(update={"network": run.network, "images_root": run.images_root})
    if moved != stored:
        store = Store.open(path, writable=True)
        with store.changing():
            store.update_run(moved)
    return store


def _say_cost(header: Header) -> None:
    each = bytes_per_image(header.layer_graph, header.run.config)
    say(
        f"{header.n_images} images of {header.n_classes} classes in {header.n_partitions} "
        f"partitions; {len(header.layer_graph.visible)} layers, {len(header.layer_graph.hops)} hops. "
        f"The store takes at most {size(each)} per image, {size(each * header.n_images)} in all, before compression."
    )


#: How many times more images than there are make it not worth mentioning that compiling would pay.
_FAR_OFF = 100


def _say_compiling(header: Header, options: ExtractOptions) -> None:
    """From how many images on compiling pays; nothing where that is far off."""
    n_images = pays_from(header.layer_graph)
    least = f"{n_images:,} images on"
    if header.run.facts["compiled"]:
        say(f"The network runs compiled, which takes a minute once on each machine and pays from about {least}.")
    elif options.compile is None and header.n_images * _FAR_OFF > n_images:
        missing = "" if compiler() else "; there is no C++ compiler here"
        say(f"The network runs as it is; compiling it (--compile) would pay from about {least}{missing}.")
