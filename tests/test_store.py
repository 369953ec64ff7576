"""The store on disk: its layout, who may write what, damage, other versions, a full disk."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from distributed import Client
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.codecs import Crc32cCodec, ShardingCodec

from summit_dask import cli
from summit_dask.facts import schema
from summit_dask.facts.addresses import bytes_per_image
from summit_dask.facts.config import RunConfig
from summit_dask.facts.errors import StoreBusyError, StoreError, StoreIncompleteError, StoreVersionError
from summit_dask.facts.layergraph import Convolution, Hop, Layer, LayerGraph, Window
from summit_dask.facts.pairs import PAPERS
from summit_dask.questions.query import attribution_graph
from summit_dask.stages import pipeline
from summit_dask.stages.init import init
from summit_dask.store.header import Header
from summit_dask.store.layout import CHUNK_BYTES, cut, partition_size
from summit_dask.store.lock import holding
from summit_dask.store.store import Store
from summit_dask.store.tree import layer_graph_of, open_store
from tests import stores
from tests.networks import tiny_config
from tests.runs import cluster_of, copied, run_here

N_IMAGES, PARTITION = 70, 32
WINDOW = Window((1, 1), (1, 1), (0, 0))
GRAPH = LayerGraph(
    (Layer("a.0", 4, 2, 2, True, WINDOW), Layer("b", 6, 1, 1, True, WINDOW)),
    (Hop("b.weight", "a.0", "b", range(6), Convolution()),),
)


def texts(*values: str) -> Any:
    return np.array(values, dtype=schema.STRING)


def made(path: Path, imported: bool = False, **options: Any) -> Store:
    """A store of two layers and three partitions, nothing measured yet."""
    run = stores.run_of_import() if imported else stores.run_of_images()
    run = run.model_copy(update={"config": run.config.replaced(excluded=(), **options)})
    tables = {
        "": {"image": np.arange(N_IMAGES), "class": texts("x", "ü")},
        "outputs": {"name": texts("x", "", "ü"), "synset": texts("", "", "n1")},
        "images": {
            "path": texts(*(f"{i}.png" for i in range(N_IMAGES))),
            "class_index": np.zeros(N_IMAGES, np.int32),
            "fold": np.arange(N_IMAGES),
        },
    }
    return Store.create(path, Header(GRAPH, run, N_IMAGES, 2, 3, PARTITION), tables)


def values_of(store: Store, n: int = N_IMAGES, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal((n, 4)).astype(np.float32)


def write_value(store: Store, values: Any, start: int = 0) -> None:
    store.write("activations/a.0/value", values, start)


# Layout


def test_a_new_store_holds_what_the_registry_says(tmp_path: Path) -> None:
    store = made(tmp_path / "new" / "store.zarr")
    lengths = {**store.header.lengths(), "rank": 3}
    expected = {
        **dict.fromkeys(("", "outputs", "images", "classes", "partitions"), 0),
        "activations/a.0": 4,
        "activations/b": 6,
        "influences/b": 6,
        "contributions/b": 6,
    }
    for group, channels in expected.items():
        head, _, member = group.partition("/")
        for variable in schema.variables(head):
            array: Any = store.group[variable.address(member)]
            assert array.shape == schema.sizes(variable, {**lengths, "channel": channels})
            assert array.metadata.dimension_names == variable.dims
            assert array.dtype == variable.numpy_dtype
            assert array.attrs["long_name"] == variable.meaning and array.attrs["units"] == variable.units
            filled = np.full(array.shape, variable.fill, variable.numpy_dtype)
            if group not in ("", "outputs") and variable.name not in ("path", "class_index"):
                np.testing.assert_array_equal(array[:], filled)
    assert set(dict(store.group.groups())) == {name.split("/")[0] for name in expected} - {""}


@pytest.mark.parametrize(
    ("options", "present", "absent"),
    [
        ({"influence_values": False}, ["influences/b/source", "influences/b/hop"], ["influences/b/value"]),
        ({}, ["influences/b/value"], ["influences/a.0"]),
        ({"imported": True}, ["images/fold"], ["influences", "activations", "images/status"]),
    ],
)
def test_what_is_left_out_is_not_laid_out(
    tmp_path: Path, options: dict[str, Any], present: list[str], absent: list[str]
) -> None:
    store = made(tmp_path / "store.zarr", **options)
    assert [store.has(path) for path in present + absent] == [True] * len(present) + [False] * len(absent)


def test_a_tree_has_the_texts_and_the_further_columns(tmp_path: Path) -> None:
    tree = open_store(made(tmp_path / "store.zarr").path)
    assert tree["class"].values.tolist() == ["x", "ü"]
    assert tree["outputs/name"].values.tolist() == ["x", "", "ü"]
    assert tree["images"].coords["fold"].values.tolist() == list(range(N_IMAGES))
    assert tree["activations/a.0/value"].dims == ("image", "channel")
    assert layer_graph_of(tree) == GRAPH


@given(n=st.integers(1, 3_000_000))
def test_partitions_are_1024_images_or_about_16_but_not_below_32(n: int) -> None:
    size = partition_size(n)
    assert size in {32, 64, 128, 256, 512, 1024}
    assert size == 32 or ceil(n / size) >= 16
    assert size == 1024 or ceil(n / (2 * size)) < 16


@settings(deadline=None)
@given(
    n=st.integers(1, 3000),
    channels=st.integers(1, 3000),
    rank=st.integers(1, 9),
    address=st.sampled_from(["activations/a/value", "influences/a/hop", "influences/a/source", "influences/a/value"]),
)
def test_a_shard_is_a_partition_of_all_channels(n: int, channels: int, rank: int, address: str) -> None:
    variable = schema.variable(address)
    shape = (n, channels, rank)[: len(variable.dims)]
    partition = partition_size(n)
    chunks, shards = cut(variable, shape, partition)
    assert shards is not None
    assert shards[0] == chunks[0] == partition and shards[1] >= channels
    assert all(shard % chunk == 0 for shard, chunk in zip(shards, chunks, strict=True))
    assert np.prod(chunks) * variable.numpy_dtype.itemsize <= CHUNK_BYTES or chunks[1] == 1


@pytest.mark.parametrize(
    ("shape", "together"), [((1000, 832, 480), 8), ((3, 4, 5), 3), ((9, 2048, 2048), 4), ((2, 8192, 8192), 1)]
)
def test_a_file_of_sources_holds_eight_classes_or_as_many_as_fit(shape: tuple[int, ...], together: int) -> None:
    chunks, shards = cut(schema.variable("matrices/b.weight/influence_count"), shape, PARTITION)
    assert chunks == (1, *shape[1:])
    assert shards == (together, *shape[1:])


def test_every_chunk_and_shard_index_ends_in_a_checksum(finished: RunConfig) -> None:
    def ends_in_checksum(codecs: Any) -> bool:
        last = codecs[-1]
        if isinstance(last, ShardingCodec):
            return ends_in_checksum(last.codecs) and ends_in_checksum(last.index_codecs)
        return isinstance(last, Crc32cCodec)

    arrays = dict(zarr.open_group(finished.out, mode="r").members(max_depth=None))
    unchecked = [name for name, a in arrays.items() if hasattr(a, "shape") and not ends_in_checksum(a.metadata.codecs)]
    assert len(arrays) > 40 and unchecked == []


def test_the_bytes_that_are_said_are_those_of_the_arrays(finished: RunConfig) -> None:
    store = Store.open(finished.out)
    arrays = dict(store.group.members(max_depth=None))
    measured = ("activations", "influences", "contributions")
    held = [a for name, a in arrays.items() if hasattr(a, "shape") and name.startswith(measured)]
    per_image = sum(int(np.prod(a.shape[1:])) * a.dtype.itemsize for a in held)
    assert bytes_per_image(store.layer_graph, finished) == per_image


# Writing


def test_a_partition_is_one_file_of_an_array(tmp_path: Path) -> None:
    store = made(tmp_path / "store.zarr")
    values = values_of(store)
    for index in (2, 0, 1):
        rows = store.partition(index)
        write_value(store, values[rows], rows.start)
        store.mark_done(index, 7)
    files = [path for path in (store.path / "activations/a.0/value/c").rglob("*") if path.is_file()]
    assert len(files) == 3 and store.partition(2) == slice(64, 70)
    np.testing.assert_array_equal(store.read("activations/a.0/value"), values)
    chosen = np.arange(N_IMAGES) % 3 == 1
    np.testing.assert_array_equal(store.read("activations/a.0/value", chosen), values[chosen])
    assert store.done(7).all() and not store.done(8).any()


@pytest.mark.parametrize(
    ("start", "stop", "fits"), [(0, 32, True), (32, 70, True), (64, 70, True), (1, 33, False), (0, 40, False)]
)
def test_only_whole_shards_are_written(tmp_path: Path, start: int, stop: int, fits: bool) -> None:
    store = made(tmp_path / "store.zarr")
    if fits:
        write_value(store, values_of(store)[start:stop], start)
        return
    with pytest.raises(StoreError, match=rf"a\.0/value: rows {start} to {stop} of 70 are not whole shards of 32"):
        write_value(store, values_of(store)[start:stop], start)
    assert not store.read("activations/a.0/value").any()


def test_other_shapes_and_dtypes_are_refused_with_both(tmp_path: Path) -> None:
    store = made(tmp_path / "store.zarr")
    with pytest.raises(StoreError, match=r"expected the shape \(32, 4\).*found \(32, 3\)"):
        write_value(store, values_of(store)[:32, :3])
    with pytest.raises(StoreError, match="expected values of dtype float32, found float64"):
        write_value(store, values_of(store)[:32].astype(np.float64))
    with pytest.raises(StoreError, match=r"no variable 'valu' in 'activations/a'.*Did you mean 'value'"):
        schema.variable("activations/a/valu")
    with pytest.raises(StoreError, match=r"no group 'activation'.*'activations'"):
        schema.variables("activation")
    with pytest.raises(StoreIncompleteError, match=r"no matrices/a\.0/activation_count; run the stage"):
        store.write("matrices/a.0/activation_count", np.zeros((2, 4), np.int32))


def test_a_stage_that_is_made_again_is_seen_in_its_new_size(tmp_path: Path) -> None:
    """Consolidated metadata would otherwise still tell of the old arrays."""
    store = made(tmp_path / "store.zarr")
    store.consolidate()
    address = f"{PAPERS.group}/node_channel"
    for length in (5, 9):
        store = Store.open(store.path, writable=True)
        with store.changing(), store.renewing(PAPERS.group) as draft:
            draft.add(address, np.arange(length, dtype=np.int32))
            assert draft.read(address).size == length and draft.finished(PAPERS.group) is None
            assert store.finished(PAPERS.group) == (None if length == 5 else 5)
            draft.finish(PAPERS.group, length)
        assert open_store(store.path)[address].values.tolist() == list(range(length))
        assert Store.open(store.path).finished(PAPERS.group) == length
        held = json.loads((store.path / "zarr.json").read_text())["consolidated_metadata"]["metadata"]
        assert held[address]["shape"] == [length]


def test_a_failure_while_renewing_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    store = made(tmp_path / "store.zarr")
    counts = np.ones((2, 6), np.int32)
    with store.changing(), store.renewing("matrices") as draft:
        draft.add("matrices/b/activation_count", counts)
    with pytest.raises(KeyboardInterrupt), store.changing(), store.renewing("matrices") as draft:
        draft.add("matrices/b/activation_count", 2 * counts)
        (store.path / "matrices" / "0.abc.partial").write_bytes(b"half a file")
        raise KeyboardInterrupt
    assert open_store(store.path)["matrices/b/activation_count"].values.tolist() == counts.tolist()
    assert [path.name for path in tmp_path.iterdir()] == ["store.zarr"]
    store = Store.open(store.path, writable=True)
    with store.changing():
        pass
    assert not list(store.path.rglob("*.partial"))


def test_a_store_that_was_not_laid_out_whole_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(StoreError, match=r"store\.zarr failed.*No space left"):
        patch.setattr(Store, "_lay_out_tables", full)
        made(tmp_path / "store.zarr")
    with pytest.raises(StoreError, match="being laid out when it stopped; run the same command again"):
        open_store(tmp_path / "store.zarr")
    assert open_store(made(tmp_path / "store.zarr").path).sizes["image"] == N_IMAGES
    assert [path.name for path in tmp_path.iterdir()] == ["store.zarr"]


def test_what_a_kill_left_between_two_places_is_put_back(tmp_path: Path) -> None:
    """As when the process dies after the old group was moved aside, before the new one took its place."""
    store = made(tmp_path / "store.zarr")
    counts = np.ones((2, 6), np.int32)
    with store.changing(), store.renewing("matrices") as draft:
        draft.add("matrices/b/activation_count", counts)
        draft.finish("matrices", 7)
    aside = tmp_path / "store.zarr.new" / "moved-aside"
    aside.mkdir(parents=True)
    (store.path / "matrices").rename(aside / "matrices")
    store = Store.open(store.path, writable=True)
    with store.changing():
        assert store.finished("matrices") == 7
        assert store.read("matrices/b/activation_count").tolist() == counts.tolist()
    assert [path.name for path in tmp_path.iterdir()] == ["store.zarr"]


# Damage


@pytest.mark.parametrize("damage", [0, 1, 3, 0.5, -1, "flip", "zero"])
def test_a_damaged_file_is_never_read_as_values(tmp_path: Path, damage: Any) -> None:
    store = made(tmp_path / "store.zarr")
    write_value(store, values_of(store))
    file = store.path / "activations/a.0/value/c/1/0"
    content = bytearray(file.read_bytes())
    if damage == "flip":
        content[len(content) // 3] ^= 1
    elif damage == "zero":
        content = bytearray(len(content))
    else:
        content = content[: int(damage * len(content)) if isinstance(damage, float) else damage]
    file.write_bytes(content)
    with pytest.raises(StoreError, match=r"store\.zarr/activations/a\.0/value can't be read.*damaged"):
        store.read("activations/a.0/value")
    assert store.read("activations/a.0/value", slice(0, 32)).any()


@pytest.mark.parametrize("question", ["reduce", "graph", "read"])
def test_a_copy_that_lacks_a_file_is_never_read_as_zeros(
    question: str, finished: RunConfig, tmp_path: Path, client: Client
) -> None:
    config = copied(finished, tmp_path)
    lost = config.out / "influences/upper/source/c/1"
    shutil.rmtree(lost)
    with pytest.raises(StoreError, match=r"influences/upper/source can't be read: .*source/c/1/0/0 is missing"):
        if question == "reduce":
            run_here(config.replaced(mass=0.5), client)
        elif question == "graph":
            attribution_graph(open_store(config.out), images=np.ones(90, bool))
        else:
            Store.open(config.out).read("influences/upper/source", slice(32, 40))
    assert Store.open(config.out).read("influences/upper/source", slice(0, 32)).any()


def test_a_file_of_zeros_is_written_too(tmp_path: Path) -> None:
    """Else a partition that is all zero could not be told from one that was lost."""
    store = made(tmp_path / "store.zarr")
    write_value(store, np.zeros((32, 4), np.float32))
    store.mark_done(0, 7)
    assert (store.path / "activations/a.0/value/c/0/0").is_file()
    assert not store.read("activations/a.0/value").any()  # the others are not done, so they may be missing


def test_damaged_counts_end_a_query_in_a_message(finished: RunConfig, tmp_path: Path) -> None:
    out = copied(finished, tmp_path).out
    for file in (out / "matrices/upper/activation_count/c").rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(StoreError, match=r"matrices/upper/activation_count.*damaged"):
        attribution_graph(open_store(out), "bee")


@pytest.mark.parametrize("opened", [open_store, Store.open])
def test_what_is_no_store_of_this_version_is_refused(tmp_path: Path, opened: Any) -> None:
    path = tmp_path / "store.zarr"
    with pytest.raises(StoreError, match=r"no store at .*summit-dask run --out"):
        opened(path)
    zarr.open_group(path, mode="w", zarr_format=3)
    with pytest.raises(StoreError, match=r"no summit-dask store.*'summit_format'"):
        opened(path)
    shutil.rmtree(path)
    store = made(path)
    store.group.update_attributes({"summit_format": 2})
    with pytest.raises(StoreVersionError, match="store format 2; this version reads format 4"):
        opened(path)


def test_attributes_that_make_no_sense_are_damage(tmp_path: Path) -> None:
    store = made(tmp_path / "store.zarr")
    store.group.update_attributes({"layer_graph": {"layers": []}})
    with pytest.raises(StoreError, match="not a layer graph"):
        Store.open(store.path)
    attributes = dict(store.header.attributes())
    store.group.update_attributes(attributes)
    del store.group.attrs["sizes"]
    with pytest.raises(StoreError, match="'sizes'"):
        open_store(store.path)


# Elsewhere


def test_a_store_in_a_zip_file_or_at_an_address_is_read(finished: RunConfig, tmp_path: Path) -> None:
    shutil.make_archive(str(tmp_path / "store"), "zip", finished.out)
    expected = attribution_graph(open_store(finished.out), "bee")
    for place in (tmp_path / "store.zip", f"file://{finished.out}", str(finished.out)):
        assert attribution_graph(open_store(place), "bee").nodes == expected.nodes
    with pytest.raises(StoreError, match=r"no store at nowhere://x"):
        open_store("nowhere://x")
    with pytest.raises(StoreError, match=r"no store at .*empty\.zip"):
        (tmp_path / "empty.zip").write_bytes(b"")
        open_store(tmp_path / "empty.zip")


@pytest.mark.parametrize("name", ["with space", "a#b", "50 %", "ü"])
def test_a_store_may_lie_anywhere_and_be_moved(name: str, finished: RunConfig, tmp_path: Path) -> None:
    moved = tmp_path / name / "store.zarr"
    shutil.copytree(finished.out, moved)
    assert attribution_graph(open_store(moved), "bee").nodes == attribution_graph(open_store(finished.out), "bee").nodes


# One process at a time


HOLD = """
import sys, time
from pathlib import Path
from summit_dask.store.lock import holding
with holding(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_told_who_holds_the_store_until_that_is_dead(tmp_path: Path) -> None:
    path = tmp_path / "store.zarr"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(StoreBusyError, match=rf"process {holder.pid} on \S+, since 20\d\d-.*same command again"):
            made(path)
            with Store.open(path, writable=True).changing():
                pass
        holder.kill()
    with Store.open(path, writable=True).changing():
        assert (tmp_path / "store.zarr.lock").exists()
    assert [file.name for file in tmp_path.iterdir()] == ["store.zarr"]


def test_the_same_process_may_hold_a_store_twice_wherever_it_will_lie(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    with holding(folder / "x"), holding(folder / "x"):
        assert (folder / "x.lock").exists()
    assert not list(folder.iterdir())


# A full disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """An empty file system of its own, 16 MB, that can be made smaller and larger."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", place], capture_output=True).returncode:
        pytest.skip("no right to mount a file system")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def resize(disk: Path, kilobytes: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", disk], check=True)


def used(disk: Path) -> int:
    """Kilobytes in use."""
    return shutil.disk_usage(disk).used // 1024


@pytest.mark.long
def test_a_full_disk_ends_in_a_message_and_more_room_goes_on_to_the_same_store(
    disk: Path,
    finished: RunConfig,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(pipeline, "cluster", cluster_of(client))
    out = disk / "store.zarr"
    config = tiny_config(finished.out.parent, out=out)
    names = ("model", "weights", "images", "classes", "resize", "crop", "batch_size", "out")
    monkeypatch.setattr(
        sys, "argv", ["summit-dask", "run", *(f"--{n.replace('_', '-')}={getattr(config, n)}" for n in names)]
    )
    laid_out, whole = used_by_a_run(disk, config, client)
    done = []
    for share in (-0.5, -0.1, 0.05, 0.1, 0.3, 0.8, 0.97):
        resize(disk, int(laid_out + share * (whole - laid_out if share > 0 else laid_out)))
        with pytest.raises(SystemExit) as end:
            cli.main()
        error = capsys.readouterr().err
        assert end.value.code == 2 and "No space left on device" in error and "Traceback" not in error, error
        done.append(int((Store.open(out).read("partitions/fingerprint") > 0).sum()) if out.exists() else -1)
    assert done == sorted(done) and {-1, 0, 3} <= set(done)  # laying out, extracting, later stages
    resize(disk, 16 * 1024)
    cli.main()
    assert "is complete" in capsys.readouterr().out
    ours, theirs = (
        {str(p.relative_to(o)): p.read_bytes() for p in o.rglob("*") if p.is_file()} for o in (out, finished.out)
    )
    assert ours == theirs


def used_by_a_run(disk: Path, config: RunConfig, client: Client) -> tuple[int, int]:
    """Kilobytes that a store takes when laid out and when whole; nothing of it stays."""
    init(config)
    laid_out = used(disk)
    run_here(config, client)
    whole = used(disk)
    shutil.rmtree(config.out)
    return laid_out, whole
