"""Images in shards and at addresses: the same images give the same values wherever they lie."""

from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import s3fs
from distributed import Client
from hypothesis import given, settings
from hypothesis import strategies as st
from moto.server import ThreadedMotoServer
from PIL import Image

from summit_dask.facts.config import RunConfig
from summit_dask.facts.errors import DatasetError, SummitError
from summit_dask.facts.location import location, use_storage_options
from summit_dask.images.duplicates import Duplicates
from summit_dask.images.files import Content, Part, Reader, Row
from summit_dask.images.readable import check_readable
from summit_dask.images.shards import list_shards
from summit_dask.images.sources import ImageSet, read_image_set
from summit_dask.questions.verify import verify_store
from summit_dask.stages.examples import originals
from summit_dask.store.store import Store
from tests import shards
from tests.networks import SIDE, write_images
from tests.runs import run_here


@pytest.fixture(scope="module")
def images(finished: RunConfig) -> Path:
    """The folder of the finished run."""
    return Path(finished.images)


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, Any]]:
    """What it takes to get to a server that speaks S3; its bucket is called "images"."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    options = {"key": "k", "secret": "s", "client_kwargs": {"endpoint_url": f"http://{host}:{port}"}}
    use_storage_options(options)
    s3fs.S3FileSystem(**options).mkdir("images")
    yield options
    use_storage_options({})
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def read_all(found: ImageSet) -> list[Content]:
    """The bytes of all images."""
    reader = Reader()
    files = [found.file(row) for row in range(len(found.table))]
    return [content for start in range(0, len(files), 8) for content in reader.read(files[start : start + 8])]


# The same values


#: Of each layer.
MEASURED = ("activations/{}/value", "activations/{}/position", "influences/{}/source", "contributions/{}/source")


def check_same_values(finished: RunConfig, config: RunConfig, client: Client, *stages: str) -> Store:
    """Run some stages; the images are those of the finished run, their classes taking turns."""
    store = run_here(config, client, "extract", *stages)
    folder, root = Store.open(finished.out), Path(finished.images)
    paths = folder.read("images/path").tolist()
    order = np.array([paths.index(str(file.relative_to(root))) for file in shards.mixed(root)])
    addresses = [f"images/{name}" for name in ("class_index", "file_size", "status", "predicted")]
    addresses += [name.format(layer.name) for layer in folder.layer_graph.with_maps for name in MEASURED]
    for address in filter(folder.has, addresses):
        np.testing.assert_array_equal(store.read(address), folder.read(address)[order], err_msg=address)
    return store


@pytest.mark.parametrize("kind", ["parquet", pytest.param("saved", marks=pytest.mark.long)])
def test_images_in_shards_have_the_values_of_those_in_a_folder(
    kind: str, images: Path, finished: RunConfig, tmp_path: Path, client: Client
) -> None:
    source = shards.KINDS[kind](images, tmp_path / kind)
    check_same_values(finished, finished.replaced(images=source, out=tmp_path / "store"), client)


def test_a_whole_run_on_tar_files_can_be_verified(
    images: Path, finished: RunConfig, tmp_path: Path, client: Client
) -> None:
    config = finished.replaced(images=shards.tars(images, tmp_path / "tar"), out=tmp_path / "store")
    store = check_same_values(finished, config, client, "reduce", "examples", "graphs", "embed")
    assert verify_store(store.path, 6).right
    for layer in store.layer_graph.with_maps:
        box = store.read(f"examples/{layer.name}/box")
        assert (box[..., 2:] > box[..., :2]).all()
    one = originals(store)
    (tmp_path / "tar" / "train-00000.tar").unlink()
    with pytest.raises(FileNotFoundError):
        one(0)
    assert one(80).size == (SIDE + 2, SIDE)


def test_images_of_a_bucket_have_the_values_of_those_in_a_folder(
    images: Path, finished: RunConfig, tmp_path: Path, client: Client, s3: dict[str, Any]
) -> None:
    s3fs.S3FileSystem(**s3).put(str(shards.tars(images, tmp_path / "tar")), "images/", recursive=True)
    source = "s3://images/tar/train-{00000..00001}.tar"
    config = finished.replaced(images=source, out=tmp_path / "store", storage_options=s3)
    store = check_same_values(finished, config, client)
    assert (str(store.images_root), store.header.run.config.images) == ("s3://images/tar", source)
    assert s3["client_kwargs"]["endpoint_url"] not in (tmp_path / "store" / "zarr.json").read_text()


# What is found


@pytest.mark.parametrize(
    ("kind", "address"),
    [*product(sorted(shards.KINDS), ["", "memory://bucket"]), ("parquet", "s3://images")],
)
def test_the_images_of_shards_are_found_in_their_order(
    kind: str, address: str, images: Path, tmp_path: Path, s3: dict[str, Any]
) -> None:
    source = shards.KINDS[kind](images, tmp_path / kind)
    there = put(source, address)
    found = read_image_set(there)
    assert found.table["label"].tolist() == [file.parent.name for file in shards.mixed(images)]
    assert found.classes == ("ant", "bee", "cat") and found.remarks == () and found.table["path"].is_unique
    assert read_all(found) == [file.read_bytes() for file in shards.mixed(images)]
    some = read_image_set(there, images_per_class=5)
    assert len(some.table) == 15 and read_all(some) == [read_all(found)[row] for row in rows_in(some, found)]
    check_readable(some)


def put(source: Path, address: str) -> Path | str:
    """The same at an address, if one is given."""
    if not address:
        return source
    place = location(f"{address}/{source.name}")
    place.fs.put(str(source), place.path, recursive=source.is_dir())
    return f"{address}/{source.name}"


def rows_in(some: ImageSet, whole: ImageSet) -> list[int]:
    """Rows of the paths of a sample, ascending."""
    rows = [whole.table["path"].tolist().index(path) for path in some.table["path"]]
    assert rows == sorted(rows)
    return rows


@pytest.mark.parametrize("address", ["memory://folders", "s3://images/folders"])
def test_folders_and_manifests_at_addresses(address: str, tmp_path: Path, s3: dict[str, Any]) -> None:
    folder = write_images(tmp_path / "set", 2)
    (folder / "ant" / "notes.txt").write_text("x")
    (folder / "loose.png").write_bytes(b"x")
    rows = ["ant/000.png,ant", f"{address}/set/bee/001.png,bee"]
    (folder / "list.csv").write_text("\n".join(["path,label", *rows]))
    found, here = read_image_set(put(folder, address)), read_image_set(folder)
    assert found.table.equals(here.table) and found.remarks == here.remarks
    assert read_all(found) == [(folder / path).read_bytes() for path in here.table["path"]]
    listed = read_image_set(f"{address}/set/list.csv")
    assert listed.classes == ("ant", "bee")
    assert read_all(listed) == [(folder / path).read_bytes() for path in ("ant/000.png", "bee/001.png")]
    check_readable(listed)


def test_a_file_ends_where_a_pattern_does_not_reach(images: Path, tmp_path: Path) -> None:
    out = shards.tars(images, tmp_path / "tar")
    one = read_image_set(out / "train-*1.tar")
    assert set(one.table["path"].str.partition("/")[0]) == {"train-00001.tar"}
    assert one.table.equals(read_image_set(out / "train-00001.tar").table)
    assert len(read_image_set(out / "train-{00000..00001}.tar").table) == 2 * len(one.table)


def test_labels_of_members(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(image := png())
    members = [
        ("./in/x.one.png", image),
        ("in/x.cls", b"7\n"),
        ("deep/er/bee/y.png", image),
        ("z.png", image),
        ("z.json", b'{"cls": 3, "label": "no"}'),
        ("cafe\u0301/w.png", image),
        ("in/.hidden.png", image),
        ("in/readme.txt", b"x"),
    ]
    found = read_image_set(shards.write_tar(tmp_path / "x.tar", members))
    assert found.table["label"].tolist() == ["7", "bee", "3", "caf\u00e9"]
    assert found.table["path"].tolist()[0] == "x.tar/in/x.one.png"
    assert "1 .txt" in found.remarks[0] and len(found.remarks) == 1


def png() -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG")
    return buffer.getvalue()


def test_neighbours_in_a_shard_are_read_as_one_piece(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = read_image_set(put(shards.tars(images, tmp_path / "pieces"), "memory://bucket"))
    asked: list[list[int]] = []
    fs = location("memory://bucket").fs
    ours = fs.cat_ranges
    monkeypatch.setattr(fs, "cat_ranges", lambda *given, **more: asked.append(given[1]) or ours(*given, **more))
    read_all(found)
    assert max(map(len, asked)) == 1 and len(asked) == 13  # 12 batches of 8, one of them in two shards


# What is wrong


def tar_of(folder: Path, **members: bytes) -> Path:
    return shards.write_tar(
        folder / "set" / "x.tar", [(name.replace("__", "."), data) for name, data in members.items()]
    )


def cut(place: Path, size: int) -> Path:
    """A file of which only the beginning is there."""
    place.write_bytes(place.read_bytes()[:size])
    return place


def arrow_of(folder: Path, images: Path) -> Path:
    return shards.saved(images, folder / "saved") / "data-00001-of-00002.arrow"


#: What is done to a folder of shards, where --images leads, and what is said of it.
BROKEN: dict[str, tuple[Callable[[Path, Path], Path], str]] = {
    "tar cut in an image": (
        lambda folder, images: cut(shards.tars(images, folder / "x") / "train-00001.tar", 9000),
        r"The shard .*train-00001.tar can't be read: '.*png' should end at byte \d+, and the file has 9000.*fetch",
    ),
    "tar cut between images": (
        lambda folder, images: cut(tar_of(folder, a__png=b"x", a__cls=b"ant"), 2048),
        "x.tar can't be read: its end mark is missing",
    ),
    "no tar": (
        lambda folder, images: cut(shards.write_tar(folder / "x.tar", []), 0),
        "x.tar can't be read: empty file",
    ),
    "two tars in one": (
        lambda folder, images: twice(tar_of(folder, a__png=b"x", a__cls=b"ant")),
        "more follows its end mark",
    ),
    "compressed": (
        lambda folder, images: shards.write_tar(folder / "x.tar.gz", []),
        "x.tar.gz is compressed, so no image in it can be read by itself. Decompress it",
    ),
    "no label": (
        lambda folder, images: tar_of(folder, b__png=b"x", a__png=b"x", a__cls=b"ant"),
        r"1 of the 2 images in .*x.tar have no label, the first is 'x.tar/b.png'. In a tar file",
    ),
    "no json": (
        lambda folder, images: tar_of(folder, a__png=b"x", a__json=b"{"),
        "x.tar can't be read: Expecting property",
    ),
    "no image": (lambda folder, images: tar_of(folder, a__txt=b"x"), "holds no images.*1 .txt"),
    "missing shard": (
        lambda folder, images: shards.tars(images, folder / "x") / "train-{00000..00007}.tar",
        "There is no shard .*train-00002.tar",
    ),
    "no match": (lambda folder, images: folder / "x-*.tar", r"No file in .* is called x-\*.tar"),
    "missing by its own count": (
        lambda folder, images: removed(shards.parquets(images, folder / "x") / "train-00000-of-00002.parquet"),
        "1 of the 2 shards .*train… are missing, the first is number 0",
    ),
    "two parts": (
        lambda folder, images: copied_as(
            shards.parquets(images, folder / "x") / "train-00000-of-00002.parquet", "test"
        ),
        r"several parts of a data set \(test, train\); give --images one of them",
    ),
    "parquet cut off": (
        lambda folder, images: cut(shards.parquets(images, folder / "x") / "train-00001-of-00002.parquet", 999).parent,
        "train-00001-of-00002.parquet can't be read: Parquet magic bytes not found",
    ),
    "parquet without labels": (
        lambda folder, images: pq.write_table(pa.table({"image": [b"x"]}), folder / "x.parquet") or folder,
        r"no column holds labels; it has \['image'\]. Call one 'label'",
    ),
    "parquet of two images": (
        lambda folder, images: pq.write_table(pa.table({"l": [b"x"], "r": [b"x"]}), folder / "x.parquet") or folder,
        r"the columns \['l', 'r'\] could each hold the images",
    ),
    "unknown label": (
        lambda folder, images: pq.write_table(unlabelled(images), folder / "x.parquet") or folder,
        "1 of the 90 images in .* have no label, the first is 'x.parquet/0'",
    ),
    "arrow cut off": (
        lambda folder, images: cut(arrow_of(folder, images), 9999).parent,
        "data-00001-of-00002.arrow can't be read: its end mark is missing",
    ),
    "arrow missing": (
        lambda folder, images: removed(arrow_of(folder, images)),
        "1 of the 2 shards of .*saved are missing, the first is 'data-00001-of-00002.arrow'",
    ),
    "several saved parts": (
        lambda folder, images: written(shards.saved(images, folder / "saved").parent / "dataset_dict.json"),
        r"a data set in several parts \(saved\); give --images one of them",
    ),
    "folders of shards": (
        lambda folder, images: shards.tars(images, folder / "x" / "data").parent,
        "Shards lie there: give the folder just above them",
    ),
}


def twice(place: Path) -> Path:
    place.write_bytes(place.read_bytes() * 2)
    return place


def removed(place: Path) -> Path:
    place.unlink()
    return place.parent


def written(place: Path) -> Path:
    place.write_text("{}")
    return place.parent


def copied_as(place: Path, part: str) -> Path:
    place.with_name(place.name.replace("train", part)).write_bytes(place.read_bytes())
    return place.parent


def unlabelled(images: Path) -> pa.Table:
    rows = shards.table(shards.mixed(images))
    labels = [-1, *rows["label"].to_pylist()[1:]]
    return rows.set_column(1, rows.schema.field("label"), pa.array(labels, pa.int64()))


@pytest.mark.parametrize("case", BROKEN)
def test_shards_that_can_not_be_read_are_named(case: str, images: Path, tmp_path: Path) -> None:
    make, match = BROKEN[case]
    with pytest.raises(DatasetError, match=match):
        read_image_set(make(tmp_path, images))


@pytest.mark.parametrize("kind", sorted(shards.KINDS))
def test_what_is_lost_later_is_unreadable_and_leaves_the_others_alone(kind: str, images: Path, tmp_path: Path) -> None:
    found = read_image_set(shards.KINDS[kind](images, tmp_path / kind))
    files = [found.file(row) for row in (0, len(found.table) - 1)]
    first, last = files
    assert isinstance(first, Part | Row)
    cut(Path(str(first.shard)), 600)
    contents = Reader().read(files)
    assert isinstance(contents[0], Exception)
    assert isinstance(contents[1], bytes) == (first.shard != last.shard)  # type: ignore[union-attr]
    if kind == "plain.parquet":
        with pytest.raises(DatasetError, match="No image of 1 of the 1 shards can be read"):
            check_readable(found)


# Whatever lies there, it ends in a result or in a message


@settings(max_examples=30, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("kind", ["tar", "plain.parquet", "saved"])
def test_no_bytes_of_a_shard_end_in_a_traceback(
    kind: str, images: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = small_shard(kind, images, tmp_path_factory)
    place = data.draw(st.integers(0, len(whole) - 1))
    more = data.draw(st.binary(max_size=24))
    if data.draw(st.booleans()):
        broken = whole[:place] + more + whole[place + len(more) :]
    else:
        broken = data.draw(st.sampled_from([whole[:place], more, whole[:place] + more + whole[place:]]))
    shard = tmp_path_factory.getbasetemp() / f"broken.{kind.replace('saved', 'arrow').rpartition('.')[2]}"
    shard.write_bytes(broken)
    try:
        found = list_shards([shard])
    except SummitError:
        return
    set_ = ImageSet(shard.parent, found.table, found.unused, Duplicates(0, 0, (), ()))
    assert all(isinstance(content, bytes | Exception) for content in read_all(set_))


def small_shard(kind: str, images: Path, factory: pytest.TempPathFactory) -> bytes:
    """Bytes of a shard of few images."""
    out = factory.getbasetemp() / f"small-{kind}"
    if not out.exists():
        shards.KINDS[kind](images, out)
    (file, *_) = [out] if out.is_file() else sorted(out.glob("*0*"))
    return file.read_bytes()
