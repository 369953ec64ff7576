"""Questions to a store, on small ones that are made up: counts of a class's own images, and what `info` says."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from summit_dask.arrays.activations import select_channels
from summit_dask.facts import schema
from summit_dask.facts.layergraph import LayerGraph
from summit_dask.questions.info import describe, printed
from summit_dask.questions.query import attribution_graph
from summit_dask.store.tree import open_store
from tests.stores import layer_graph, make_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirteen classes; the last image of each but the first is unreadable."""
    path = tmp_path_factory.mktemp("questions") / "store.zarr"
    make_store(path, n_classes=13, parts=("values", "matrices"))
    return path


@pytest.mark.parametrize(("mass", "excluded"), [(0.9, None), (None, {"mixed1": [2, 5], "stem": [1]}), (0.4, {})])
def test_another_mass_or_exclusion_counts_the_class_s_readable_images(
    store: Path, mass: float | None, excluded: Mapping[str, Sequence[int]] | None
) -> None:
    tree = open_store(store)
    own = (tree["images/class_index"].values == 3) & (tree["images/status"].values == schema.READ)
    graph = attribution_graph(tree, "n00000003", p=1.0, mass=mass, excluded=excluded)
    left_out = {"stem": [7]} if excluded is None else excluded
    assert len(graph) > 20
    for channel, count in graph.nodes(data="count"):
        values = tree[f"activations/{channel.layer}/value"].values[own]
        selected = select_channels(values, mass or 0.03, left_out.get(channel.layer, ()))
        assert count == selected[:, channel.index].sum()


def test_info_tells_how_often_the_first_guess_is_right(store: Path) -> None:
    classes = open_store(store)["classes"]
    facts: dict[str, Any] = describe(store)
    assert facts["top1"] == pytest.approx(
        classes["n_correct"].values.sum() / classes["n_images"].values.sum(), abs=1e-6
    )
    assert json.loads(json.dumps(facts)) == facts
    assert f"top-1 {facts['top1']:.1%}" in printed(facts)


def test_info_names_some_of_many_unreadable_images(store: Path) -> None:
    facts = describe(store)
    assert len(facts["unreadable"]) == 12
    lines = printed(facts).splitlines()
    assert lines[lines.index("12 unreadable images:") + 10 :] == [
        "  n00000010/0065.jpg: cannot identify image file",
        "  and 2 more (info --json lists all)",
    ]


def test_info_tells_what_is_noted_of_the_hops_into_a_layer(tmp_path: Path) -> None:
    plain = layer_graph()
    hops = tuple(replace(hop, notes=("gate: se",)) if hop.target == "mixed2.reduce" else hop for hop in plain.hops)
    make_store(tmp_path / "store", parts=set(), graph=LayerGraph(plain.layers, hops))
    facts = describe(tmp_path / "store")
    assert {layer["name"]: layer["notes"] for layer in facts["layers"] if layer["notes"]} == {
        "mixed2.reduce": "gate: se", "mixed2": "gate: se",
    }  # fmt: skip
    assert [line for line in printed(facts).splitlines() if "gate" in line] == ["  mixed2: gate: se"]
