"""Matching classes to the network's outputs: by tables in the forms that people have, by names, by order."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from summit_dask.facts.errors import ClassMappingError
from summit_dask.images.classes import FOLDER_ORDER, Outputs, map_classes

TABLE = [
    {"index": 0, "synset": "n01", "name": "crane"},
    {"index": 2, "synset": "n03", "name": "crane"},
    {"index": 1, "synset": "n02", "name": "tench"},
]


def mapped(path: Path, labels: list[str], content: Any, n_outputs: int = 3) -> Outputs:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return map_classes(labels, n_outputs, str(path), None)


def test_classes_are_found_by_synset_and_by_a_name_that_is_unique(tmp_path: Path) -> None:
    outputs = mapped(tmp_path / "t.json", ["tench", "n03"], TABLE)
    assert outputs == Outputs(("crane", "tench", "crane"), ("n01", "n02", "n03"), {"tench": 1, "n03": 2})


def test_a_folder_column_comes_before_synset_and_name(tmp_path: Path) -> None:
    table = "index,synset,name,folder\n0,n01,crane,tench\n1,n02,tench,\n2,,,007\n"
    assert mapped(tmp_path / "t.csv", ["tench", "n02", "007"], table).of_class == {"tench": 0, "n02": 1, "007": 2}


@pytest.mark.parametrize("table", [{"0": ["n01", "ant"], "2": ["n03", "bee"]}, {"0": "ant", "2": "bee"}])
def test_a_table_may_be_an_object_by_index_and_hold_some_outputs(tmp_path: Path, table: Any) -> None:
    outputs = mapped(tmp_path / "t.json", ["ant", "bee"], table)
    assert outputs.of_class == {"ant": 0, "bee": 2}
    assert outputs.names == ("ant", "", "bee")


def test_classes_by_the_weights_own_names_and_by_folder_order() -> None:
    assert map_classes(["bee"], 2, None, ["ant", "bee"]) == Outputs(("ant", "bee"), ("", ""), {"bee": 1})
    assert map_classes(["x", "y"], 2, FOLDER_ORDER, ["y", "x"]).of_class == {"x": 0, "y": 1}


@pytest.mark.parametrize(
    ("labels", "table", "match"),
    [
        (["tensch"], TABLE, r"1 of 1 classes match no output.*'tensch'.*Did you mean 'tench'"),
        (["crane"], TABLE, r"'crane'\. The outputs \[0, 2\] are all called 'crane'\. Correct"),
        (["tench", "n02"], TABLE, r"\['tench', 'n02'\] map to the same output"),
        (["a"], [{"index": 3, "name": "a"}], "from 0 to 2 .*found 3 to 3"),
        (["a"], [{"index": 0.5, "name": "a"}], "from 0 to 2"),
        (["a"], [{"index": 1, "name": "a"}, {"index": 1, "name": "b"}], "1 repeated"),
        (["a"], [{"index": "first", "name": "a"}], "from 0 to 2"),
        (["a"], [{"place": 1, "name": "a"}], r"\['place', 'name'\]; it needs index"),
        (["a"], [{"index": 1}], "at least one of synset, name and folder"),
        (["a"], [], "it needs index"),
        (["a"], "no json", "Can't read the table of classes"),
        (["a"], "7", "Can't read the table of classes"),
        (["a"], {"0": ["n01", "ant", "more"]}, "Can't read the table of classes"),
    ],
)
def test_a_mapping_is_never_guessed(tmp_path: Path, labels: list[str], table: Any, match: str) -> None:
    with pytest.raises(ClassMappingError, match=match):
        mapped(tmp_path / "t.json", labels, table)


def test_without_a_table_of_fitting_length_the_ways_out_are_named() -> None:
    for categories in (None, ["too", "few"]):
        with pytest.raises(ClassMappingError, match=r"3 outputs the 1 classes.*--classes folder-order"):
            map_classes(["a"], 3, None, categories)
    with pytest.raises(ClassMappingError, match="there are 1 classes and 3 outputs"):
        map_classes(["a"], 3, FOLDER_ORDER, None)
    with pytest.raises(ClassMappingError, match=r"table of classes nowhere\.csv: .* Give a table, or the"):
        map_classes(["a"], 3, "nowhere.csv", None)


# Forms of tables


BY_INDEX = {"0": "ant", "1": "bee", "2": "wasp"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.json", ["ant", "bee", "wasp"]),
        ("t.json", {"ant": 0, "bee": 1, "wasp": 2}),
        ("t.json", BY_INDEX),
        ("config.json", {"model_type": "resnet", "id2label": BY_INDEX, "label2id": {"ant": 0, "bee": 1, "wasp": 2}}),
        ("config.json", {"label2id": {"ant": 0, "bee": 1, "wasp": 2}}),
        ("t.txt", "ant\nbee\r\n wasp \n\n"),
        ("t.txt", "n00000001 ant\nn00000002\tbee\nn00000003  wasp\n"),
        ("t.csv", "idx,class\n0,ant\n1,bee\n2,wasp\n"),
        ("t.csv", " ID ,Class Name,wnid\n0,ant,\n1,bee,\n2,wasp,\n"),
        ("t.csv", "\ufeffindex,name\n0,ant\n1,bee\n2,wasp\n"),
        ("t.json", '\ufeff["ant", "bee", "wasp"]'),
    ],
)
def test_tables_are_taken_in_the_forms_that_people_have(tmp_path: Path, name: str, content: Any) -> None:
    outputs = mapped(tmp_path / name, ["bee", "wasp"], content)
    assert outputs.of_class == {"bee": 1, "wasp": 2}
    assert outputs.names == ("ant", "bee", "wasp")


def test_lines_may_hold_synsets_alone_or_before_names(tmp_path: Path) -> None:
    outputs = mapped(tmp_path / "t.txt", ["n00000002", "ant"], "n00000001 ant\nn00000002\nn0000003 bee\n")
    assert outputs == Outputs(("ant", "", "n0000003 bee"), ("n00000001", "n00000002", ""), {"n00000002": 1, "ant": 0})


def test_texts_of_a_csv_table_stay_as_they_are_written(tmp_path: Path) -> None:
    assert mapped(tmp_path / "t.csv", ["NA"], "id,label\n0,ant\n2,NA\n").of_class == {"NA": 2}
    assert mapped(tmp_path / "t.csv", ["007"], "id,label\n0,010\n2,007\n").of_class == {"007": 2}


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("t.txt", "ant\nbee\n", r"The list .*t\.txt has 2 entries and the network 3 outputs.*table of index and name"),
        ("t.json", ["ant", "bee", "wasp", "fly"], "has 4 entries and the network 3 outputs"),
        ("t.json", {"0": 1, "1": 0, "10": 2}, "maps numbers to numbers, and either may be the output; give a list"),
        ("t.csv", "index,class,label\n0,ant,a\n", r"columns \['class', 'label'\] of .* could each be the name"),
        ("t.csv", "index,Name,name\n0,ant,a\n", r"the columns \['name'\] more than once"),
        ("t.csv", "index,name\n0,ant\n1,caf\xe9\n", r"is not UTF-8 .*Save it as UTF-8"),
    ],
)
def test_a_table_of_two_readings_is_refused(tmp_path: Path, name: str, content: Any, match: str) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / name).write_text(text, encoding="latin-1")
    with pytest.raises(ClassMappingError, match=match):
        map_classes(["ant"], 3, str(tmp_path / name), None)


def test_numbers_mapped_to_themselves_have_one_reading(tmp_path: Path) -> None:
    assert mapped(tmp_path / "t.json", ["2", "0"], {"0": 0, "1": 1, "2": 2}).of_class == {"2": 2, "0": 0}


def test_names_match_in_either_unicode_form(tmp_path: Path) -> None:
    composed = unicodedata.normalize("NFC", "café")
    decomposed = unicodedata.normalize("NFD", "café")
    assert mapped(tmp_path / "t.csv", [composed], f"index,name\n2,{decomposed}\n").of_class == {composed: 2}
    assert map_classes([composed], 1, None, [decomposed]).of_class == {composed: 0}


# What is said


def test_the_order_of_folders_is_that_of_numbers_and_said() -> None:
    labels = [str(number) for number in range(12)]
    outputs = map_classes(labels, 12, FOLDER_ORDER, None)
    assert outputs.of_class == {label: int(label) for label in labels}
    assert outputs.summary == (
        "Class to output of the network: '0' → 0, '1' → 1, '2' → 2, …, '9' → 9, '10' → 10, '11' → 11. "
        "These are sorted as numbers; torchvision's ImageFolder sorts them as text ('0', '1', '10', …): if the network "
        "was trained in that order, give --classes a JSON list of the names in it."
    )


def test_all_of_a_few_classes_are_said_with_the_names_of_their_outputs(tmp_path: Path) -> None:
    outputs = mapped(tmp_path / "t.json", ["n02", "n03"], TABLE)
    assert outputs.summary == "Class to output of the network: 'n02' → 1 (tench), 'n03' → 2 (crane)."


@pytest.mark.parametrize("word", ["folder_order", "Folder-Order", "folderorder"])
def test_a_mistyped_folder_order_is_recognised(word: str) -> None:
    with pytest.raises(
        ClassMappingError, match=f"table of classes {word}: there is no such file. Did you mean the word folder-order"
    ):
        map_classes(["a"], 1, word, None)


@pytest.mark.parametrize("classes", [FOLDER_ORDER, None])
def test_folders_of_a_data_set_s_parts_are_recognised_as_one_level_too_high(classes: str | None) -> None:
    with pytest.raises(ClassMappingError, match="'train' and 'val' are the names of a data set's parts: give --images"):
        map_classes(["train", "val"], 3, classes, ["ant", "bee", "wasp"])
