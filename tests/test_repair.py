"""Damaged files: every one is found and named, and what it held is made again to the same bytes."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client

from summit_dask.arrays.pictures import Settings
from summit_dask.facts.config import ClusterOptions, RunConfig
from summit_dask.facts.errors import StoreError, StoreIncompleteError, StoreMismatchError
from summit_dask.facts.pairs import pair_of
from summit_dask.questions.usage import channel_usage, write_usage
from summit_dask.questions.verify import verify_store
from summit_dask.stages import repair as repairing
from summit_dask.stages.evidence import find_evidence
from summit_dask.stages.pictures import paint
from summit_dask.stages.repair import repair
from summit_dask.store.damage import find_damage
from summit_dask.store.evidence import Settings as EvidenceSettings
from summit_dask.store.store import Store
from tests.networks import CLASSES
from tests.runs import cluster_of, connected, copied, run_here

EVIDENCE = "evidence/activation-contribution"


@pytest.fixture(scope="module")
def whole(finished: RunConfig, tmp_path_factory: pytest.TempPathFactory, client: Client) -> Path:
    """A finished store with graphs of two pairs, and usage."""
    config = copied(finished, tmp_path_factory.mktemp("whole"))
    run_here(config.replaced(edges="contribution"), client, "graphs")
    run_here(config, client, "graphs")
    write_usage(Store.open(config.out, writable=True), channel_usage(Store.open(config.out)))
    return config.out


@pytest.fixture
def path(whole: Path, tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that store to be damaged; repair uses the tests' cluster."""
    monkeypatch.setattr(repairing, "cluster", cluster_of(client))
    shutil.copytree(whole, tmp_path / "store.zarr")
    return tmp_path / "store.zarr"


def contents(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def flip(file: Path, place: int) -> None:
    """Turn one bit of a file over."""
    data = bytearray(file.read_bytes())
    data[place % len(data)] ^= 1 << place % 8
    file.write_bytes(data)


def named(path: Path) -> Iterator[str]:
    return (damage.file for damage in find_damage(Store.open(path)) if damage)


def flip_all(path: Path, seed: int) -> set[str]:
    """A bit of every file, but for the root's metadata and the marks of partitions, without which none is looked at."""
    generator = random.Random(seed)
    files = {file for file in contents(path) if file != "zarr.json" and not file.startswith("partitions/")}
    for file in sorted(files):
        flip(path / file, generator.randrange(2**20))
    return files


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_flipped_bit_in_every_file_is_found_and_the_file_named(path: Path, seed: int) -> None:
    assert not list(named(path))
    assert flip_all(path, seed) == set(named(path))


def test_files_cut_short_or_lost_are_found(path: Path) -> None:
    generator = random.Random(0)
    files = [file for file in contents(path) if "/c/" in file and not file.startswith("partitions/")]
    for file in files:
        data = (path / file).read_bytes()
        (path / file).write_bytes(data[: generator.randrange(len(data))])
    lost = generator.sample(files, 20)
    for file in lost:
        (path / file).unlink()
    assert set(named(path)) == set(files)


def test_verify_says_what_mends_it(path: Path) -> None:
    flip(path / "activations/upper/value/c/1/0", 99)
    flip(path / "matrices/upper/activation_count/c/0/0", 99)
    files = next(check for check in verify_store(path, 1).checks if check.name == "files")
    first, second = files.wrong
    assert first.startswith("activations/upper/value: activations/upper/value/c/1/0, the values of partition 1, which")
    assert first.endswith(f"'summit-dask repair {path}' measures the partition again.")
    assert second.endswith(f"'summit-dask repair {path}' makes it again, as 'reduce' did.")


KINDS = {
    "values of a partition": (["activations/upper/value/c/1/0", "images/reason/c/1"], "Measured again: partitions 1."),
    "a mark": (["partitions/fingerprint/c/2"], "Measured again: partitions 2."),
    "tables": (["images/path/c/0", "class/c/0", "outputs/name/c/0"], "Looked up again: class, images/path, outputs/"),
    "statistics": (["classes/n_correct/c/0"], "Looked up again: classes/n_correct."),
    "metadata": (["activations/upper/value/zarr.json", "graphs/zarr.json"], "Written again: graphs/zarr.json, act"),
    "counts": (["matrices/upper/activation_count/c/0/0"], "Made again: matrices."),
    "graphs of two pairs": (
        ["graphs/activation-influence/node_score/c/0", "graphs/activation-contribution/node_class/c/0"],
        "Made again: graphs/activation-contribution.",
    ),
    "examples and embedding": (["examples/upper/box/c/0/0/0", "embedding/upper/x/c/0"], "Made again: examples."),
}

#: Those that another one is near enough to.
SLOWER = ("a mark", "statistics", "counts", "examples and embedding")


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.long if kind in SLOWER else []) for kind in KINDS]
)
def test_what_was_damaged_is_made_again_to_the_same_bytes(kind: str, path: Path) -> None:
    files, said = KINDS[kind]
    before = contents(path)
    for file in files:
        flip(path / file, 12345)
    done = repair(path, ClusterOptions())
    assert any(sentence.startswith(said) for sentence in done), done
    assert contents(path) == before
    assert repair(path, ClusterOptions()) == []


