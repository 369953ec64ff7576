"""Stores in a bucket, on a server that speaks S3 in this process, and in a zip file."""

import json
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from distributed import Client

from summit_dask import cli
from summit_dask.facts.config import RunConfig
from summit_dask.facts.errors import ConfigError, StoreBusyError, StoreError, StoreMismatchError
from summit_dask.facts.files import Bucket, folder
from summit_dask.facts.location import use_storage_options
from summit_dask.questions.info import describe
from summit_dask.questions.query import attribution_graph
from summit_dask.questions.verify import verify_store
from summit_dask.store import bucketlock, extend
from summit_dask.store.holder import myself
from summit_dask.store.lock import holding
from summit_dask.store.places import stamp, stores_in
from summit_dask.store.status import pending
from summit_dask.store.store import Store
from summit_dask.store.tree import open_store
from tests.buckets import S3, cut_off, serving, slow, throttled
from tests.pages import component_of, facts_of, open_page
from tests.runs import run_here
from tests.test_append import ROUNDS, given
from tests.test_store import PARTITION, made, values_of, write_value

VALUE = "activations/a.0/value"


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    """For all tests of this file."""
    with serving() as s3:
        yield s3


@pytest.fixture
def s3(server: S3) -> Iterator[S3]:
    """A server without faults, whatever the test before did."""
    server.fault = None
    yield server
    server.fault = None


@pytest.fixture(scope="module")
def in_bucket(finished: RunConfig, client: Client, server: S3) -> RunConfig:
    """The finished run once more, into the bucket; copy its store before changing anything."""
    config = finished.replaced(out="s3://bucket/runs/store.zarr")
    run_here(config, client)
    return config


def bytes_of(store: Store) -> Mapping[str, bytes]:
    place = folder(store.path)
    return {name: place.read(name) for name in place.sizes()}


def small(s3: S3, name: str) -> Store:
    """A store of two layers and three partitions with values; made on the disk, which is quicker."""
    place = s3.place(f"{name}/store.zarr")
    with TemporaryDirectory() as own:
        store = made(Path(own, "store.zarr"))
        write_value(store, values_of(store))
        place.fs.put(str(store.path), place.path, recursive=True)
    return Store.open(place, writable=True)


@pytest.mark.long
def test_a_run_into_a_bucket_makes_the_same_bytes(in_bucket: RunConfig, finished: RunConfig, client: Client) -> None:
    store = Store.open(in_bucket.out)
    assert bytes_of(store) == bytes_of(Store.open(finished.out))
    assert pending(run_here(in_bucket, client)) == ()
    beside = {name.split("/")[0] for name in folder(in_bucket.out.parent).sizes()}
    assert beside == {"store.zarr", "store.zarr.network"}
    assert b"endpoint" not in folder(store.path).read("zarr.json")


@pytest.mark.long
def test_questions_are_answered_from_a_bucket(
    in_bucket: RunConfig, finished: RunConfig, s3: S3, tmp_path: Path
) -> None:
    address = str(in_bucket.out)
    expected = attribution_graph(open_store(finished.out), "bee")
    use_storage_options({})
    try:
        tree = open_store(address, storage_options=s3.options)
    finally:
        use_storage_options(s3.options)
    assert attribution_graph(tree, "bee").edges == expected.edges
    chosen = np.arange(90) % 2 == 0
    assert (
        attribution_graph(tree, images=chosen).nodes == attribution_graph(open_store(finished.out), images=chosen).nodes
    )
    facts, on_disk = describe(in_bucket.out), describe(finished.out)
    assert {**facts, "path": ""} == {**on_disk, "path": ""}
    assert verify_store(in_bucket.out, 1).right
    cli.commands(["export", address, str(tmp_path / "csv"), "--format", "csv"], standalone_mode=False)
    assert (tmp_path / "csv").is_dir()


@pytest.mark.parametrize(
    "fault", [throttled(VALUE, 3), cut_off(VALUE, 2), slow(0.05)], ids=["throttled", "cut", "slow"]
)
def test_what_fails_for_a_while_is_tried_again(fault: Any, s3: S3) -> None:
    store = made(s3.place("again/store.zarr"))
    values = values_of(store, seed=1)
    s3.fault = fault
    write_value(store, values)
    s3.fault = None
    np.testing.assert_array_equal(Store.open(store.path).read(VALUE), values)


