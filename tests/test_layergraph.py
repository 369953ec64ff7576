"""The layer graph as plain data: questions, what is refused, and the way to JSON and back."""

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from summit_dask.facts.errors import LayerNotFoundError, StoreError, TraceError
from summit_dask.facts.layergraph import Box, Channel, Convolution, Hop, Layer, LayerGraph, Window

WINDOW = Window((3, 5), (2, 1), (-1, 0))


def layer(name: str, channels: int = 4, visible: bool = True) -> Layer:
    return Layer(name, channels, 7, 5, visible, WINDOW)


LOWEST, HIDDEN, MIDDLE, TOP = layer("a"), layer("b.3x3", 2, False), layer("b", 6), layer("c")
HOPS = (
    Hop("b.one", "a", "b", range(3), Convolution()),
    Hop("b.squeeze", "a", "b.3x3", range(2), Convolution()),
    Hop("b.three", "b.3x3", "b", range(3, 6), Convolution((3, 3), padding=(1, 1))),
    Hop("c.skip", "b", "c", range(4), Convolution(stride=(2, 2), groups=2)),
)
GRAPH = LayerGraph((LOWEST, HIDDEN, MIDDLE, TOP), HOPS)


def test_questions_to_a_graph() -> None:
    assert GRAPH.visible == (LOWEST, MIDDLE, TOP)
    assert GRAPH.influenced == (HIDDEN, MIDDLE, TOP)
    assert [GRAPH.below(name) for name in "abc"] == [(), (LOWEST,), (MIDDLE,)]
    assert GRAPH.incoming("b") == (HOPS[0], HOPS[2])
    assert GRAPH.incoming("a") == ()
    assert GRAPH.layer("b.3x3") is HIDDEN
    assert (HOPS[2].channels, HOPS[2].rows) == (3, slice(3, 6, 1))


@pytest.mark.parametrize("question", [GRAPH.layer, GRAPH.incoming, GRAPH.below])
def test_an_unknown_layer_suggests_near_ones(question: object) -> None:
    with pytest.raises(LayerNotFoundError, match=r"no layer 'b\.3x4'. Did you mean 'b\.3x3'"):
        question("b.3x4")  # type: ignore[operator]


@pytest.mark.parametrize(
    ("layers", "hop", "match"),
    [
        ((LOWEST, LOWEST), None, r"the names \['a'\] more than once"),
        ((LOWEST, layer("b.one")), Hop("b.one", "a", "b.one", range(4), Convolution()), r"\['b.one'\] more than once"),
        (
            (LOWEST, MIDDLE),
            Hop("h", "a", "b", range(4, 7), Convolution()),
            r"leads to the channels range\(4, 7\) of b, which has 6",
        ),
        ((LOWEST, MIDDLE), Hop("h", "a", "b", range(-1, 2), Convolution()), r"channels range\(-1, 2\) of b"),
        ((LOWEST, MIDDLE), Hop("h", "a", "b", range(2, 2), Convolution()), r"channels range\(2, 2\) of b"),
        (
            (LOWEST, MIDDLE),
            Hop("h", "a", "b", range(3), None),
            "identity hop h leads from 4 channels of a to 3 channels",
        ),
    ],
)
def test_what_does_not_fit_is_refused(layers: tuple[Layer, ...], hop: Hop | None, match: str) -> None:
    with pytest.raises(StoreError, match=match):
        LayerGraph(layers, (hop,) if hop else ())


def test_a_hop_between_layers_that_are_not_there_is_refused() -> None:
    with pytest.raises(LayerNotFoundError, match="no layer 'x'"):
        LayerGraph((LOWEST,), (Hop("h", "x", "a", range(4), None),))


PAIRS = st.tuples(st.integers(1, 9), st.integers(0, 9))
SIZE = st.integers(1, 6)


@st.composite
def parts(draw: st.DrawFn) -> list[tuple[Any, ...]]:
    """A chain of layers as plain numbers: name, channels, height, width, visible, window, kernel of the hop below.

    Plain, because the type checker draws random numbers when a dataclass is made, which strategies must not.
    """
    names = draw(st.lists(st.text(min_size=1, max_size=5), min_size=2, max_size=5, unique=True))
    window = st.tuples(PAIRS, PAIRS, st.tuples(st.integers(-9, 9), st.integers(-9, 9)))
    kernel = st.tuples(PAIRS, PAIRS, PAIRS, PAIRS, SIZE)
    facts = st.tuples(SIZE, SIZE, SIZE, st.booleans(), window, st.none() | kernel)
    return [(name, *draw(facts)) for name in names]


def chained(chain: list[tuple[Any, ...]]) -> LayerGraph:
    layers = tuple(Layer(*sizes, Window(*window)) for *sizes, window, _ in chain)
    kernels = [kernel for *_, kernel in chain]
    hops = []
    for number, (source, target) in enumerate(pairwise(layers)):
        same = source.channels == target.channels and kernels[number] is None
        own = None if same else Convolution(*(kernels[number] or ()))
        hops.append(Hop(f"\n{number}\n", source.name, target.name, range(target.channels), own))
    return LayerGraph(layers, tuple(hops))


@settings(max_examples=50)
@given(chain=parts())
def test_json_gives_an_equal_graph(chain: list[tuple[Any, ...]]) -> None:
    graph = chained(chain)
    again = LayerGraph.from_json(graph.to_json())
    assert again == graph
    assert hash(again) == hash(graph)
    assert json.loads(graph.to_json())["layers"][0]["name"] == graph.layers[0].name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"layers": [], "hops": [{}]}',
        '{"layers": [{"name": "a"}], "hops": []}',
        json.dumps(
            {**json.loads(GRAPH.to_json()), "layers": [{**json.loads(GRAPH.to_json())["layers"][0], "more": 1}]}
        ),
    ],
)
def test_text_that_is_no_graph_is_refused(text: str) -> None:
    with pytest.raises(StoreError, match="not a layer graph"):
        LayerGraph.from_json(text)


def test_windows_lie_where_the_positions_are() -> None:
    assert WINDOW.box(0, 0) == Box(-1, 0, 2, 5)
    assert WINDOW.box(3, 2) == Box(5, 2, 8, 7)


def test_channels_sort_by_layer_and_number() -> None:
    assert sorted([Channel("b", 2), Channel("a", 10), Channel("a", 9)]) == [
        Channel("a", 9),
        Channel("a", 10),
        Channel("b", 2),
    ]
    assert replace(Channel("a", 1), index=2) in {Channel("a", 2)}


@pytest.mark.parametrize(
    ("graph", "match"),
    [
        (LayerGraph((LOWEST,), ()), r"1 visible layers \(a\) and 0 hops"),
        (LayerGraph((LOWEST, MIDDLE), ()), r"2 visible layers \(a, b\) and 0 hops"),
        (LayerGraph((HIDDEN, LOWEST), HOPS[1:2]), r"1 visible layers \(a\) and 1 hops"),
    ],
)
def test_a_graph_with_nothing_to_show_is_refused(graph: LayerGraph, match: str) -> None:
    with pytest.raises(TraceError, match=f"{match}; expected at least two layers and a hop"):
        graph.refuse_nothing_to_show()


def test_a_graph_with_two_layers_and_a_hop_is_enough() -> None:
    LayerGraph((LOWEST, MIDDLE), HOPS[:1]).refuse_nothing_to_show()