@pytest.mark.long
def test_evidence_and_pictures_are_made_again_as_they_were(path: Path, client: Client) -> None:
    store = Store.open(path, writable=True)
    pair = pair_of("graphs/activation-contribution")
    assert pair is not None
    with store.changing():
        own = store.header.run
        store.update_run(own.model_copy(update={"config": own.config.replaced(**pair._asdict())}))
        find_evidence(store, EvidenceSettings(images=2, samples=3), connected(client))
        store.update_run(own)
        paint(store, connected(client), {"upper": [3, 5]}, ("channel",), Settings(size=24, steps=2))
    before = contents(path)
    for file in (f"{EVIDENCE}/necessity/c/0/0", "pictures/upper/picture_bytes/c/0"):
        flip(path / file, 12345)
    assert repair(path, ClusterOptions()) == [f"Found again: {EVIDENCE}.", "Made again: pictures/upper."]
    assert contents(path) == before
    flip(path / f"{EVIDENCE}/seed/c/0", 9)
    assert repair(path, ClusterOptions()) == [
        f"{EVIDENCE} was damaged and is taken out; 'summit-dask evidence {path}' finds it again."
    ]
    assert flip_all(path, 0) == set(named(path))


def test_what_cannot_be_made_again_is_taken_out_in_words(path: Path) -> None:
    flip(path / "usage/upper/entropy/c/0", 9)
    assert repair(path, ClusterOptions()) == [
        f"usage was damaged and is taken out; 'summit-dask usage {path}' makes it again."
    ]
    assert repair(path, ClusterOptions()) == []


def test_a_damaged_root_is_refused(path: Path) -> None:
    root = path / "zarr.json"
    root.write_text(root.read_text().replace('"mass": 0.03', '"mass": 0.05'))
    with pytest.raises(StoreError, match=r"the root: zarr.json, which is damaged .* restore it from a copy"):
        repair(path, ClusterOptions())


def test_tables_of_other_images_are_not_made(finished: RunConfig, path: Path, client: Client, tmp_path: Path) -> None:
    images = shutil.copytree(finished.images, tmp_path / "images")
    (images / CLASSES[0] / "000.png").unlink()
    store = Store.open(path, writable=True)
    with store.changing():
        run = store.header.run
        store.update_run(run.model_copy(update={"config": run.config.replaced(images=images)}))
    flip(path / "images/path/c/0", 9)
    with pytest.raises(StoreMismatchError, match=r"the store has 90 images, .*, now there are 89 images"):
        repair(path, ClusterOptions())


def test_an_imported_store_is_refused(imported: Path) -> None:
    with pytest.raises(StoreIncompleteError, match=r"was imported; .* 'summit-dask verify' names what is damaged"):
        repair(imported, ClusterOptions())
