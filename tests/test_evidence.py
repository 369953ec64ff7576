"""Evidence for graphs: true circuits and wrong ones, ablations a second way, resuming, the command and its errors."""

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from distributed import Client
from numpy.typing import NDArray
from torch import nn

from summit_dask.arrays.evidence import N_DRAWS, SHARES, halves, ratio
from summit_dask.arrays.resampling import bootstrap_weights, stability
from summit_dask.facts.config import RunConfig
from summit_dask.facts.errors import DatasetError, NumericalError
from summit_dask.facts.layergraph import Channel
from summit_dask.facts.pairs import PAPERS
from summit_dask.measure.ablation import Ablations, margins_of, means_of
from summit_dask.measure.effects import Edges, effect_passes, effects
from summit_dask.measure.evidence import Choices, images_by_layer, total_passes
from summit_dask.measure.partial import PartialNetwork
from summit_dask.network.trace import trace_network
from summit_dask.questions.query import attribution_graph, count_images
from summit_dask.questions.verify import verify_store
from summit_dask.stages import evidence
from summit_dask.stages.classevidence import Opened, class_images
from summit_dask.stages.evidence import find_evidence
from summit_dask.store.evidence import Settings, is_tested, stored_settings
from summit_dask.store.graphs import read_graph
from summit_dask.store.store import Store
from summit_dask.store.tree import open_store
from tests.circuits import CHANNELS, CIRCUITS, LAYERS, NOISE, chains_config
from tests.networks import CLASSES, tiny_config
from tests.runs import cluster_of, connected, copied, run_here
from tests.test_cli import Call, call, check_refusal  # noqa: F401 - a fixture
from tests.test_contribution import Pooled
from tests.test_pipeline import bytes_of
from tests.test_relevance import OWN, PIXELS, PREPROCESSING, SIDE, images, made

QUICK = Settings(images=6, samples=5)


@pytest.fixture(scope="module")
def chains(tmp_path_factory: pytest.TempPathFactory, client: Client) -> RunConfig:
    """A finished run on a network whose circuits are known, with the evidence for its graphs."""
    config = chains_config(tmp_path_factory.mktemp("chains"))
    store = run_here(config, client)
    with store.changing():
        find_evidence(store, Settings(samples=20, ablation="zero"), connected(client))
    return config


# A network whose circuits are known


def test_the_true_circuit_is_necessary_and_a_wrong_one_of_its_size_is_not(chains: RunConfig) -> None:
    tree = open_store(chains.out)
    for name, circuit in CIRCUITS.items():
        nodes = {(channel.layer, channel.index) for channel in attribution_graph(tree, name)}
        assert nodes == {*zip(LAYERS, circuit, strict=True), ("logit", 0)}
        chain = [*zip(LAYERS, circuit, strict=True), ("logit", 0)]
        by_contribution = attribution_graph(tree, name, edges="contribution")
        assert set(by_contribution.edges) == {(Channel(*a), Channel(*b)) for a, b in pairwise(chain)}
    found = tree["evidence/activation-influence"]
    necessity = found["necessity"]
    np.testing.assert_allclose(necessity.sel(choice="graph"), 1, rtol=1e-6)
    for wrong in ("nearest", "other"):
        np.testing.assert_allclose(necessity.sel(choice=wrong), 0, atol=1e-6)
        np.testing.assert_allclose(found["specificity"].sel(rival=wrong), 1, rtol=1e-6)
    assert (necessity.sel(choice="random") < 0.3).all() and (found["p_value"] < 0.3).all()
    assert (found["random_necessity"].values >= -1e-6).all()
    np.testing.assert_allclose(found["margin_without"], 0, atol=1e-6)


def test_a_layer_s_one_channel_of_the_circuit_is_necessary_and_sufficient(chains: RunConfig) -> None:
    found = open_store(chains.out)["evidence/activation-influence"]
    assert found["map_layer"].values.tolist() == list(LAYERS) and found["share"].values.tolist() == list(SHARES)
    np.testing.assert_allclose(found["layer_necessity"].sel(layer_choice="graph"), 1, rtol=1e-6)
    np.testing.assert_allclose(found["sufficiency"].sel(kept="most_used"), 1, rtol=1e-6)
    assert (found["sufficiency"].sel(kept="random", share=0.05) < 0.5).all()
    assert (found["layer_necessity"].sel(layer_choice="random") < 0.5).all()