@pytest.mark.long
@pytest.mark.parametrize(("fault", "said"), [(throttled, "Please reduce your request rate"), (cut_off, "Writing s3")])
def test_what_goes_on_failing_is_told_and_a_second_run_ends_it(
    fault: Any, said: str, in_bucket: RunConfig, s3: S3, client: Client
) -> None:
    """The second partition of an array can't be written; the first stays, the rest is measured again."""
    config = in_bucket.replaced(out=f"s3://bucket/{fault.__name__}/store.zarr")
    s3.fault = fault("activations/upper/value/c/1", 1000)
    with pytest.raises(StoreError, match=said) as error:
        run_here(config, client, "extract")
    assert "s3://bucket" in str(error.value) and "what is finished is kept" in str(error.value)
    s3.fault = None
    store = run_here(config, client, "extract")
    assert store.done(store.header.run.fingerprint or 0).all() or pending(store)[0].name == "reduce"
    expected = Store.open(in_bucket.out)
    for address in ("activations/upper/value", "contributions/upper/source", "images/predicted"):
        np.testing.assert_array_equal(store.read(address), expected.read(address))


def test_a_bucket_that_is_not_there_is_told(s3: S3) -> None:
    with pytest.raises(StoreError, match=r"s3://nobucket/x\.zarr.* failed .*bucket does not exist"):
        Store.open(location_of(s3, "s3://nobucket/x.zarr"))
    with pytest.raises(StoreError, match=r"s3://nobucket/x\.zarr.* failed .*bucket does not exist"):
        made(location_of(s3, "s3://nobucket/x.zarr"))
    with pytest.raises(ConfigError, match=r"'out'.*names a whole bucket; give a folder in it, as in s3://x/store"):
        RunConfig.of({"model": "m:M", "images": "i", "out": "s3://x"})


def location_of(s3: S3, address: str) -> Any:
    place = s3.place("")
    return type(place)(address, **place.storage_options)


# Whole or not at all


def test_a_store_that_was_not_laid_out_whole_is_not_there(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    place = s3.place("begun/store.zarr")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Bucket, "remove", _interrupted_at(place.with_name("store.zarr.init"), Bucket.remove))
        made(place)
    Bucket(place).drop("zarr.json")  # as if the copying had been cut off before its end
    with pytest.raises(StoreError, match="being laid out when it stopped; run the same command again"):
        Store.open(place)
    assert made(place).header.n_images == 70
    assert {name.split("/")[0] for name in folder(place.parent).sizes()} == {"store.zarr"}


def _interrupted_at(path: Any, remove: Any) -> Any:
    seen: list[str] = []

    def interrupted(self: Bucket) -> None:
        if str(self.path) == str(path) and seen:
            raise KeyboardInterrupt
        seen.append(str(self.path))
        remove(self)

    return interrupted


def counted(store: Store, number: int, fingerprint: int) -> None:
    with store.changing(), store.renewing("matrices") as draft:
        draft.add("matrices/b/activation_count", np.full((2, 6), number, np.int32))
        draft.finish("matrices", fingerprint)


