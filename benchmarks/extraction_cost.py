"""Cost of the complete extraction as a multiple of the bare forward pass.

    python benchmarks/extraction_cost.py [--data FOLDER] [--networks NAME ...] [--compile] [--memory]
                                        [--relevance] [--steps] [--original]

Bare: the network as it is run here, batch norms folded, channels last, inference mode. Maxima: also extremes and
positions of the visible layers' channels. Influences, contributions: the sources of all layers by one measure, from
pixels to the selection of channels by mass. Everything: both. No decoding, no writing. `--relevance` adds everything
with relevance. `--compile` adds bare and everything
of the compiled network, still as multiples of the bare pass that is not compiled. `--original` adds the original's
procedure (`original.py`) at its own stride of 3 and at 1, on single images.

One thread, process CPU time, the variants in turn; medians of the rounds' ratios with their quartiles. FOLDER (default
../shared/data, or SUMMIT_TEST_DATA) holds models/ and images/; networks without weights there get random ones, and are
marked so: how much can be skipped depends on the weights. Prints JSON lines, then tables.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from original import Original

from summit_dask.arrays.activations import select_channels
from summit_dask.arrays.influence.maximum import warm_up
from summit_dask.facts.config import ExtractOptions
from summit_dask.facts.layergraph import as_index
from summit_dask.facts.preprocessing import Preprocessing
from summit_dask.facts.process import keep_freed_memory
from summit_dask.images.decode import decode
from summit_dask.images.sources import read_image_set
from summit_dask.measure.extractor import Extraction, Extractor
from summit_dask.network.load import find_network, load_network
from summit_dask.network.trace import trace_network
from summit_dask.network.traced import TracedNetwork

MASS = 0.03
OPTIONS = ExtractOptions(model="none", images=Path())
DATA = Path(os.environ.get("SUMMIT_TEST_DATA", Path(__file__).parents[1] / ".." / "shared" / "data"))
Row = dict[str, Any]


@dataclass(frozen=True)
class Network:
    """Where a network comes from: a model file or torchvision, weights of the folder or random ones."""

    model: str
    weights: str | None = None
    resize: int | None = 256
    crop: int = 224
    images: str = "images/imagenet_val"
    scaled: bool = True


NETWORKS = {
    "googlenet_bvlc": Network("models/googlenet_bvlc.py:GoogLeNetBVLC", "googlenet_bvlc"),
    "googlenet": Network("torchvision:googlenet"),
    "squeezenet1_0": Network("torchvision:squeezenet1_0", "squeezenet1_0_deepcompression"),
    "inception_abm": Network("models/inception_abm.py:InceptionABM", "inception_abm"),
    "resnet50_v1": Network("torchvision:resnet50", "resnet50_v1_abm"),
    "mobilenet_v2": Network("torchvision:mobilenet_v2", "mobilenet_v2_coral_ptq"),
    "vgg16": Network("torchvision:vgg16"),
    "tinyvgg": Network(
        "models/tinyvgg.py:TinyVGG", "tinyvgg_cnnexplainer", None, 64, "images/tinyimagenet10/val", False
    ),
}


def build(network: Network, data: Path, batch_size: int) -> tuple[TracedNetwork, Preprocessing]:
    """The traced network and what its images go through."""
    size = (network.crop, network.crop)
    preprocessing = Preprocessing(network.resize, size)
    if not network.scaled:
        preprocessing = Preprocessing(network.resize, size, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    file = data / "models" / f"{network.weights}.safetensors"
    if file.is_file():
        model = network.model if network.model.startswith("torchvision:") else str(data / network.model)
        found = find_network(model, str(file))
        module = load_network(found, preprocessing.input_size).module
    else:
        torch.manual_seed(0)
        options = {"aux_logits": False, "init_weights": True} if network.model.endswith("googlenet") else {}
        module = torchvision.models.get_model(network.model.split(":")[1], weights=None, **options)
    if network.weights == "resnet50_v1_abm":
        for stage in (module.layer2, module.layer3, module.layer4):
            stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    return trace_network(module.requires_grad_(False), (), preprocessing.input_size, batch_size), preprocessing


def pixels(data: Path, network: Network, preprocessing: Preprocessing, n_images: int) -> NDArray[np.uint8]:
    """Real images, spread over the classes."""
    images = read_image_set(data / network.images)
    paths = [images.root / path for path in images.table["path"]]
    return np.stack([decode(preprocessing, path) for path in paths[:: len(paths) // n_images][:n_images]])


def cpu_seconds(work: Callable[[], object]) -> float:
    """Process CPU time of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def interleaved(variants: dict[str, Callable[[], object]], rounds: int) -> list[dict[str, float]]:
    """CPU seconds of every variant, round by round, after one that is not counted."""
    for work in variants.values():
        work()
    return [{name: cpu_seconds(work) for name, work in variants.items()} for _ in range(rounds)]