def test_a_graph_that_every_sample_gives_is_stable(chains: RunConfig) -> None:
    found = open_store(chains.out)["evidence/activation-influence"]
    for name in ("node_stability", "edge_stability", "node_jaccard", "edge_jaccard"):
        assert (found[name] == 1).all() and found[name].size


@pytest.mark.long
def test_an_ablated_channel_becomes_its_mean(chains: RunConfig, tmp_path: Path, client: Client) -> None:
    """Other classes' channels then count too: their mean is more than they are on the class's images."""
    store = Store.open(copied(chains, tmp_path).out, writable=True)
    with store.changing():
        find_evidence(store, QUICK, connected(client))
    assert stored_settings(store, PAPERS) == QUICK
    found = open_store(store.path)["evidence/activation-influence"]
    means = found["replacement"].values.reshape(len(LAYERS), CHANNELS)
    np.testing.assert_allclose(means[0, list(NOISE)], 0.01, rtol=1e-5)
    chain = [circuit[0] for circuit in CIRCUITS.values()]
    others = np.delete(np.arange(CHANNELS), [*chain, *NOISE])
    assert (means[0, chain] > 0.03).all() and (means[0, others] == 0).all()
    own = found["necessity"].sel(choice="graph")
    assert ((own > 0.6) & (own < 0.75)).all() and (found["specificity"] > 0.4).all()
    assert (found["n_tested"] == 12).all()


def test_every_edge_of_the_true_circuit_holds_its_upper_end_up(chains: RunConfig) -> None:
    """The stem's ReLU passes what is above its bias; without the only source nothing is left of a channel."""
    tree = open_store(chains.out)
    for name in CIRCUITS:
        graph = attribution_graph(tree, name)
        effects = [effect for *_, effect in graph.edges.data("effect")]
        np.testing.assert_allclose(effects, 1, atol=1e-6)
        assert len(effects) == 3 and {share for *_, share in graph.edges.data("stability")} == {1.0}
        assert {share for _, share in graph.nodes.data("stability")} == {1.0}
    some = attribution_graph(tree, "bee", images=np.arange(tree.sizes["image"]) % 2 == 0)
    assert some and all("stability" not in values for _, values in some.nodes.data())


def test_other_classes_lose_nothing_without_a_class_s_circuit(chains: RunConfig) -> None:
    found = open_store(chains.out)["evidence/activation-influence"]
    np.testing.assert_allclose(found["loss_elsewhere"].sel(layer_choice="graph"), 0, atol=1e-6)
    assert (found["n_elsewhere"] == 8).all()


def test_the_one_source_of_a_channel_is_all_that_matters(chains: RunConfig) -> None:
    found = open_store(chains.out)["evidence/activation-influence"]
    assert found["ranked_layer"].values.tolist() == ["middle", "top"]
    np.testing.assert_allclose(found["capture"], 1, rtol=1e-5)
    np.testing.assert_allclose(found["class_capture"], 1, rtol=1e-5)
    assert (found["n_targets"] > 0).all()


# Ablation, a second way


def network_of(module: nn.Module, rows: int) -> Any:
    return trace_network(module, ("stem", "low", "last"), (3, SIDE, SIDE), rows, logits=None)


@contextmanager
def ablated(
    module: nn.Module, removed: NDArray[np.bool_], values: NDArray[np.float64], bounds: Sequence[int]
) -> Iterator[None]:
    """In the block the module's own layers give these values instead of their channels' maps."""
    hooks = []
    for name, low, high in zip(("stem", "low", "last"), bounds[:-1], bounds[1:], strict=True):

        def replace(_: nn.Module, __: Any, maps: torch.Tensor, low: int = low, high: int = high) -> torch.Tensor:
            maps = maps.clone()
            for channel in np.flatnonzero(removed[low:high]):
                maps[:, channel] = values[low + channel]
            return maps

        hooks.append(module.get_submodule(name).register_forward_hook(replace))
    yield
    for hook in hooks:
        hook.remove()


