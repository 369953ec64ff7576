"""What a run that would go on with a store changes: every fact is said by its name, with both values."""

import shutil
from pathlib import Path

import pytest

from summit_dask.facts.config import RunConfig
from summit_dask.facts.errors import StoreMismatchError
from summit_dask.images.classes import map_classes
from summit_dask.images.sources import read_image_set
from summit_dask.stages.changes import Changes
from summit_dask.stages.init import init
from summit_dask.store.store import Store
from tests.networks import CLASSES, write_weights


def test_every_fact_is_said_with_both_values(finished: RunConfig) -> None:
    store = Store.open(finished.out)
    images = read_image_set(finished.images)
    outputs = map_classes(images.classes, 3, finished.classes, None)
    facts = store.header.run.facts
    assert not Changes.between(store, facts, images, outputs)
    single = [(key,) for key in facts if key != "preprocessing"]
    for place in [*single, *(("preprocessing", name) for name in facts["preprocessing"])]:
        if place in (("images",), ("classes",)):
            continue
        *_, name = place
        other = {**facts, **({name: "other"} if len(place) == 1 else {})}
        other["preprocessing"] = {**facts["preprocessing"], **({name: "other"} if len(place) == 2 else {})}
        stored = facts[name] if len(place) == 1 else facts["preprocessing"][name]
        said = [f"{', '.join(place)}: the store has {stored}, this run asks for other"]
        assert Changes.between(store, other, images, outputs).facts == said


def test_all_that_differs_is_said_at_once(finished: RunConfig, tmp_path: Path) -> None:
    """Also that a class is another output, and which images a smaller sample lacks."""
    turned = tmp_path / "classes.json"
    turned.write_text(f'{{"{CLASSES[0]}": 0, "{CLASSES[1]}": 1, "{CLASSES[2]}": 2}}')
    other = finished.replaced(
        weights=str(write_weights(tmp_path / "other.safetensors", 1)),
        classes=str(turned),
        layers=("lower", "upper"),
        crop=20,
        orientation="apply",
        relevance=True,
        influence_values=False,
        images_per_class=29,
    )
    with pytest.raises(StoreMismatchError) as refused:
        init(other)
    said = str(refused.value)
    for part in (
        "weights: the store has ",
        "classes: the class 'ant' is output 2 in the store, 0 in this run",
        "preprocessing, crop: the store has [24, 24], this run asks for [20, 20]",
        "preprocessing, orientation: the store has ignore, this run asks for apply",
        "relevance: the store has False, this run asks for True",
        "influence_values: the store has True, this run asks for False",
        "images: 3 images of the store are gone ('ant/",
    ):
        assert part in said, said
    assert said.endswith("Give the same options again, or another --out.")


def test_an_image_of_another_class_is_named(finished: RunConfig, tmp_path: Path) -> None:
    rows = [(path, label) for label in CLASSES for path in sorted((finished.images / label).iterdir())]
    manifest = tmp_path / "images.csv"

    def write(labels: dict[int, str]) -> None:
        lines = [f"{path},{labels.get(place, label)}" for place, (path, label) in enumerate(rows)]
        manifest.write_text("\n".join(["path,label", *lines]))

    write({})
    config = finished.replaced(images=manifest, out=tmp_path / "store.zarr")
    init(config)
    write({3: "cat"})
    with pytest.raises(StoreMismatchError, match=r"1 images are of another class now \('.*ant/003.png'\)"):
        init(config, append=True)


def test_images_whose_files_have_changed_are_refused_or_measured_again(finished: RunConfig, tmp_path: Path) -> None:
    """A copied set is no other one, though all its files are younger than the store."""
    config = finished.replaced(images=tmp_path / "images", out=tmp_path / "store.zarr")
    shutil.copytree(finished.out, config.out)
    shutil.copytree(finished.images, config.images, copy_function=shutil.copyfile)
    assert init(config).done(Store.open(config.out).header.run.fingerprint or 0).all()
    longer, other = sorted((config.images / "cat").iterdir())[:2]
    longer.write_bytes(longer.read_bytes() + b"x")
    content = bytearray(other.read_bytes())
    content[40] ^= 1
    other.write_bytes(content)
    changed = rf"2 images have changed since .*'cat/{longer.name}', 'cat/{other.name}'\. Restore .*--remeasure"
    with pytest.raises(StoreMismatchError, match=changed):
        init(config)
    store = init(config, remeasure=True)
    places = store.read("images/path").tolist()
    forgotten = {places.index(f"cat/{file.name}") // store.header.partition_size for file in (longer, other)}
    marks = store.read("partitions/fingerprint")
    assert {*(marks == 0).nonzero()[0].tolist()} == forgotten != {*range(store.header.n_partitions)}
    init(config)  # what will be measured again is in question no more