@pytest.mark.parametrize("copied", [0, 2])
def test_a_kill_while_a_group_is_replaced_leaves_it_out_and_the_next_run_ends_it(
    copied: int, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = small(s3, f"swap{copied}")
    counted(store, 1, 7)
    with monkeypatch.context() as patch, pytest.raises(_Killed):
        patch.setattr(Bucket, "move", _killed_after(copied))
        patch.setattr(Bucket, "remove", _nothing_more(Bucket.remove))
        counted(store, 2, 8)
    seen = Store.open(store.path)
    assert seen.finished("matrices") is None  # neither the old one nor half of the new one
    store = Store.open(store.path, writable=True)
    with store.changing():
        assert store.finished("matrices") == 8
        assert (store.read("matrices/b/activation_count") == 2).all()
    assert folder(store.path.with_name("store.zarr.new")).sizes() == {}


def test_a_failure_before_a_group_is_replaced_leaves_it_as_it_was(s3: S3) -> None:
    store = small(s3, "failed")
    counted(store, 1, 7)
    with pytest.raises(KeyboardInterrupt), store.changing(), store.renewing("matrices") as draft:
        draft.add("matrices/b/activation_count", np.full((2, 6), 2, np.int32))
        raise KeyboardInterrupt
    store = Store.open(store.path)
    assert store.is_consolidated and store.finished("matrices") == 7
    assert (store.read("matrices/b/activation_count") == 1).all()
    assert {name.split("/")[0] for name in folder(store.path.parent).sizes()} == {"store.zarr"}


class _Killed(BaseException):
    """A process that does nothing any more."""


def _killed_after(copied: int) -> Any:
    def move(self: Bucket, to: Any) -> None:
        Bucket(to).remove()
        for name in [name for name in sorted(self.sizes()) if name != "zarr.json"][:copied]:
            Bucket(to).write(name, self.read(name))
        raise _Killed

    return move


def _nothing_more(remove: Any, ending: str = ".new") -> Any:
    """Drafts stay, as after a kill."""
    return lambda self: None if self.path.name.endswith(ending) else remove(self)


# Further images


@pytest.fixture(scope="module")
def growing(finished: RunConfig, client: Client, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunConfig, Store]:
    """A run over 47 images that has read them, with 38 more by now; and the store that has these too, on a disk."""
    folder = tmp_path_factory.mktemp("growing")
    given(finished.images, folder / "images", ROUNDS[0])
    config = finished.replaced(images=folder / "images", out=folder / "store.zarr")
    run_here(config, client, "extract")
    given(finished.images, config.images, ROUNDS[2])
    shutil.copytree(config.out, folder / "grown.zarr")
    return config, run_here(config.replaced(out=folder / "grown.zarr"), client, "extract", append=True)


def stopped_at(when: str, s3: S3, patch: pytest.MonkeyPatch) -> type[BaseException]:
    """Have an append end before the swap, as by a kill or by a connection that is cut off; or in its middle."""
    if when == "before":
        patch.setattr(extend, "_mark", _killed)
        return _Killed
    if when == "in the middle":
        patch.setattr(Bucket, "share", _killed_at(Bucket.share, "store.zarr"))
        patch.setattr(Bucket, "remove", _nothing_more(Bucket.remove, ".append"))
        return _Killed
    s3.fault = cut_off(".append/store.zarr/activations/upper/value/c/0", 1000)
    return StoreError


@pytest.mark.long
@pytest.mark.parametrize(("when", "n_images"), [("before", 47), ("cut off", 47), ("in the middle", 85)])
def test_an_append_that_is_stopped_leaves_a_store_to_read_and_the_next_one_ends_it(
    when: str,
    n_images: int,
    growing: tuple[RunConfig, Store],
    s3: S3,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config, grown = growing
    place = s3.place(f"{when}/store.zarr")
    place.fs.put(str(config.out), place.path, recursive=True)
    config = config.replaced(out=str(place))
    with monkeypatch.context() as patch, pytest.raises(stopped_at(when, s3, patch)):
        run_here(config, client, "extract", append=True)
    s3.fault = None
    left = Store.open(place)
    assert left.header.n_images == n_images
    assert left.read("activations/upper/value", slice(32)).any()
    with pytest.raises(StoreMismatchError, match="Give --append") if n_images == 47 else nullcontext():
        run_here(config, client, "extract")
    store = run_here(config, client, "extract", append=True)
    assert bytes_of(store) == bytes_of(grown)
    beside = {name.split("/")[0] for name in folder(place.parent).sizes()}
    assert beside == {"store.zarr", "store.zarr.network"} or beside == {"store.zarr"}


def _killed(*_: object) -> None:
    raise _Killed


def _killed_at(share: Any, name: str) -> Any:
    """A process that is killed when half of what it copies to a store of this name is there, its zarr.json not."""

    def half(self: Bucket, names: list[str], to: Any) -> None:
        if to.name != name or to.parent.name.endswith(".append"):
            share(self, names, to)
            return
        share(self, names[: len(names) // 2], to)
        raise _Killed

    return half


# The lock


def test_a_store_in_a_bucket_is_changed_by_one_process_at_a_time(s3: S3) -> None:
    place = s3.place("held/store.zarr")
    note = {**myself(), "host": "far-away", "process": "12"}
    Bucket(place.parent).write("store.zarr.lock", json.dumps(note).encode())
    said = r"changed by process 12 on far-away, since .* sign of life \d s ago; after 2 min 0 s it counts as dead"
    with pytest.raises(StoreBusyError, match=said), holding(place):
        pass
    assert [*folder(place.parent).sizes()] == ["store.zarr.lock"]


@pytest.mark.parametrize("why", ["silent", "dead"])
def test_the_lock_of_a_dead_process_is_taken_over(
    why: str, s3: S3, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = s3.place(f"over-{why}/store.zarr")
    monkeypatch.setattr(bucketlock, "_SETTLE_SECONDS", 0)
    here = {**myself(), "space": bucketlock._process_space(), "process": str(2**22 + 1)}
    if why == "silent":
        here["host"] = "far-away"
        monkeypatch.setattr(bucketlock, "STALE_SECONDS", -1)
    Bucket(place.parent).write("store.zarr.lock", json.dumps(here).encode())
    with holding(place):
        assert json.loads(Bucket(place.parent).read("store.zarr.lock"))["host"] == myself()["host"]
    assert "which has died: taken over." in capsys.readouterr().err
    assert folder(place.parent).sizes() == {}


def test_a_lock_is_written_again_and_again_and_its_loss_is_told(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucketlock, "BEAT_SECONDS", 0.05)
    place = s3.place("beating/store.zarr")
    beaten = threading.Event()
    s3.fault = lambda environ, _: beaten.set() if environ["REQUEST_METHOD"] == "PUT" else None
    other = json.dumps({**myself(), "process": "12", "host": "far-away"}).encode()
    lock = Bucket(place.parent)
    with pytest.raises(StoreBusyError, match="process 12 on far-away"), holding(place):
        beaten.clear()
        assert beaten.wait(20)
        monkeypatch.setattr(bucketlock, "BEAT_SECONDS", 60)
        for _ in range(2):  # the last beat may be on its way
            lock.write("store.zarr.lock", other)
            time.sleep(0.3)
    assert lock.read("store.zarr.lock") == other


# Damage


@pytest.mark.parametrize("damage", ["lost", "empty", "short"])
def test_a_lost_or_truncated_object_is_never_read_as_values(damage: str, s3: S3) -> None:
    store = small(s3, f"damaged-{damage}")
    store.mark_done(1, 7)
    place, name = Bucket(store.path), f"{VALUE}/c/1/0"
    content = place.read(name)
    place.drop(name) if damage == "lost" else place.write(
        name, content[: len(content) // 2 if damage == "short" else 0]
    )
    with pytest.raises(StoreError, match=r"store\.zarr/activations/a\.0/value can't be read.*damaged"):
        Store.open(store.path).read(VALUE)
    with pytest.raises(StoreError, match=r"store\.zarr/activations/a\.0/value can't be read.*damaged"):
        Store.open(store.path).read(VALUE, slice(PARTITION, 2 * PARTITION))
    assert Store.open(store.path).read(VALUE, slice(0, PARTITION)).any()


# The dashboard


@pytest.mark.long
def test_the_dashboard_shows_a_store_in_a_bucket_and_notices_changes(
    finished: RunConfig, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = s3.place("changed/store.zarr")
    copy.fs.put(str(finished.out), copy.path, recursive=True)
    app = open_page(copy, "run", monkeypatch)
    assert facts_of(app, "progress") == {"Images": "90", "Still to do": "nothing"}
    before = stamp(copy)
    assert stamp(copy) == before and stores_in(copy) == [copy] and stores_in(copy.parent) == [copy]
    store = Store.open(copy, writable=True)
    with store.changing(), store.renewing("embedding") as draft:
        draft.finish("embedding", 5)
    assert stamp(copy) != before


# Zip files


def test_a_zip_file_is_read_and_never_written(
    finished: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.make_archive(str(tmp_path / "store"), "zip", finished.out)
    file = tmp_path / "store.zip"
    assert {**describe(file), "path": ""} == {**describe(finished.out), "path": ""}
    with pytest.raises(StoreError, match=r"store\.zip is a zip file, which can only be read; unpack it"):
        Store.open(file, writable=True)
    with pytest.raises(StoreError, match=r"store\.zip is a zip file, which can only be read"):
        run_into(finished, file)
    cli.commands(["export", str(file), str(tmp_path / "csv"), "--format", "csv"], standalone_mode=False)
    app = open_page(file, "explore", monkeypatch)
    assert component_of(app, "graph")
    shutil.make_archive(str(tmp_path / "outer"), "zip", finished.out.parent, finished.out.name)
    with pytest.raises(StoreError, match=r"no store at .*outer\.zip: make the zip of what the store's folder holds"):
        Store.open(tmp_path / "outer.zip")


def run_into(config: RunConfig, file: Path) -> None:
    from summit_dask.stages.pipeline import run

    run(config.replaced(out=file, mass=0.5))