def true_means(module: nn.Module) -> NDArray[np.float64]:
    """Of every channel of the three layers, image by image."""
    found: dict[str, torch.Tensor] = {}
    hooks = [
        module.get_submodule(name).register_forward_hook(lambda _, __, out, name=name: found.update({name: out}))
        for name in ("stem", "low", "last")
    ]
    module(images())
    for hook in hooks:
        hook.remove()
    means: NDArray[np.float64] = torch.cat([found[n].mean((2, 3)) for n in ("stem", "low", "last")], 1).numpy()
    return means


@pytest.mark.parametrize("rows", [3, 8], ids=["full batches", "batches to be filled up"])
@pytest.mark.parametrize("ablation", ["mean", "zero"])
def test_margins_are_those_of_a_module_with_hooks(ablation: str, rows: int) -> None:
    network = PartialNetwork(network_of(made(Pooled), rows), PREPROCESSING)
    module = made(Pooled).double()
    bounds = network.bounds.tolist()
    means = true_means(module)
    np.testing.assert_allclose(means_of(network, PIXELS), means, rtol=1e-4, atol=1e-6)
    values = means.mean(0) if ablation == "mean" else np.zeros(bounds[-1])
    rng = np.random.default_rng(0)
    removed = rng.random((23, bounds[-1])) < 0.3
    removed[0], removed[1] = False, True
    removed[2:8, : bounds[1]] = False  # begin at the second layer, the next ones at the last
    removed[5:8, : bounds[2]] = False
    image = rng.integers(0, 3, 23)
    found = margins_of(network, PIXELS, OWN, Ablations(image, removed), values.astype(np.float32))
    for k, place in enumerate(image):
        with ablated(module, removed[k], values, bounds):
            logits = module(images()[[place]])[0].numpy()
        np.testing.assert_allclose(found[k], logits[OWN[place]] - logits.mean(), rtol=1e-4, atol=1e-5)


def test_margins_of_a_softmax_are_those_of_its_logits() -> None:
    class Ending(Pooled):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x).softmax(1)

    plain, ending = (PartialNetwork(network_of(made(kind), 3), PREPROCESSING) for kind in (Pooled, Ending))
    removed = np.random.default_rng(0).random((4, int(plain.bounds[-1]))) < 0.3
    nothing = np.zeros(removed.shape[1], np.float32)
    ablations = Ablations(np.array([0, 1, 2, 0]), removed)
    expected, found = (margins_of(network, PIXELS, OWN, ablations, nothing) for network in (plain, ending))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("rows", [3, 8], ids=["full batches", "batches to be filled up"])
def test_effects_are_those_of_a_module_with_hooks(rows: int) -> None:
    network = PartialNetwork(network_of(made(Pooled), rows), PREPROCESSING)
    module = made(Pooled).double()
    bounds = network.bounds.tolist()
    rng = np.random.default_rng(0)
    lower = np.repeat([0, 2, bounds[1], bounds[1] + 1], 6)
    upper_layer = np.where(lower < bounds[1], 1, 2)
    upper = rng.integers(0, [bounds[k + 1] - bounds[k] for k in upper_layer])
    to_class = [bounds[2], bounds[2] + 1]
    edges = Edges(
        lower_layer=np.append(upper_layer - 1, [2, 2]),
        lower=np.append(lower, to_class),
        upper_layer=np.append(upper_layer, [-1, -1]),
        upper=np.append(upper, [0, 0]).astype(np.int64),
    )
    values = rng.random(bounds[-1])
    found = effects(network, PIXELS, OWN, edges, values.astype(np.float32))

    def largest(removed: NDArray[np.bool_]) -> NDArray[np.float64]:
        """(image, edge)."""
        maps: dict[str, torch.Tensor] = {}
        with ablated(module, removed, values, bounds):
            hooks = [
                module.get_submodule(name).register_forward_hook(lambda _, __, out, name=name: maps.update({name: out}))
                for name in ("low", "last")
            ]
            logits = module(images())
            for hook in hooks:
                hook.remove()
        tops = [None, *(maps[name].amax((2, 3)) for name in ("low", "last"))]
        own = logits[torch.arange(len(OWN)), torch.as_tensor(OWN)]
        columns = [own if k < 0 else tops[k][:, c] for k, c in zip(edges.upper_layer, edges.upper, strict=True)]
        return torch.stack(columns, 1).detach().numpy()

    plain = largest(np.zeros(bounds[-1], bool))
    for k, channel in enumerate(edges.lower):
        expected = 1 - largest(np.arange(bounds[-1]) == channel)[:, k] / plain[:, k]
        expected[plain[:, k] <= 0] = np.nan
        np.testing.assert_allclose(found[:, k], expected, rtol=1e-4, atol=1e-5)
    assert np.isfinite(found).mean() > 0.5 and (np.abs(np.nan_to_num(found)) > 1e-3).mean() > 0.3
    passes = effect_passes(edges, [0.9, 0.5, 0.1])
    assert passes == pytest.approx(1 + 2 * (0.9 - 0.5) + 2 * (0.5 - 0.1) + 2 * 0.1)


