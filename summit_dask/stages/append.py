"""Further images for a store: they are put behind those that it has, and only they are measured."""

from dataclasses import replace

from summit_dask.facts.errors import StoreMismatchError
from summit_dask.facts.run import Run
from summit_dask.images.classes import Outputs
from summit_dask.images.sources import ImageSet
from summit_dask.stages.originals import CHECKSUM
from summit_dask.stages.sources import tables_of
from summit_dask.store.extend import extend
from summit_dask.store.header import Header
from summit_dask.store.progress import say
from summit_dask.store.store import Store


def append(store: Store, run: Run, images: ImageSet, outputs: Outputs) -> Store:
    """The store with all of some images, of which it has the first already; see `extend` for what a kill leaves.

    Classes are ordered as in a store of all images. What is made of all images is made anew by the stages.

    Parameters
    ----------
    run
        As it would lay out a store of all these images.

    Raises
    ------
    StoreMismatchError
        If an image that stands several times among them makes their order unclear, or an earlier version laid the
        store out.
    StoreError
        If the disk is full or can't be written.
    """
    if not store.has(CHECKSUM):
        raise StoreMismatchError(
            f"Nothing can be appended to {store.path}: it was laid out by a version that kept no checksums of images. "
            "Make it again, or give another --out."
        )
    ordered = behind(store, images)
    before = store.header
    earlier = {**before.run.earlier, f"{before.run.fingerprint}": before.n_images}
    after = run.model_copy(update={"earlier": earlier, "revision": before.run.revision})
    n_images, n_classes = len(ordered.table), len(ordered.classes)
    header = Header(before.layer_graph, after, n_images, n_classes, before.n_outputs, before.partition_size)
    say(
        f"{n_images - before.n_images} images and {n_classes - before.n_classes} classes are appended to {store.path}. "
        "Counts, graphs and examples are made anew; graphs of other measures, counts by groups of images, evidence and "
        "usage by their own commands."
    )
    return extend(store, header, tables_of(ordered, outputs))


def behind(store: Store, images: ImageSet) -> ImageSet:
    """The images in the store's order, those that it lacks behind them.

    Raises
    ------
    StoreMismatchError
        If an image that stands several times makes their order unclear.
    """
    labels = store.read("class")[store.read("images/class_index")].tolist()
    own = list(zip(store.read("images/path").tolist(), labels, strict=True))
    place = {image: index for index, image in enumerate(own)}
    rank = [place.get(image, len(own)) for image in _images(images)]
    table = images.table.assign(rank=rank).sort_values("rank", kind="stable", ignore_index=True).drop(columns="rank")
    ordered = replace(images, table=table)
    if _images(ordered)[: len(own)] != own:
        raise StoreMismatchError(
            f"Nothing can be appended to {store.path}: an image stands several times in {images.root}, which leaves "
            "open which of them the store has. List each once, or give another --out."
        )
    return ordered


def _images(images: ImageSet) -> list[tuple[str, str]]:
    return list(zip(images.table["path"].tolist(), images.table["label"].tolist(), strict=True))
