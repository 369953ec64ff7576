"""Which sources of a channel matter: influence and contribution against what taking a source away really does.

    python benchmarks/sources.py [--data FOLDER] [--network NAME] [--images 16] [--targets 12]

Of every layer some channels, where they fire: every source in turn is set to 0, or to its mean over the images and
positions, and t = 1 - largest pre-activation without it / largest with it. Of a measure's five strongest sources: the
share of the best five's t that they catch, how many of the best five they are, and the rank correlation of measure and
t over all sources. No forward pass but the images'; random sources beside. A Markdown table.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from extraction_cost import DATA, NETWORKS, build, pixels, table

from summit_dask.arrays.truth import MEASURES, Losses, capture, rank_correlation
from summit_dask.measure.partial import PartialNetwork
from summit_dask.measure.sources import SourceTester

BEST = 5


def judged(found: Losses, ablation: str, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """How well each measure tells the loss, of one target."""
    measures = {name: getattr(found, name) for name in MEASURES}
    measures["random"] = rng.random(len(found.lost))
    best = np.argsort(-found.lost)[:BEST]
    for name, measure in measures.items():
        chosen = np.argsort(-measure, kind="stable")[:BEST]
        yield {
            "measure": name,
            "ablation": ablation,
            "capture": capture(found.lost, np.isin(np.arange(len(found.lost)), chosen), BEST),
            "rank correlation": rank_correlation(measure, found.lost),
            "the same": len(set(chosen) & set(best)) / BEST,
        }


def judge(name: str, data: Path, n_images: int, n_targets: int) -> list[dict[str, Any]]:
    """Some targets of every layer; those of fewer than twice as many sources as are chosen are left out."""
    network, preprocessing = build(NETWORKS[name], data, n_images)
    batch = pixels(data, NETWORKS[name], preprocessing, n_images)
    tester = SourceTester(PartialNetwork(network, preprocessing))
    rng = np.random.default_rng(0)
    channels = {layer: network.layer_graph.layer(layer).channels for layer in tester.layers}
    targets = {k: rng.choice(n, min(n_targets, n), replace=False).tolist() for k, n in channels.items()}
    means = tester.input_means(batch)
    replaced = {"mean": means, "zero": {node: np.zeros_like(values) for node, values in means.items()}}
    return [
        row
        for ablation, values in replaced.items()
        for _, _, _, found in tester.losses(batch, targets, values)
        if len(found.lost) > 2 * BEST
        for row in judged(found, ablation, rng)
    ]


def main() -> None:
    """Judge and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--network", default="googlenet_bvlc", choices=list(NETWORKS))
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--targets", type=int, default=12, help="of each layer")
    options = parser.parse_args()
    rows = judge(options.network, options.data, options.images, options.targets)
    lines = []
    for measure in (*MEASURES, "random"):
        for ablation in ("zero", "mean"):
            own = [row for row in rows if (row["measure"], row["ablation"]) == (measure, ablation)]
            means = {key: float(np.nanmean([row[key] for row in own])) for key in list(own[0])[2:]}
            lines.append({"measure": measure, "ablation": ablation, **means, "targets": len(own)})
    print(table(lines))


if __name__ == "__main__":
    main()
