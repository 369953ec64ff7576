"""Which sources of a channel matter: influence and contribution against what taking a source away really does.

    python benchmarks/sources.py [--data FOLDER] [--network NAME] [--images 16] [--targets 12]

For every linear step, some targets that fire on each image: every source in turn is set to 0, or to its mean over the
images and positions, and t = 1 - largest pre-activation without it / largest with it. Of a measure's five strongest
sources: the share of the best five's t that they catch, how many of the best five they are, and the rank correlation
of measure and t over all sources. No forward pass but the images'; random sources beside. A Markdown table.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from extraction_cost import DATA, NETWORKS, build, pixels, table
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor, fx
from torch.nn import functional

from summit_dask.facts.config import MeasureOptions
from summit_dask.facts.layergraph import Convolution, as_index
from summit_dask.measure.extractor import Extractor
from summit_dask.network.traced import Step, TracedNetwork

BEST = 5
Scores = dict[str, NDArray[np.float64]]


class Inputs(fx.Interpreter):
    """Runs a network and keeps the inputs of its steps."""

    def __init__(self, network: TracedNetwork) -> None:
        super().__init__(network.module)
        self.wanted = {step.input.node for step in network.steps}
        self.of: dict[str, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.name in self.wanted:
            self.of[n.name] = value
        return value


def maps_of(step: Step, inputs: dict[str, Tensor]) -> Tensor:
    """Input of a step, (image, source, y, x), in the step's own order."""
    value = inputs[step.input.node]
    maps = value[:, :, None, None] if value.dim() == 2 else value.movedim(step.input.axis, 1)
    return maps if step.order is None else maps[:, as_index(step.order)]


def contribution_maps(image: Tensor, weight: Tensor, convolution: Convolution) -> Tensor:
    """Of one image and target: (source, position)."""
    c = convolution
    patches = functional.unfold(image[None], c.kernel, c.dilation, c.padding, c.stride)[0]
    return (patches.view(len(image), -1, patches.shape[1]) * weight.flatten(1)[:, :, None]).sum(1)


def steps_of(network: TracedNetwork) -> Iterator[Step]:
    """Steps without groups that alone lead to their targets."""
    for step in network.steps:
        others = [s for s in network.steps if s is not step and s.target == step.target]
        alone = all(set(s.targets).isdisjoint(step.targets) for s in others)
        if alone and step.convolution is not None and step.convolution.groups == 1 and len(step.source) > 2 * BEST:
            yield step


def scores(maps: Tensor, replaced: Tensor, bias: float) -> Scores | None:
    """Effects and measures of all sources; None where the target doesn't fire."""
    total = maps.sum(0) + bias
    largest = float(total.max())
    if largest <= 0:
        return None
    at = int(total.argmax())
    return {
        "zero": (1 - (total - maps).amax(1) / largest).double().numpy(),
        "mean": (1 - (total - maps + replaced).amax(1) / largest).double().numpy(),
        "influence": maps.amax(1).double().numpy(),
        "contribution": maps[:, at].double().numpy(),
    }


def judged(found: Scores, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """How well each measure tells the effect, of one target."""
    measures = {name: found[name] for name in ("influence", "contribution")}
    measures["random"] = rng.random(len(found["zero"]))
    for ablation in ("zero", "mean"):
        effect = found[ablation]
        best = np.argsort(-effect)[:BEST]
        for name, measure in measures.items():
            chosen = np.argsort(-measure, kind="stable")[:BEST]
            yield {
                "measure": name,
                "ablation": ablation,
                "capture": effect[chosen].sum() / effect[best].sum(),
                "rank correlation": spearmanr(measure, effect).statistic,
                "the same": len(set(chosen) & set(best)) / BEST,
            }


def judge(name: str, data: Path, n_images: int, n_targets: int) -> list[dict[str, Any]]:
    """All targets of a sample."""
    network, preprocessing = build(NETWORKS[name], data, n_images)
    batch = torch.from_numpy(pixels(data, NETWORKS[name], preprocessing, n_images))
    extractor = Extractor(network, preprocessing, MeasureOptions(model="", batch_size=n_images))
    inputs = Inputs(network)
    rng, rows = np.random.default_rng(0), []
    with torch.inference_mode():
        inputs.run(extractor.normalise(batch))
        for step in steps_of(network):
            assert step.convolution is not None and step.weight is not None
            maps = maps_of(step, inputs.of)
            means = maps.mean((0, 2, 3))[:, None, None].expand(-1, *maps.shape[2:])
            for image in maps:
                for row in rng.choice(len(step.targets), min(n_targets, len(step.targets)), replace=False):
                    own = contribution_maps(image, step.weight[row], step.convolution)
                    replaced = contribution_maps(means, step.weight[row], step.convolution)
                    found = scores(own, replaced, float(network.bias[step.target][step.targets[row]]))
                    rows += [] if found is None else list(judged(found, rng))
    return rows


def main() -> None:
    """Judge and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--network", default="googlenet_bvlc", choices=list(NETWORKS))
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--targets", type=int, default=12, help="of each step and image")
    options = parser.parse_args()
    rows = judge(options.network, options.data, options.images, options.targets)
    lines = []
    for measure in ("influence", "contribution", "random"):
        for ablation in ("zero", "mean"):
            own = [row for row in rows if (row["measure"], row["ablation"]) == (measure, ablation)]
            means = {key: float(np.nanmean([row[key] for row in own])) for key in list(own[0])[2:]}
            lines.append({"measure": measure, "ablation": ablation, **means, "targets": len(own)})
    print(table(lines))


if __name__ == "__main__":
    main()
