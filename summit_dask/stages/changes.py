"""What differs between a store and a run that would go on with it, said by name with both values."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from summit_dask.images.classes import Outputs
from summit_dask.images.sources import ImageSet
from summit_dask.store.store import Store

SHOWN = 4


class ImageChanges(NamedTuple):
    """Paths of images, by what became of them since the store was laid out."""

    added: Sequence[str]
    gone: Sequence[str]
    relabelled: Sequence[str]

    @classmethod
    def between(cls, store: Store, images: ImageSet) -> "ImageChanges":
        """Of a store's images and those that there are now."""
        label = store.read("class")[store.read("images/class_index")].tolist()
        before = dict(zip(store.read("images/path").tolist(), label, strict=True))
        now = dict(zip(images.table["path"], images.table["label"], strict=True))
        return cls(
            [path for path in now if path not in before],
            [path for path in before if path not in now],
            [path for path in now if before.get(path, now[path]) != now[path]],
        )

    def lines(self) -> Iterator[str]:
        """A sentence for each kind."""
        if self.added:
            yield f"{len(self.added)} images are new ({some(self.added)})"
        if self.gone:
            yield f"{len(self.gone)} images of the store are gone ({some(self.gone)})"
        if self.relabelled:
            yield f"{len(self.relabelled)} images are of another class now ({some(self.relabelled)})"


NO_CHANGES = ImageChanges((), (), ())


def some(paths: Sequence[str]) -> str:
    """The first few, quoted."""
    return ", ".join(map(repr, paths[:SHOWN])) + (", …" if len(paths) > SHOWN else "")


def remapped(store: Store, images: ImageSet, outputs: Outputs) -> Iterator[str]:
    """A sentence for each class that is another output of the network now."""
    before = dict(zip(store.read("class").tolist(), store.read("classes/output_index").tolist(), strict=True))
    for label in images.classes:
        now = outputs.of_class[label]
        if before.get(label, now) != now:
            yield f"the class {label!r} is output {before[label]} in the store, {now} in this run"


class Changes(NamedTuple):
    """What a run would change of a store."""

    facts: Sequence[str]
    images: ImageChanges

    @classmethod
    def between(cls, store: Store, facts: Mapping[str, Any], images: ImageSet, outputs: Outputs) -> "Changes":
        """Of a store's facts, images and classes and those of a run that would go on with it."""
        stored = store.header.run.facts
        changed = [key for key in sorted({*stored, *facts}) if stored.get(key) != facts.get(key)]
        of_images = ImageChanges.between(store, images) if "images" in changed else NO_CHANGES
        lines: list[str] = []
        for key in changed:
            if key == "classes":
                lines += [f"classes: {line}" for line in remapped(store, images, outputs)]
            elif key != "images" or not any(of_images):
                lines += _lines(key, stored.get(key), facts.get(key))
        return cls(lines, of_images)

    def __bool__(self) -> bool:
        return bool(self.facts or any(self.images))

    @property
    def are_new_images(self) -> bool:
        """Whether nothing but new images sets the run apart."""
        return bool(self.images.added) and not (self.facts or self.images.gone or self.images.relabelled)

    def sentence(self, path: object) -> str:
        """All of them, and what to do."""
        lines = [*self.facts, *(f"images: {line}" for line in self.images.lines())]
        remedy = "Give the same options again, or another --out."
        if self.are_new_images:
            remedy = "Give --append to have these measured too, or another --out."
        return "\n".join([f"The store {path} was made with another configuration:", *(f"  {x}" for x in lines), remedy])


def _lines(key: str, stored: Any, asked: Any) -> Iterator[str]:
    """A sentence with both values, of a table one for each entry that differs."""
    if isinstance(stored, dict) and isinstance(asked, dict):
        for name in sorted({*stored, *asked}):
            if stored.get(name) != asked.get(name):
                yield from _lines(f"{key}, {name}", stored.get(name), asked.get(name))
    else:
        yield f"{key}: the store has {stored}, this run asks for {asked}"
