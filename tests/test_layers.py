"""The command `layers`: what it says of a network, in words, as JSON and as a drawing."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from summit_dask.cli import commands
from summit_dask.facts.addresses import bytes_per_image
from summit_dask.facts.config import MeasureOptions, RunConfig
from summit_dask.facts.errors import ConfigError, ModelError, TraceError
from summit_dask.facts.layergraph import Convolution, Hop, Layer, LayerGraph, Window
from summit_dask.facts.wording import hop_in_words, notes_in_words
from summit_dask.formats.layer_drawing import Box, _boxes, _lanes, drawing
from summit_dask.network.completeness import Completeness
from summit_dask.questions import layers
from summit_dask.questions.layers import Cost, NetworkReport, look_at_network, plain, printed
from tests.networks import SIDE, tiny_config

TINY = ("--model", "tests.networks:TinyInception", "--resize", "none", "--crop", SIDE)


def call(*arguments: object) -> Result:
    """The command `layers` with some arguments."""
    return CliRunner().invoke(commands, ["layers", *map(str, arguments)])


def test_layers_and_hops_are_told_from_the_output_down() -> None:
    lines = call(*TINY).stdout.splitlines()
    assert lines[:13] == [
        "tests.networks:TinyInception: 3 layers, 1 hidden, 5 hops",
        "",
        "logit: that of the image's own class",
        "  from upper: 1 x 1",
        "upper: 15 x 12 x 12, sees 10 x 10 pixels",
        "  from lower: 1 x 1, to 5 of 15 channels",
        "  from upper.three.0: 3 x 3, to 5 of 15 channels",
        "  from lower: 1 x 1, to 5 of 15 channels",
        "    upper.three.0: 5 x 12 x 12, sees 6 x 6 pixels",
        "      from lower: 1 x 1",
        "lower: 12 x 24 x 24, sees 5 x 5 pixels",
        "",
        "An image takes at most 1.8 kB of the store, before compression.",
    ]
    assert lines[13].startswith("Measuring it takes about ") and len(lines) == 14


def test_the_same_as_json_with_a_run_s_own_cost(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    (tmp_path / "run.yaml").write_text(json.dumps(config.plain()))
    facts: dict[str, Any] = json.loads(call("--config", tmp_path / "run.yaml", "--json").stdout)
    report = look_at_network(MeasureOptions.part_of(config), check=False)
    assert facts["cost"]["bytes_per_image"] == bytes_per_image(report.layer_graph, config)
    assert {key: facts[key] for key in facts if key != "cost"} == {
        key: value for key, value in json.loads(json.dumps(plain(report))).items() if key != "cost"
    }
    assert [(layer["name"], len(layer["hops"])) for layer in facts["layers"]] == [
        ("lower", 0), ("upper.three.0", 1), ("upper", 3), ("logit", 1),
    ]  # fmt: skip
    assert facts["input"] == [3, SIDE, SIDE] and facts["untrained"] is False


def test_a_zoo_s_network_needs_no_weights_here_and_one_of_one_s_own_keeps_its_rules() -> None:
    report = look_at_network(MeasureOptions(model="torchvision:squeezenet1_1", crop=64, batch_size=1), check=False)
    assert report.untrained and "No weights were given" in printed(report)
    given = {"model": "tests.networks:TinyInception", "weights_key": "ema"}
    assert isinstance(call(*TINY, "--weights-key", "ema").exception, ConfigError)
    with pytest.raises(ModelError, match="torchvision has no classifier 'squeezenet'"):
        look_at_network(MeasureOptions(**{**given, "model": "torchvision:squeezenet"}), check=False)


def test_a_network_with_nothing_to_show_is_refused() -> None:
    with pytest.raises(TraceError, match=r"has 1 visible layers \(upper\) and 1 hops; expected at least two"):
        look_at_network(
            MeasureOptions(model="tests.networks:TinyInception", layers=("upper",), crop=SIDE, batch_size=1), False
        )


def test_unknown_options_of_a_file_are_named(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("model: x\nlayer: y\nimages: z\n")
    outcome = call("--config", tmp_path / "run.yaml")
    assert isinstance(outcome.exception, ConfigError) and "Unknown option 'layer'" in str(outcome.exception)


RIGHT = Completeness("upper", 2e-7, ("upper.bn",), ())


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        (Completeness("lower", 0.25, ("a", ""), ()), "into lower differ from the output of a and the network by 0.25"),
        (Completeness("lower", np.inf, (), ()), "nothing that could be compared by inf"),
        (Completeness("lower", 0.0, ("a",), ("channel 1 is 2",)), "WRONG SOURCE: in lower, channel 1 is 2."),
        (None, r"Complete: in all 1 layers with hops, .* (largest difference 2e-07 of the largest value)."),
    ],
)
def test_the_check_s_result_is_told_and_is_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, wrong: Completeness | None, match: str
) -> None:
    found = (RIGHT, wrong) if wrong else (RIGHT,)
    report = NetworkReport("m", False, (3, 24, 24), resnet_like(), Cost(400, 0.01, 0.012), found)
    monkeypatch.setattr(layers, "look_at_network", lambda options, check: report)
    outcome = call("--model", "m", "--check")
    last = outcome.stdout.splitlines()[-1]
    assert all(part in last for part in match.split(".*"))
    assert outcome.exit_code == (2 if wrong else 0)
    facts = json.loads(call("--model", "m", "--check", "--json").stdout)
    assert facts["complete"] is (wrong is None) and len(facts["completeness"]) == len(found)


# Words


def resnet_like() -> LayerGraph:
    """Three blocks, a gate in the last, and a hop past the second."""
    window = Window((11, 11), (2, 2), (0, 0))
    sizes = {"a": True, "b.conv": False, "b": True, "c.conv": False, "c": True}
    layers = tuple(Layer(name, 8, 12, 12, visible, window) for name, visible in sizes.items())
    three = Convolution((3, 3), (2, 2), (1, 1), (2, 2), 4)
    hops = (
        Hop("b.conv.weight", "a", "b.conv", range(8), three),
        Hop("b.down", "b.conv", "b", range(8), Convolution((1, 7), (1, 2))),
        Hop("b.identity", "a", "b", range(8), None),
        Hop("c.conv.weight", "b", "c.conv", range(8), Convolution()),
        Hop("c.weight", "c.conv", "c", range(8), Convolution(), notes=("gate: c.se",)),
        Hop("c.identity", "b", "c", range(4), None, range(4, 8), notes=("norm: c.norm", "gate: c.se")),
        Hop("c.long", "a", "c", range(4), Convolution(), (0, 3, 2)),
    )
    return LayerGraph(layers, hops)


def test_hops_and_notes_in_words() -> None:
    graph = resnet_like()
    assert [hop_in_words(hop, graph) for hop in graph.hops] == [
        "3 x 3, stride 2, dilation 2, 4 groups",
        "1 x 7, stride 1 x 2",
        "identity",
        "1 x 1",
        "1 x 1; gate: c.se",
        "identity, from 4 of 8 channels, to 4 of 8 channels; norm: c.norm; gate: c.se",
        "1 x 1, from 3 of 8 channels, to 4 of 8 channels",
    ]
    assert [notes_in_words(graph, name) for name in "abc"] == ["", "", "gate: c.se; norm: c.norm"]


# The drawing


#: Of each layer whether it is visible, and the layers below that it comes from, with the kernel of the hop.
Plan = list[tuple[bool, dict[int, int]]]

PLANS = st.lists(
    st.tuples(st.booleans(), st.dictionaries(st.integers(0, 9), st.sampled_from([0, 1, 3]), min_size=1, max_size=3)),
    min_size=2,
    max_size=12,
)


def planned(plan: Plan) -> LayerGraph:
    """Layers in forward order, each with hops from any of those before; 0 is an identity."""
    window = Window((3, 3), (1, 1), (0, 0))
    made = [Layer(f"stage{n // 3}.<{n}>", 4, 8, 8, shown or n == 0, window) for n, (shown, _) in enumerate(plan)]
    hops = [
        Hop(f"{below}-{n}", made[below].name, made[n].name, range(4), Convolution((side, side)) if side else None)
        for n, (_, sources) in enumerate(plan)
        for below, side in sources.items()
        if below < n
    ]
    return LayerGraph(tuple(made), tuple(hops))


def _apart(one: Box, other: Box) -> bool:
    across = abs(one.x - other.x) >= (one.width + other.width) / 2
    return across or abs(one.y - other.y) >= (one.height + other.height) / 2


@given(PLANS)
@settings(max_examples=60, deadline=None)
def test_a_drawing_has_every_layer_and_hop_and_no_box_on_another(plan: Plan) -> None:
    graph = planned(plan)
    root = ElementTree.fromstring(drawing(graph, "a & b"))
    titles = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}title")]
    for name in [*(layer.name for layer in graph.layers), *(hop.name for hop in graph.hops)]:
        assert sum(title.startswith(f"{name}: ") for title in titles) == 1
    boxes = list(_boxes(graph, left=100.0).values())
    assert all(_apart(one, other) for n, one in enumerate(boxes) for other in boxes[:n])
    place = _boxes(graph, left=100.0)
    assert all(place[hop.source].y > place[hop.target].y for hop in graph.hops)


def test_ways_round_share_a_lane_only_where_they_do_not_meet() -> None:
    window = Window((3, 3), (1, 1), (0, 0))
    made = tuple(Layer(name, 4, 8, 8, True, window) for name in "abcdef")
    pairs = ("ab", "bc", "cd", "de", "ef", "ac", "ce", "bd", "af")
    hops = tuple(Hop(f"{a}-{b}", a, b, range(4), Convolution()) for a, b in pairs)
    assert _lanes(LayerGraph(made, hops)) == {"a-c": 0, "c-e": 0, "b-d": 1, "a-f": 2}


def test_a_drawing_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    outcome = call(*TINY, "--svg", tmp_path / "missing" / "layers.svg")
    assert "Can't write the drawing" in str(outcome.exception)
    assert call(*TINY, "--svg", tmp_path / "layers.svg").exit_code == 0
    assert "upper" in (tmp_path / "layers.svg").read_text()


def test_a_run_refuses_what_layers_refuses(tmp_path: Path) -> None:
    from summit_dask.stages.init import init

    config: RunConfig = tiny_config(tmp_path, layers=("upper",))
    with pytest.raises(TraceError, match="nothing to show"):
        init(config)
    assert not config.out.exists()