def test_logits_that_are_no_numbers_are_an_error() -> None:
    network = PartialNetwork(network_of(made(Pooled), 3), PREPROCESSING)
    removed = np.ones((1, int(network.bounds[-1])), bool)
    with pytest.raises(NumericalError, match="logits hold NaN or infinity"):
        margins_of(network, PIXELS, OWN, Ablations(np.zeros(1, int), removed), np.full(removed.shape[1], np.nan, "f4"))


def test_what_an_ablation_costs_falls_from_layer_to_layer() -> None:
    shares = PartialNetwork(network_of(made(Pooled), 3), PREPROCESSING).shares()
    assert 1 > shares[0] > shares[1] > shares[2] > 0


@pytest.mark.parametrize("shares", [[1.0, 1.0], [0.9, 0.5, 0.3, 0.1], list(np.linspace(0.99, 0.01, 20)), [0.05, 0.01]])
def test_an_image_takes_30_forward_passes_at_most(shares: list[float]) -> None:
    """In the mean over those of a class, of which at least one tests single layers."""
    n = len(shares)
    graph, random = np.arange(2 * n) % 3 == 0, np.random.default_rng(0).random((22, 2 * n))
    choices = Choices(graph, graph, graph, random[0], random[1], random[2:], 2 * np.arange(n + 1))
    for n_images in (10, 50):
        assert total_passes(n_images, shares) <= 30 * n_images + 11 * sum(shares)
        assert images_by_layer(n_images, shares) >= n_images / 15
    by_layer = choices.by_layer(0)
    assert len(choices.together()) == 8 + N_DRAWS and by_layer.shape == (n, 11, 2 * n)
    for layer, sets in enumerate(by_layer):
        assert not sets[:, [k for k in range(2 * n) if k // 2 != layer]].any()


# Samples


def test_counts_of_a_sample_are_those_of_its_images(finished: RunConfig) -> None:
    store = Store.open(finished.out)
    found = class_images(Opened.of(store), 1, PAPERS)
    n = len(found.rows)
    weights = np.stack([np.ones(n), np.arange(n) % 2, np.zeros(n)]).astype(np.int32)
    options = store.header.run.config
    for weight, counts in zip(weights, found.values.counts(weights), strict=True):
        rows = np.zeros(store.header.n_images, bool)
        rows[found.rows[weight > 0]] = True
        expected = count_images(store.read, store.layer_graph, rows, options.mass, {}, PAPERS)
        for name, values in expected.activation.items():
            np.testing.assert_array_equal(counts.activation[name], values)
        for name, sources in expected.influence.items():
            np.testing.assert_array_equal(counts.influence[name].toarray(), sources.toarray())
    twice, once = found.values.counts(np.array([[2] * n, [1] * n], np.int32))
    for name, sources in twice.influence.items():
        np.testing.assert_array_equal(sources.toarray(), 2 * once.influence[name].toarray())


def test_stability_is_the_share_of_samples_whose_graph_holds_it(finished: RunConfig) -> None:
    """Samples without doubles, so that each one's graph is that of a selection of images."""
    store, tree = Store.open(finished.out), open_store(finished.out)
    found = class_images(Opened.of(store), 2, PAPERS)
    weights = (bootstrap_weights(6, len(found.rows), np.random.default_rng(1)) > 2).astype(np.int32)
    graph, options = read_graph(store.read, 2), store.header.run.config
    stable = stability(store.layer_graph, graph, found.values, weights, {}, options)
    held = []
    for weight in weights:
        rows = np.zeros(store.header.n_images, bool)
        rows[found.rows[weight > 0]] = True
        held.append(attribution_graph(tree, images=rows))
    nodes, edges = graph.nodes(store.layer_graph), graph.edges(store.layer_graph)
    np.testing.assert_allclose(stable.node, [np.mean([node in other for other in held]) for node in nodes])
    np.testing.assert_allclose(stable.edge, [np.mean([other.has_edge(*edge) for other in held]) for edge in edges])
    jaccard = [len(set(nodes) & set(other)) / len(set(nodes) | set(other)) for other in held]
    assert stable.node_jaccard == pytest.approx(np.mean(jaccard))
    jaccard = [len(set(edges) & set(other.edges)) / len(set(edges) | set(other.edges)) for other in held]
    assert stable.edge_jaccard == pytest.approx(np.mean(jaccard))
    assert len(np.unique(np.concatenate([stable.node, stable.edge]))) > 1


def test_the_interval_holds_the_share_and_narrows_with_more_images() -> None:
    rng = np.random.default_rng(0)
    whole = rng.random(400) + 1
    part = whole * rng.random(400)
    few, many = (ratio(part[:n], whole[:n], np.random.default_rng(0)) for n in (20, 400))
    assert few.low < few.value < few.high and many.high - many.low < (few.high - few.low) / 2
    assert np.isnan(ratio(part, -whole, np.random.default_rng(0))).all()
    assert np.isnan(ratio(part[:0], whole[:0], np.random.default_rng(0))).all()


def test_halves_share_no_image() -> None:
    for n in (0, 1, 2, 7):
        a, b = halves(n, np.random.default_rng(0))
        assert sorted([*a, *b]) == list(range(n)) and len(b) - len(a) in (0, 1)


# The stage


def wait_until_idle(client: Client) -> None:
    """Tasks of an interrupted stage run on to their end, here in the process of the next one."""
    while any(client.run(lambda dask_worker: len(dask_worker.state.executing)).values()):
        time.sleep(0.05)


@pytest.mark.long
def test_an_interrupted_stage_goes_on_to_the_same_bytes(
    finished: RunConfig, tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    whole, broken = (Store.open(copied(finished, tmp_path / name).out, writable=True) for name in ("a", "b"))
    before = bytes_of(broken.path)
    with whole.changing():
        find_evidence(whole, QUICK, connected(client))
    said = capsys.readouterr().err
    assert "evidence: 36 images of 3 classes are tested with" in said and "evidence: 3 of 3 classes" in said
    save = evidence._write_draft
    saved = list[Path]()

    def save_one(path: Path, values: Any) -> None:
        if saved:
            raise KeyboardInterrupt
        saved.append(path)
        save(path, values)

    monkeypatch.setattr(evidence, "_write_draft", save_one)
    with broken.changing(), pytest.raises(KeyboardInterrupt):
        find_evidence(broken, QUICK, connected(client))
    assert bytes_of(broken.path) == before
    wait_until_idle(client)
    monkeypatch.setattr(evidence, "_write_draft", lambda path, values: (saved.append(path), save(path, values)))
    with broken.changing():
        find_evidence(broken, QUICK, connected(client))
    assert len(saved) == len(set(saved)) == 3  # no class twice
    assert bytes_of(broken.path) == bytes_of(whole.path)
    assert [path.name for path in (tmp_path / "b").iterdir() if path.suffix != ".lock"] == ["store.zarr"]
    with broken.changing():
        find_evidence(broken, QUICK, connected(client))
    assert len(saved) == 3  # nothing to do


@pytest.mark.long
def test_evidence_of_relevance_and_contribution_stands_beside_and_is_verified(tmp_path: Path, client: Client) -> None:
    config = tiny_config(tmp_path, relevance=True, contributions=True)
    for path in sorted((config.images / "ant").iterdir())[1:]:
        path.unlink()  # one image has no halves
    for path in sorted((config.images / "bee").iterdir())[2:]:
        path.unlink()
    store = run_here(config, client)
    for changes in ({}, {"nodes": "relevance", "edges": "contribution"}):
        run_here(config.replaced(**changes), client)
        with store.changing():
            find_evidence(store, QUICK, connected(client))
    tree = open_store(config.out)
    for name in ("activation-influence", "relevance-contribution"):
        found = tree[f"evidence/{name}"]
        assert found["n_tested"].values.tolist() == [0, 2, 12]
        assert np.isnan(found["necessity"][0]).all() and np.isfinite(found["margin"][1:]).all()
    report = verify_store(config.out, 1)
    assert report.right, "\n".join(report.lines())


def test_a_class_without_rivals_is_held_against_none(tmp_path: Path, client: Client) -> None:
    config = chains_config(tmp_path)
    for name in CLASSES[1:]:
        shutil.rmtree(config.images / name)
    store = run_here(config, client)
    with store.changing():
        find_evidence(store, Settings(images=6, samples=5, ablation="zero"), connected(client))
    found = open_store(config.out)["evidence/activation-influence"]
    assert np.isnan(found["necessity"].sel(choice=["nearest", "other"])).all() and np.isnan(found["specificity"]).all()
    assert np.isfinite(found["necessity"].sel(choice=["graph", "random", "most_active"])).all()
    assert (found["rival_class"] == -1).all() and (found["n_elsewhere"] == 0).all()
    report = verify_store(config.out, 1)
    assert report.right, "\n".join(report.lines())


def test_a_draft_that_a_power_cut_left_is_none(tmp_path: Path) -> None:
    path = tmp_path / "0.npz"
    assert not evidence._is_whole(path)
    evidence._write_draft(path, {"margin": np.arange(100.0)})
    assert evidence._is_whole(path)
    path.write_bytes(path.read_bytes()[:500])
    assert not evidence._is_whole(path)


def test_graphs_that_are_made_again_have_no_evidence(chains: RunConfig, tmp_path: Path, client: Client) -> None:
    config = copied(chains, tmp_path)
    store = Store.open(config.out, writable=True)
    assert is_tested(store, PAPERS)
    run_here(config.replaced(p=0.5), client)
    store = Store.open(config.out, writable=True)
    assert not is_tested(store, PAPERS)
    with store.changing():
        find_evidence(store, QUICK, connected(client))
    assert is_tested(store, PAPERS)


def test_a_lost_image_is_named(chains: RunConfig, tmp_path: Path, client: Client) -> None:
    store = Store.open(copied(chains, tmp_path).out, writable=True)
    store.update_run(store.header.run.model_copy(update={"images_root": tmp_path / "nowhere"}))
    with store.changing(), pytest.raises(DatasetError, match=r"nowhere/.* can't be read .*--images"):
        find_evidence(store, QUICK, connected(client))


# The command


def test_the_command_tests_graphs(
    call: Call,  # noqa: F811
    finished: RunConfig,
    tmp_path: Path,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(evidence, "cluster", cluster_of(client))
    out = copied(finished, tmp_path).out
    outcome = call("evidence", out, "--images=4", "--samples=3", "--ablation=zero", "--seed=2")
    assert outcome.code == 0 and "3 classes have the evidence" in outcome.out
    assert "edges by influence (tested)" in call("info", out).out
    assert stored_settings(Store.open(out), PAPERS) == Settings(4, 3, 2, "zero")
    assert open_store(out)["evidence/activation-influence/margin"].sel({"class": CLASSES[0]}).size == 1


def test_a_store_without_graphs_is_refused(
    call: Call,  # noqa: F811
    finished: RunConfig,
    imported: Path,
    tmp_path: Path,
    client: Client,
) -> None:
    check_refusal(call("evidence", imported), "was imported; it has neither images nor a network")
    config = tiny_config(finished.out.parent, out=tmp_path / "store.zarr")
    run_here(config, client, "extract", "reduce")
    check_refusal(call("evidence", config.out), "no graphs with nodes by activation", "summit-dask graphs")
    assert call("evidence", config.out, "--ablation=median").code == 2
