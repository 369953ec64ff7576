"""Pictures of channels as files, in the original's two layouts."""

import io
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from summit_dask.cli_formats import COMMANDS
from summit_dask.facts.errors import FormatError
from summit_dask.facts.schema import PICTURE_KINDS
from summit_dask.formats.exports import export
from summit_dask.formats.original_import import import_summit
from summit_dask.formats.picture_files import export_pictures, import_pictures
from summit_dask.store.pictures import add_pictures, made_with, read_pictures
from summit_dask.store.store import Store
from summit_dask.store.tree import open_store
from tests import originals, stores

SPRITE_KINDS = ["neuron", "channel", "negative", "diversity-0", "diversity-1", "diversity-2", "diversity-3"]
COMMAND = {command.name: command for command in COMMANDS}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store of the layers stem (8 channels), mixed1 (12), mixed2 (16) and mixed3 (10), without pictures."""
    stores.make_store(tmp_path / "store", parts={"graphs"})
    found = Store.open(tmp_path / "store", writable=True)
    found.loosen()
    return found


def _encoded(form: str = "JPEG", size: int = 20, seed: int = 0) -> bytes:
    file = io.BytesIO()
    values = np.random.default_rng(seed).integers(0, 256, (size // 4, size // 4, 3), dtype=np.uint8)
    Image.fromarray(values).resize((size, size)).save(file, form)
    return file.getvalue()


def _single(folder: Path, layer: str, channel: int, kind: str, content: bytes, suffix: str = "jpg") -> Path:
    parent = kind[:9] if kind.startswith("dataset") else kind
    path = folder / parent / f"{layer}-{channel}-{kind}.{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _sprite(n_rows: int, width: int = 7 * 147 + 10 * 74) -> Image.Image:
    """Rows of cells whose picture says what it is: red from its row, green from its kind, and a white corner."""
    pixels = np.zeros((n_rows * 147, width, 3), np.uint8)
    pixels[:, :, 2] = 200
    for row in range(n_rows):
        for place in range(7):
            cell = pixels[row * 147 : (row + 1) * 147, place * 147 : (place + 1) * 147]
            cell[:], cell[:60, :60] = (50 * row, 10 * place, 0), 255
        for place in range(10):
            left = 7 * 147 + place * 74
            for top, green in ((0, 100), (74, 200)):
                cell = pixels[row * 147 + top : row * 147 + top + 73, left : left + 73]
                cell[:], cell[:30, :30] = (50 * row, green + place, 0), 255
    return Image.fromarray(pixels)


def test_single_files_are_kept_byte_for_byte(store: Store, tmp_path: Path) -> None:
    contents = {
        (channel, kind): _encoded(seed=7 * channel + place)
        for channel in (0, 11)
        for place, kind in enumerate(PICTURE_KINDS)
    }
    for (channel, kind), content in contents.items():
        _single(tmp_path / "from", "mixed1", channel, kind, content)
    _single(tmp_path / "from", "stem", 3, "channel", _encoded("PNG"), "png")
    report = import_pictures(store, tmp_path / "from")
    assert (report.n_pictures, report.problems) == (2 * 27 + 1, ())
    assert read_pictures(store, "mixed1") == contents
    assert read_pictures(store, "stem") == {(3, "channel"): _encoded("PNG")}
    assert export_pictures(store, tmp_path / "to") == 55
    for path in (tmp_path / "from").rglob("mixed1*.jpg"):
        assert (tmp_path / "to" / path.relative_to(tmp_path / "from")).read_bytes() == path.read_bytes()
    assert (tmp_path / "to/channel/stem-3-channel.jpg").read_bytes().startswith(b"\xff\xd8")
    assert "pictures" in open_store(tmp_path / "store").children


def test_import_keeps_what_is_there(store: Store, tmp_path: Path) -> None:
    made = {(2, "channel"): _encoded(seed=1), (2, "neuron"): _encoded(seed=2)}
    add_pictures(store, "stem", made, settings=9)
    _single(tmp_path / "from", "stem", 2, "channel", _encoded(seed=3))
    import_pictures(store, tmp_path / "from")
    assert read_pictures(store, "stem") == {(2, "channel"): _encoded(seed=3), (2, "neuron"): _encoded(seed=2)}
    settings = made_with(store, "stem")[2]
    assert settings[[PICTURE_KINDS.index(kind) for kind in ("channel", "neuron")]].tolist() == [0, 9]


def test_sprite_is_cut_as_the_original_cuts_it(store: Store, tmp_path: Path) -> None:
    _sprite(3).save(tmp_path / "mixed1_00004.jpg", quality=100, subsampling=0)
    report = import_pictures(store, tmp_path)
    assert (report.n_pictures, report.problems) == (3 * 27, ())
    for (channel, kind), content in read_pictures(store, "mixed1").items():
        pixels = np.asarray(Image.open(io.BytesIO(content))).astype(int)
        is_made = kind in SPRITE_KINDS
        assert pixels.shape == ((147, 147, 3) if is_made else (73, 73, 3))
        number = int(kind[-1]) if kind[-1].isdigit() else 0
        green = 10 * SPRITE_KINDS.index(kind) if is_made else (100 if "-p-" in kind else 200) + number
        # The far corner has the cell's own colour: nothing of the neighbours was taken along.
        np.testing.assert_allclose(pixels[-5:, -5:].mean(axis=(0, 1)), [50 * (channel - 4), green, 0], atol=4)
        np.testing.assert_allclose(pixels[:5, :5], 255, atol=4)


def test_single_file_comes_before_the_sprite(store: Store, tmp_path: Path) -> None:
    _sprite(1).save(tmp_path / "mixed1_00000.jpg")
    _single(tmp_path, "mixed1", 0, "channel", _encoded(seed=5))
    import_pictures(store, tmp_path)
    found = read_pictures(store, "mixed1")
    assert len(found) == 27
    assert found[0, "channel"] == _encoded(seed=5)


def test_sprites_come_back(store: Store, tmp_path: Path) -> None:
    """Eleven channels are two sprites; a picture that is missing stays missing."""
    items = {(c, kind): _encoded(size=147, seed=c) for c in (0, 1, 10) for kind in ("channel", "diversity-3")}
    items |= {(10, f"dataset-n-{i}"): _encoded(size=73, seed=50 + i) for i in range(10)}
    add_pictures(store, "mixed1", items)
    assert export_pictures(store, tmp_path / "to", sprites=True) == 2
    names = {p.name: Image.open(io.BytesIO(p.read_bytes())).size for p in (tmp_path / "to").iterdir()}
    assert names == {"mixed1_00000.jpg": (1769, 294), "mixed1_00010.jpg": (1769, 147)}
    stores.make_store(tmp_path / "other", parts={"graphs"})
    other = Store.open(tmp_path / "other", writable=True)
    assert import_pictures(other, tmp_path / "to").problems == ()
    back = read_pictures(other, "mixed1")
    assert set(back) == set(items)
    for key, content in items.items():
        before, after = (np.asarray(Image.open(io.BytesIO(b)).convert("RGB"), float) for b in (content, back[key]))
        assert np.abs(before - after).mean() < 3


def test_a_picture_of_another_size_fills_its_cell(store: Store, tmp_path: Path) -> None:
    add_pictures(store, "mixed1", {(0, "channel"): _encoded(size=300), (0, "dataset-p-0"): _encoded(size=20)})
    export_pictures(store, tmp_path / "to", sprites=True)
    stores.make_store(tmp_path / "other", parts={"graphs"})
    other = Store.open(tmp_path / "other", writable=True)
    import_pictures(other, tmp_path / "to")
    for (_, kind), content in read_pictures(other, "mixed1").items():
        side = 147 if kind == "channel" else 73
        before = Image.open(io.BytesIO(_encoded(size=300 if kind == "channel" else 20))).resize((side, side))
        after = Image.open(io.BytesIO(content))
        assert np.abs(np.asarray(before, float) - np.asarray(after, float)).mean() < 5


def test_layers_are_renamed(store: Store, tmp_path: Path) -> None:
    table = {"mixed1": "first"}
    _single(tmp_path / "from", "first", 0, "channel", _encoded())
    _single(tmp_path / "from", "mixed1", 1, "channel", _encoded())
    assert import_pictures(store, tmp_path / "from", table).n_pictures == 2
    assert (0, "channel") in read_pictures(store, "mixed1")
    export_pictures(store, tmp_path / "to", layer_table=table)
    assert (tmp_path / "to/channel/first-0-channel.jpg").is_file()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("mixed9-1-channel.jpg", _encoded(), ("layer of the store", "'mixed9'", "mixed1")),
        ("mixed1-12-channel.jpg", _encoded(), ("0 to 11", "12")),
        ("mixed1-3-canal.jpg", _encoded(), ("canal", "diversity-0")),
        ("mixed1-3-channel.jpg", b"no picture", ("JPEG, PNG or WebP", "no picture")),
        ("mixed1_00000.jpg", "height", ("multiple of 147", "150")),
        ("mixed1_00000.jpg", "width", ("at least 1768", "1500")),
        ("mixed1_00011.jpg", "rows", ("0 to 11", "12")),
        ("mixed1_00000.jpg", "cut", ("whole picture", "truncated")),
    ],
)
def test_wrong_files_are_named_and_the_rest_goes_on(
    name: str, content: bytes | str, words: tuple[str, ...], store: Store, tmp_path: Path
) -> None:
    folder = tmp_path / "from"
    folder.mkdir()
    if isinstance(content, bytes):
        (folder / name).write_bytes(content)
    else:
        sizes = {"height": (1769, 150), "width": (1500, 147), "rows": (1769, 294), "cut": (1769, 147)}
        file = io.BytesIO()
        Image.effect_noise(sizes[content], 50).save(file, "JPEG")
        (folder / name).write_bytes(file.getvalue()[: len(file.getvalue()) // 2 if content == "cut" else None])
    _single(folder, "mixed2", 0, "neuron", _encoded())
    report = import_pictures(store, folder)
    assert report.n_pictures == 1
    assert len(report.problems) == 1
    assert all(word in report.problems[0] for word in (name, *words)), report.problems


def test_folder_without_pictures(store: Store, tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    with pytest.raises(FormatError, match="mixed3a-101-channel"):
        import_pictures(store, tmp_path / "from")
    assert export_pictures(store, tmp_path / "to") == 0


def test_own_examples_go_out_as_dataset_pictures(tmp_path: Path) -> None:
    stores.make_store(tmp_path / "store", parts={"examples", "pictures"})
    store = Store.open(tmp_path / "store")
    export_pictures(store, tmp_path / "to")
    assert len(list((tmp_path / "to/dataset-p").glob("mixed1-*.jpg"))) == 12 * stores.RANKS
    assert len(list((tmp_path / "to/channel").glob("mixed1-*.jpg"))) == len(
        [key for key in read_pictures(store, "mixed1") if key[1] == "channel"]
    )


def test_examples_that_are_missing_have_no_files(tmp_path: Path) -> None:
    """Of channel 3 there are two images; of channel 4 the third could not be cut."""
    stores.make_store(tmp_path / "store", parts={"examples"})
    store = Store.open(tmp_path / "store", writable=True)
    store.loosen()
    store.group["examples/mixed1/image_index"][3, 2:] = -1
    offset = store.read("examples/mixed1/thumbnail_offset")
    offset[4 * stores.RANKS + 3] = offset[4 * stores.RANKS + 2]
    store.group["examples/mixed1/thumbnail_offset"][:] = offset
    # An imported example comes before the run's own.
    add_pictures(store, "mixed1", {(2, "dataset-p-1"): _encoded()})
    export_pictures(store, tmp_path / "to")
    assert (tmp_path / "to/dataset-p/mixed1-2-dataset-p-1.jpg").read_bytes() == _encoded()
    names = {path.stem for path in (tmp_path / "to/dataset-p").iterdir()}
    ranks = {c: [r for r in range(10) if f"mixed1-{c}-dataset-p-{r}" in names] for c in (2, 3, 4)}
    assert ranks == {2: list(range(10)), 3: [0, 1], 4: [0, 1, 3, 4, 5, 6, 7, 8, 9]}


def test_ten_examples_have_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There are no more kinds of pictures."""
    monkeypatch.setattr(stores, "RANKS", 12)
    stores.make_store(tmp_path / "store", parts={"examples"})
    export_pictures(Store.open(tmp_path / "store"), tmp_path / "to")
    assert len(list((tmp_path / "to/dataset-p").glob("stem-*.jpg"))) == 8 * 10