def everything(extractor: Extractor, batch: NDArray[np.uint8]) -> Extraction:
    """The complete extraction with the selection of channels."""
    found = extractor(batch)
    for extremes in found.extremes.values():
        select_channels(extremes.maximum, MASS)
    return found


def report(row: Row) -> Row:
    """Print a row as JSON."""
    print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}), flush=True)
    return row


def spread(ratios: list[float]) -> Row:
    """Median and quartiles."""
    low, middle, high = quantiles(ratios)
    return {"ratio": middle, "low": low, "high": high}


def cost(name: str, data: Path, batch_size: int, rounds: int, compiled: bool, relevance: bool) -> list[Row]:
    """Ratios of one network's variants to the bare forward pass."""
    traced, preprocessing = build(NETWORKS[name], data, batch_size)
    batch = pixels(data, NETWORKS[name], preprocessing, batch_size)
    extractor = Extractor(traced, preprocessing, OPTIONS)
    maxima = Extractor(traced, preprocessing, OPTIONS.replaced(influences=False, contributions=False))
    images = extractor.normalise(torch.from_numpy(batch))
    variants: dict[str, Callable[[], object]] = {
        "bare": lambda: extractor.module(images),
        "maxima": lambda: maxima(batch),
        "everything": lambda: everything(extractor, batch),
    }
    for kept, left_out in (("influences", "contributions"), ("contributions", "influences")):
        alone = Extractor(traced, preprocessing, OPTIONS.replaced(**{left_out: False}))
        variants[f"{kept} alone"] = partial(everything, alone, batch)
    if relevance:
        outputs = np.zeros(len(batch), np.int32)
        relevant = Extractor(traced, preprocessing, OPTIONS.replaced(relevance=True))
        variants["everything and relevance"] = lambda: relevant(batch, outputs)
    if compiled:
        start = time.perf_counter()
        faster = Extractor(traced, preprocessing, OPTIONS, compiled=True)
        report({"network": name, "compile_or_load_s": time.perf_counter() - start})
        variants["bare, compiled"] = lambda: faster._run(images, lambda *_: None)
        variants["everything, compiled"] = lambda: everything(faster, batch)
    with torch.no_grad():  # tensors of inference mode can take part in no backward pass
        times = interleaved(variants, rounds)
    facts = {"network": name, "weights": "real" if NETWORKS[name].weights else "random"}
    bare = 1000 * median(t["bare"] for t in times) / batch_size
    return [
        report({**facts, "variant": v, "ms_per_image": bare * ratio["ratio"], **ratio})
        for v in variants
        for ratio in [spread([t[v] / t["bare"] for t in times])]
    ]


