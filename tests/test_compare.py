"""Two graphs side by side: against counts made anew, and for graphs that can't be held against each other."""

import json
from pathlib import Path
from xml.etree import ElementTree

import networkx as nx
import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

from summit_dask import Channel, attribution_graph, compare, open_store
from summit_dask.arrays.activations import select_channels
from summit_dask.arrays.comparison import difference
from summit_dask.cli import commands
from summit_dask.facts import schema
from summit_dask.facts.errors import StoreMismatchError
from tests.stores import make_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("compare") / "store.zarr"
    make_store(path, parts=("values", "matrices", "graphs"))
    return path


@pytest.fixture(scope="module")
def tree(store: Path) -> xr.DataTree:
    return open_store(store)


def test_shares_are_those_of_the_images_and_sides_those_of_the_graphs(tree: xr.DataTree) -> None:
    right = tree["images/predicted"][:, 0] == tree["classes/output_index"][tree["images/class_index"]]
    own = (tree["images/class_index"].values == 2) & (tree["images/status"].values == schema.READ) & right.values
    a = attribution_graph(tree, "n00000001", p=0.3)
    b = attribution_graph(tree, "n00000002", images=right, p=0.3)
    found = compare(a, b)
    for row in found.channels.itertuples():
        channel = Channel(row.layer, row.channel)
        assert row.held_by == {(1, 1): "both", (1, 0): "a", (0, 1): "b", (0, 0): "neither"}[channel in a, channel in b]
        assert row.share_a == tree[f"matrices/{row.layer}/activation_count"].values[1, row.channel] / 5
        values = tree[f"activations/{row.layer}/value"].values[own]
        left_out = [7] if row.layer == "stem" else []
        assert row.share_b == select_channels(values, 0.03, left_out)[:, row.channel].mean()
        assert row.difference == row.share_a - row.share_b
        assert row.low <= row.difference <= row.high
    held = found.channels[found.channels["held_by"] != "neither"]
    assert {Channel(*row) for row in zip(held["layer"], held["channel"], strict=True)} == {*a, *b}
    union = found.to_networkx()
    assert set(union.edges) == {*a.edges, *b.edges}
    for source, target, values in union.edges.data():
        expected = [
            g[source][target]["influence"] / n if g.has_edge(source, target) else None for g, n in ((a, 5), (b, 4))
        ]
        assert [None if np.isnan(values[side]) else values[side] for side in ("share_a", "share_b")] == expected


def test_a_graph_and_itself_differ_nowhere(tree: xr.DataTree) -> None:
    graph = attribution_graph(tree, "n00000003")
    found = compare(graph, graph)
    assert found.layers["similarity"].tolist() == pytest.approx([1.0] * len(found.layers))
    assert set(found.channels["held_by"]) <= {"both", "neither"}
    assert not found.channels["is_clear"].any()
    assert found.layers["n_both"].sum() == len(graph)


def test_intervals_are_those_of_samples_of_the_images() -> None:
    generator = np.random.default_rng(0)
    used = [generator.random((n, 1)) < share for n, share in ((40, 0.3), (90, 0.6))]
    found = difference(used[0].sum(0), 40, used[1].sum(0), 90)
    samples = [side[generator.integers(0, len(side), len(side))].mean() for side in used for _ in range(4000)]
    low, high = np.quantile(np.subtract(samples[:4000], samples[4000:]), [0.05, 0.95])
    assert found.low[0] == pytest.approx(low, abs=0.03)
    assert found.high[0] == pytest.approx(high, abs=0.03)
    assert found.is_clear[0] == (high < 0)


def test_a_side_without_images_has_no_shares(tree: xr.DataTree) -> None:
    none = attribution_graph(tree, images=np.zeros(tree.sizes["image"], bool))
    found = compare(attribution_graph(tree, "n00000001"), none)
    assert found.channels["share_b"].isna().all()
    assert not found.channels["is_clear"].any()
    assert (found.layers["similarity"] == 0).all()


def test_graphs_that_can_not_be_compared_are_refused(tree: xr.DataTree) -> None:
    graph = attribution_graph(tree, "n00000001")
    with pytest.raises(StoreMismatchError, match=r"the mass is 0\.03 in a and 0\.2 in b"):
        compare(graph, attribution_graph(tree, "n00000001", mass=0.2))
    with pytest.raises(StoreMismatchError, match="graph b is of the type AttributionGraph and doesn't"):
        compare(graph, graph.copy())
    with pytest.raises(StoreMismatchError, match="graph a is of the type DiGraph"):
        compare(nx.DiGraph(), graph)


@pytest.mark.parametrize("kind", ["table", "csv", "json", "graphml", "svg"])
def test_the_command_compares_classes_of_one_store_or_two(store: Path, kind: str) -> None:
    one = CliRunner().invoke(commands, ["compare", str(store), "n00000001", "n00000002", "--format", kind])
    two = CliRunner().invoke(commands, ["compare", str(store), str(store), "n00000001", "n00000002", "--format", kind])
    assert one.exit_code == 0, one.output
    assert one.output == two.output
    if kind == "table":
        assert one.output.startswith("a: n00000001, b: n00000002\nLayers, input side first:\n  stem: similarity ")
    elif kind == "csv":
        assert one.output.startswith(
            "layer,channel,held_by,share_a,share_b,difference,low,high,is_clear,score_a,score_b\n"
        )
    elif kind == "json":
        assert set(json.loads(one.output)) == {"channels", "edges", "layers"}


def test_a_union_is_written_whole_as_graphml_and_drawn_with_what_each_holds(store: Path, tree: xr.DataTree) -> None:
    names = ["n00000001", "n00000002"]
    union = compare(*(attribution_graph(tree, name) for name in names)).to_networkx()
    written, drawn = (
        CliRunner().invoke(commands, ["compare", str(store), *names, "--format", kind]) for kind in ("graphml", "svg")
    )
    graph = nx.parse_graphml(written.output)
    assert len(graph) == len(union) and graph.number_of_edges() == union.number_of_edges()
    for source, target, values in union.edges.data():
        kept = graph.edges[f"{source.layer}/{source.index}", f"{target.layer}/{target.index}"]
        assert kept["held_by"] == values["held_by"]
        assert kept["weight"] == np.nanmax([values["share_a"], values["share_b"]])
    svg = ElementTree.fromstring(drawn.output)
    titles = [title.text or "" for title in svg.iter("{http://www.w3.org/2000/svg}title")]
    for node in union:
        assert any(title.startswith(f"{node.layer} {node.index}: ") for title in titles)
    dashed = [line for line in svg.iter("{http://www.w3.org/2000/svg}path") if line.get("stroke-dasharray")]
    only_b = [v for *_, v in (*union.nodes.data(), *union.edges.data()) if v["held_by"] == "b"]
    assert len(dashed) == len(only_b) + 1  # the legend's


def test_the_command_compares_groups_and_tells_that_they_are_small(store: Path) -> None:
    words = ["compare", str(store), "right", "wrong", "--by", "correct"]
    result = CliRunner().invoke(commands, words)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("a: right, b: wrong\nLayers, input side first:\n")
    assert "The group 'wrong' has 4 images, so that much of its graph may be chance" in result.stderr
    refused = CliRunner().invoke(commands, [*words, "--by", "size"])
    assert "no column 'size' to group them by" in str(refused.exception)


def test_too_few_words_are_refused(store: Path) -> None:
    result = CliRunner().invoke(commands, ["compare", str(store), "n00000001"])
    assert result.exit_code == 2
    assert "expected STORE [STORE2] A B, found 2 words" in result.output
