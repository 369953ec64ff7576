"""What the graphs of a real network prove: the evidence of all four pairs of measures, over all classes.

    python benchmarks/evidence.py STORE [--data FOLDER] [--least 8] [--classes N] [--images 50] [--samples 100] [--zero]
                                  [--batch-size 8] [--workers N]

Measures `googlenet_bvlc` on the classes of imagenet_val with at least so many images (a part of the work that STORE has
already is not done again), tests the graphs of every pair, and prints Markdown tables: necessity of the graph's
channels and of others, by pair; truth of sources and edges; what is enough in a layer. Means over classes, and of how
many classes the graph is more necessary than the most active channels. STORE may also be a finished store, as that of
the demo: then its own pairs are tested.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from extraction_cost import DATA, NETWORKS, table

from summit_dask import open_store
from summit_dask.arrays.evidence import CHOICES
from summit_dask.facts.config import ClusterOptions, RunConfig
from summit_dask.facts.pairs import PAIRS, Pair
from summit_dask.stages.evidence import make_evidence
from summit_dask.stages.init import init
from summit_dask.stages.pipeline import run_command
from summit_dask.store.evidence import Settings, group_of
from summit_dask.store.graphs import stored_pairs
from summit_dask.store.store import Store

NETWORK = "googlenet_bvlc"
SUFFIXES = (".jpeg", ".jpg", ".png")


def chosen_images(folder: Path, least: int, n_classes: int | None, into: Path) -> Path:
    """A folder of links to the classes that have enough images, evenly spread if some are enough; beside the store."""
    into.mkdir(exist_ok=True)
    found = sorted(own for own in folder.iterdir() if len([f for f in own.iterdir() if f.suffix in SUFFIXES]) >= least)
    step = max(1, len(found) // n_classes) if n_classes else 1
    for own in found[::step][:n_classes]:
        if not (into / own.name).exists():
            (into / own.name).symlink_to(own.resolve())
    return into


def measure(store: Path, data: Path, images: Path, batch_size: int, where: ClusterOptions) -> None:
    """Everything but the evidence, of all pairs."""
    network = NETWORKS[NETWORK]
    config = RunConfig(
        model=str(data / network.model),
        weights=str(data / f"models/{network.weights}.safetensors"),
        images=images,
        out=store,
        classes=str(data / "imagenet_classes.json"),
        contributions=True,
        relevance=True,
        batch_size=batch_size,
        workers=where.workers,
    )
    init(config)
    for command in ("extract", "reduce"):
        run_command(command, store, {}, where)
    for pair in PAIRS:
        run_command("graphs", store, {"nodes": pair.nodes, "edges": pair.edges}, where)


def test(store: Path, pair: Pair, settings: Settings, where: ClusterOptions) -> None:
    """The evidence of one pair."""
    run_command("graphs", store, {"nodes": pair.nodes, "edges": pair.edges}, where)
    make_evidence(store, settings, where)


def mean(values: xr.DataArray) -> float:
    """Over all that is known."""
    return float(np.nanmean(values.values)) if np.isfinite(values.values).any() else float("nan")


def necessity_row(found: xr.Dataset) -> dict[str, Any]:
    """Means over the classes, and how often the graph is more than chance and than the most active channels."""
    necessity = found["necessity"]
    known = np.isfinite(necessity.sel(choice="graph"))
    above = found["necessity_low"].sel(choice="graph") > necessity.sel(choice="most_active")
    return {
        **{choice: mean(necessity.sel(choice=choice)) for choice in CHOICES},
        "p <= 0.05": mean((found["p_value"] <= 0.05).where(known)),
        "above most active": mean((necessity.sel(choice="graph") > necessity.sel(choice="most_active")).where(known)),
        "... with its interval": mean(above.where(known)),
        "loss elsewhere": mean(found["loss_elsewhere"].sel(layer_choice="graph")),
        "nodes' Jaccard": mean(found["node_jaccard"]),
    }


def edges_row(found: xr.Dataset) -> dict[str, Any]:
    """Effects of edges."""
    effect = found["edge_effect"].values
    known = effect[np.isfinite(effect)]
    stable = found["edge_stability"].values[np.isfinite(effect)] >= 0.9
    return {
        "edges": len(known),
        "effect > 0": float((known > 0).mean()),
        "... of stable ones": float((known[stable] > 0).mean()) if stable.any() else float("nan"),
        "median effect": float(np.median(known)),
        "edges' Jaccard": mean(found["edge_jaccard"]),
    }


def difference(found: xr.Dataset, n_samples: int = 2000) -> tuple[float, float, float]:
    """Necessity of the graph minus that of the most active channels: mean over classes, and its bootstrap interval."""
    necessity = found["necessity"]
    own = (necessity.sel(choice="graph") - necessity.sel(choice="most_active")).values
    own = own[np.isfinite(own)]
    samples = np.random.default_rng(0).choice(own, (n_samples, len(own))).mean(1)
    low, high = np.quantile(samples, [0.025, 0.975]).tolist()
    return float(own.mean()), low, high


def show(store: Path) -> None:
    """The tables."""
    tree = open_store(store)
    tested = [pair for pair in PAIRS if f"/{group_of(pair)}" in tree.groups]
    found = {pair: tree[group_of(pair)].to_dataset() for pair in tested}
    print(f"\n{tree.sizes['class']} classes; images tested: {int(found[tested[0]]['n_tested'].sum())}\n")
    print(table([{"pair": pair.name, **necessity_row(own)} for pair, own in found.items()]))
    print()
    rows = [
        {"pair": pair.name, **dict(zip(("mean", "low", "high"), difference(own), strict=True))}
        for pair, own in found.items()
    ]
    print("Graph minus most active, mean over classes with a 95 % interval\n\n" + table(rows) + "\n")
    print(table([{"pair": pair.name, **edges_row(own)} for pair, own in found.items()]) + "\n")
    first = found[tested[0]]
    names = ("capture", "class_capture", "rank_correlation")
    rows = [
        {"sources by": measure, **{name: mean(first[name].sel(measure=measure)) for name in names}}
        for measure in first["measure"].values.tolist()
    ]
    print(table(rows) + "\n")
    rows = [
        {
            "pair": pair.name,
            "kept": kept,
            **{f"{share:.0%}": mean(own["sufficiency"].sel(kept=kept, share=share)) for share in own["share"].values},
        }
        for pair, own in found.items()
        for kept in own["kept"].values.tolist()
    ]
    print("What some of a layer's channels alone bring back\n\n" + table(rows))


def main() -> None:
    """Measure, test, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--least", type=int, default=8, help="images that a class must have")
    parser.add_argument("--classes", type=int, help="only so many classes")
    parser.add_argument("--images", type=int, default=50, help="images of each half of a class that test")
    parser.add_argument("--zero", action="store_true", help="channels become zero, not their mean")
    parser.add_argument("--samples", type=int, default=100, help="bootstrap samples for stability")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--workers", type=int, help="processes")
    options = parser.parse_args()
    where = ClusterOptions(workers=options.workers)
    if options.store.with_suffix(".images").exists() or not options.store.exists():
        everything = options.data / "images/imagenet_val"
        images = chosen_images(everything, options.least, options.classes, options.store.with_suffix(".images"))
        measure(options.store, options.data, images, options.batch_size, where)
    settings = Settings(options.images, options.samples, ablation="zero" if options.zero else "mean")
    for pair in stored_pairs(Store.open(options.store)):
        test(options.store, pair, settings, where)
    show(options.store)


if __name__ == "__main__":
    main()