def cost_by_step(name: str, data: Path, batch_size: int, rounds: int) -> list[Row]:
    """Share of a bare forward pass that each step's kernel takes within the complete extraction."""
    traced, preprocessing = build(NETWORKS[name], data, batch_size)
    batch = pixels(data, NETWORKS[name], preprocessing, batch_size)
    extractor = Extractor(traced, preprocessing, OPTIONS)
    images = extractor.normalise(torch.from_numpy(batch))
    seconds: list[list[float]] = [[] for _ in traced.steps]

    def timed(seconds: list[float], kernel: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            start = time.process_time()
            result = kernel(*arguments)
            seconds.append(time.process_time() - start)
            return result

        return call

    kernels = extractor._meter._kernels
    kernels[:] = [timed(own, kernel) for own, kernel in zip(seconds, kernels, strict=True)]
    with torch.inference_mode():
        bare = lambda: extractor.module(images)  # noqa: E731
        times = interleaved({"bare": bare, "everything": lambda: extractor(batch)}, rounds)
    forward = median(t["bare"] for t in times)
    rows = []
    for step, own in zip(traced.steps, seconds, strict=True):
        kernel = "x".join(map(str, step.convolution.kernel)) if step.convolution else "identity"
        sizes = f"{len(step.source)} to {len(step.targets)}"
        rows.append(report({"step": step.name, "kernel": kernel, "channels": sizes, "share": median(own) / forward}))
    return rows


def against_original(name: str, data: Path, rounds: int) -> list[Row]:
    """The original's procedure beside ours, in forward passes of one image."""
    traced, preprocessing = build(NETWORKS[name], data, 8)
    alone, _ = build(NETWORKS[name], data, 1)
    batch = pixels(data, NETWORKS[name], preprocessing, 8)
    extractor = Extractor(traced, preprocessing, OPTIONS)
    images = extractor.normalise(torch.from_numpy(batch))
    originals = {stride: Original(alone, stride) for stride in (3, 1)}
    with torch.inference_mode():
        check(originals[1](images[:1]).influences, alone, everything(extractor, batch))
        variants: dict[str, Callable[[], object]] = {
            "bare, one image": lambda: alone.module(images[:1]),
            "bare, batch of 8": lambda: extractor.module(images),
            "ours, batch of 8": lambda: everything(extractor, batch),
            "original, stride 3": lambda: originals[3](images[:1]),
            "original, stride 1": lambda: originals[1](images[:1]),
        }
        times = interleaved(variants, rounds)
    each = {v: [t[v] / (8 if "8" in v else 1) for t in times] for v in variants}
    ours, bare = each["ours, batch of 8"], each["bare, one image"]
    rows = []
    for v, seconds in each.items():
        speedup = spread([s / o for s, o in zip(seconds, ours, strict=True)])
        row = {"variant": v, "ms_per_image": 1000 * median(seconds)}
        row["forward_passes"] = median(s / b for s, b in zip(seconds, bare, strict=True))
        rows.append(report({**row, "times_ours": speedup["ratio"], "low": speedup["low"], "high": speedup["high"]}))
    return rows


def check(influences: dict[str, torch.Tensor], traced: TracedNetwork, ours: Extraction) -> None:
    """Where the original's procedure is defined as ours is, at stride 1 without ignored pooling, values agree."""
    targets = {step.name: (step.target, as_index(step.targets)) for step in traced.steps}
    for name, peaks in influences.items():
        if "b_pool" not in name:
            best = np.sort(np.maximum(peaks.numpy(), 0), axis=0)[::-1][: OPTIONS.k].T
            layer, channels = targets[name]
            found = ours.rankings[layer].value[0, channels]
            np.testing.assert_allclose(found, best, rtol=1e-3, atol=1e-4 * best.max())


def peak_megabytes(name: str, data: Path, batch_size: int, variant: str) -> float:
    """Peak memory of a fresh process after some batches of one variant."""
    torch.set_num_threads(1)
    traced, preprocessing = build(NETWORKS[name], data, batch_size)
    batch = pixels(data, NETWORKS[name], preprocessing, batch_size)
    extractor = Extractor(traced, preprocessing, OPTIONS)
    warm_up()
    with torch.inference_mode():
        for _ in range(3):
            if variant == "everything":
                everything(extractor, batch)
            else:
                extractor.module(extractor.normalise(torch.from_numpy(batch)))
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def memory(name: str, data: Path, batch_size: int) -> Row:
    """Peak memory beyond that of the bare forward pass."""
    context = multiprocessing.get_context("spawn")
    peaks = {}
    for variant in ("bare", "everything"):
        with context.Pool(1) as pool:
            peaks[variant] = pool.apply(peak_megabytes, (name, data, batch_size, variant))
    return report({"network": name, **{f"{v}_mb": round(mb) for v, mb in peaks.items()}})


def table(rows: list[Row]) -> str:
    """A Markdown table."""
    lines = [list(rows[0]), ["---"] * len(rows[0])]
    lines += [[f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    """Measure and print everything."""
    parser = argparse.ArgumentParser(description="Cost of the extraction in forward passes.")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory", action="store_true", help="also the peak memory")
    parser.add_argument("--relevance", action="store_true", help="also the relevance of channels")
    parser.add_argument("--compile", action="store_true", help="also the compiled network")
    parser.add_argument("--steps", action="store_true", help="also each linear step of the first network")
    parser.add_argument("--original", action="store_true", help="also the original's procedure, on the first network")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()  # as workers do; the bare pass gains from it too
    report({"compile_or_load_s": warm_up()})
    size, rounds = options.batch, options.rounds
    tables = [
        [
            row
            for name in options.networks
            for row in cost(name, options.data, size, rounds, options.compile, options.relevance)
        ]
    ]
    if options.memory:
        tables.append([memory(name, options.data, options.batch) for name in options.networks])
    if options.steps:
        tables.append(cost_by_step(options.networks[0], options.data, options.batch, options.rounds))
    if options.original:
        tables.append(against_original(options.networks[0], options.data, max(3, options.rounds // 3)))
    for rows in tables:
        print(f"\n{table(rows)}")


if __name__ == "__main__":
    main()
