"""Images of a folder of class folders, written again as shards of every kind."""

import json
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def mixed(folder: Path) -> list[Path]:
    """The images of a folder with the classes taking turns, as in shards."""
    return sorted(folder.glob("*/*.png"), key=lambda file: (file.name, file.parent.name))


def write_tar(path: Path, members: Sequence[tuple[str, bytes]]) -> Path:
    """A tar file of some members."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, BytesIO(data))
    return path


def halves(files: Sequence[Path]) -> Iterator[tuple[int, Sequence[Path]]]:
    """Two shards' worth of files."""
    middle = len(files) // 2
    yield from enumerate((files[:middle], files[middle:]))


def tars(images: Path, out: Path) -> Path:
    """WebDataset's members of one key; the second shard has folders instead."""
    for number, files in halves(mixed(images)):
        members = []
        for place, file in enumerate(files):
            if number:
                members.append((f"{file.parent.name}/{file.name}", file.read_bytes()))
            elif place % 2:
                members += [(f"{place:04}.json", json.dumps({"label": file.parent.name}).encode())]
                members += [(f"{place:04}.png", file.read_bytes())]
            else:
                members += [(f"{place:04}.png", file.read_bytes()), (f"{place:04}.cls", file.parent.name.encode())]
        write_tar(out / f"train-{number:05}.tar", members)
    return out


def table(files: Sequence[Path]) -> pa.Table:
    """As Hugging Face's datasets: a struct of bytes and path, and numbers of classes whose names the schema has."""
    names = sorted({file.parent.name for file in files})
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": names}}
    rows = {
        "image": [{"bytes": file.read_bytes(), "path": file.name} for file in files],
        "label": [names.index(file.parent.name) for file in files],
    }
    kind = pa.schema(
        [
            ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            ("label", pa.int64()),
        ],
        {"huggingface": json.dumps({"info": {"features": features}})},
    )
    return pa.table(rows, kind)


def parquets(images: Path, out: Path) -> Path:
    """Two Parquet files of several row groups."""
    out.mkdir()
    for number, files in halves(mixed(images)):
        pq.write_table(table(files), out / f"train-{number:05}-of-00002.parquet", row_group_size=20)
    return out


def plain_parquet(images: Path, out: Path) -> Path:
    """One Parquet file of bytes and texts."""
    files = mixed(images)
    columns = {"jpg": [file.read_bytes() for file in files], "cls": [file.parent.name for file in files]}
    pq.write_table(pa.table(columns), out)
    return out


def saved(images: Path, out: Path) -> Path:
    """What `save_to_disk` writes: streams of Arrow and what is in them."""
    out.mkdir()
    names = []
    for number, files in halves(mixed(images)):
        names.append(f"data-{number:05}-of-00002.arrow")
        rows = table(files)
        with pa.OSFile(str(out / names[-1]), "wb") as sink, pa.ipc.new_stream(sink, rows.schema) as stream:
            stream.write_table(rows, max_chunksize=10)
    (out / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (out / "dataset_info.json").write_text("{}")
    return out


KINDS: Mapping[str, Callable[[Path, Path], Path]] = {
    "tar": tars,
    "parquet": parquets,
    "plain.parquet": plain_parquet,
    "saved": saved,
}