def test_pictures_travel_with_the_original_form(tmp_path: Path) -> None:
    folder = originals.make(tmp_path / "from")
    path = _single(folder / "data/feature-vis", "mixed4a", 507, "dataset-p-3", _encoded())
    (path.parent / "mixed4a-508-channel.jpg").write_bytes(_encoded())
    report = import_summit(folder, tmp_path / "store")
    assert report.n_pictures == 1
    assert "508" in report.problems[0]
    export(tmp_path / "store", tmp_path / "to", "summit")
    assert (tmp_path / "to" / path.relative_to(folder)).read_bytes() == _encoded()


def test_commands(store: Store, tmp_path: Path) -> None:
    _single(tmp_path / "from", "first", 0, "channel", _encoded())
    (tmp_path / "layers.json").write_text('{"mixed1": "first"}')
    layers = ["--layers", str(tmp_path / "layers.json")]
    run = CliRunner().invoke
    result = run(COMMAND["import-pictures"], [str(store.path), str(tmp_path / "from"), *layers])
    assert (result.exit_code, "1 pictures; 0 problems" in result.output) == (0, True)
    result = run(COMMAND["export-pictures"], [str(store.path), str(tmp_path / "to"), "--sprites", *layers])
    assert (result.exit_code, [p.name for p in (tmp_path / "to").iterdir()]) == (0, ["first_00000.jpg"])


def test_published_pictures(shared_data: Path, tmp_path: Path) -> None:
    """A folder of them: unchanged there and back."""
    folder = shared_data / "summit/feature-vis/channel"
    stores.make_store(tmp_path / "store", parts=(), graph=originals.layer_graph())
    store = Store.open(tmp_path / "store", writable=True)
    assert import_pictures(store, folder).n_pictures == 221
    export_pictures(store, tmp_path / "to")
    for path in folder.iterdir():
        assert (tmp_path / "to/channel" / path.name).read_bytes() == path.read_bytes()
