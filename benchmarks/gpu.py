"""The GPU path: same numbers as the CPU's, and its cost as a multiple of the bare forward pass on the same card.

    python benchmarks/gpu.py [--device cuda] [--data FOLDER] [--batch 64] [--rounds 20] [--networks NAME ...]
                             [--profile]

Correct: 32 real images, extremes, positions and the kept sources of every layer against the CPU path. Fast: bare,
maxima and everything in turn, by events of the GPU, medians; no TF32. Prints JSON lines. `--profile` adds where the
time of everything goes, by kernel. Networks and images as in `extraction_cost.py`.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np
import torch
from extraction_cost import DATA, NETWORKS, OPTIONS, build, pixels

from summit_dask.arrays.influence.merge import Ranking
from summit_dask.measure.extractor import Extraction, Extractor
from summit_dask.network.traced import TracedNetwork

Row = dict[str, Any]
N_COMPARED = 32
CLOSE = 1e-4


def report(**row: Any) -> None:
    """One JSON line."""
    print(json.dumps({k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()}), flush=True)


def compare(name: str, network: TracedNetwork, data: Path, device: str) -> None:
    """Largest differences of the GPU's numbers from the CPU's."""
    _, preprocessing = build(NETWORKS[name], data, 1)
    batch = pixels(data, NETWORKS[name], preprocessing, N_COMPARED)
    outputs = np.arange(len(batch), dtype=np.int32)
    both = OPTIONS.replaced(relevance=True)
    cpu = Extractor(network, preprocessing, both)(batch, outputs)
    gpu = Extractor(network, preprocessing, both, device)(batch, outputs)
    report(network=name, what="extremes", **extremes_differ(cpu, gpu))
    for what in ("rankings", "contributions", "inhibitors"):
        report(network=name, what=what, **rankings_differ(getattr(cpu, what), getattr(gpu, what)))
    report(network=name, what="relevance", largest=relevances_differ(cpu, gpu))


def extremes_differ(cpu: Extraction, gpu: Extraction) -> Row:
    """Of a layer's largest value; and the share of positions that differ where the channel fires."""
    largest, moved = 0.0, []
    for layer, expected in cpu.extremes.items():
        got = gpu.extremes[layer]
        scale = np.abs(expected.maximum).max()
        largest = max(largest, float(np.abs(got.maximum - expected.maximum).max() / scale))
        fires = expected.maximum > CLOSE * scale
        moved.append((got.position != expected.position)[fires].mean())
    return {"extremes": largest, "positions": float(np.mean(moved))}


def relevances_differ(cpu: Extraction, gpu: Extraction) -> float:
    """Of a layer's largest relevance."""
    pairs = [(expected, gpu.relevances[layer]) for layer, expected in cpu.relevances.items()]
    return max(float(np.abs(got - expected).max() / np.abs(expected).max()) for expected, got in pairs)


def rankings_differ(cpu: Mapping[str, Ranking], gpu: Mapping[str, Ranking]) -> Row:
    """Of a layer's largest value; and the share of sources that differ, ties within `CLOSE` apart."""
    largest, other, same = 0.0, 0, 0
    for layer, expected in cpu.items():
        got = gpu[layer]
        scale = max(float(expected.value.max()), 1e-30)
        largest = max(largest, float(np.abs(got.value - expected.value).max() / scale))
        differs = (got.source != expected.source) | (got.hop != expected.hop)
        other += int((differs & ~tied(expected, scale)).sum())
        same += int((~differs).sum())
    return {"largest": largest, "sources": other / (other + same), "n_sources": same}


def tied(ranking: Ranking, scale: float) -> np.ndarray[Any, Any]:
    """Places whose value is within `CLOSE` of a neighbour's in the ranking, or of what came after the last."""
    value = ranking.value
    near = np.abs(np.diff(value, axis=-1)) <= CLOSE * np.maximum(value[..., :-1], CLOSE * scale)
    last = np.ones_like(near[..., :1])  # what came after it is not known
    return np.concatenate([near, last], -1) | np.concatenate([np.zeros_like(last), near], -1)


def seconds(work: Callable[[], object], device: str) -> float:
    """Of one call; on a GPU by its own clock."""
    if device == "cpu":
        start = time.perf_counter()
        work()
        return time.perf_counter() - start
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    work()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / 1000


def cost(name: str, data: Path, device: str, batch_size: int, rounds: int, profile: bool) -> None:
    """Ratios to the bare pass."""
    network, preprocessing = build(NETWORKS[name], data, batch_size)
    batch = pixels(data, NETWORKS[name], preprocessing, batch_size)
    extractor = Extractor(network, preprocessing, OPTIONS, device)
    measures = {
        "maxima": {"influences": False, "contributions": False},
        "influences alone": {"contributions": False},
        "contributions alone": {"influences": False},
        "everything and relevance": {"relevance": True},
    }
    others = {
        name: Extractor(network, preprocessing, OPTIONS.replaced(**own), device) for name, own in measures.items()
    }
    images = extractor.normalise(torch.from_numpy(batch))
    outputs = np.zeros(batch_size, np.int32)
    with torch.no_grad():  # tensors of inference mode can take part in no backward pass
        variants: dict[str, Callable[[], object]] = {
            "bare": lambda: extractor.module(images),
            "everything": lambda: extractor.begin(batch, outputs),
            **{name: partial(other.begin, batch, outputs) for name, other in others.items()},
        }
        for work in variants.values():
            for _ in range(3):
                work()
        times = [{v: seconds(work, device) for v, work in variants.items()} for _ in range(rounds)]
        start = time.perf_counter()
        for _ in range(5):
            extractor(batch)
        whole = (time.perf_counter() - start) / 5
    bare = median(t["bare"] for t in times)
    for v in variants:
        low, middle, high = quantiles([t[v] / t["bare"] for t in times])
        each = 1000 * bare * middle / batch_size
        report(network=name, variant=v, ms_per_image=each, ratio=middle, low=low, high=high)
    report(network=name, variant="with the host's share, wall", ms_per_image=1000 * whole / batch_size)
    if profile:
        profiled(extractor, batch)


def profiled(extractor: Extractor, batch: np.ndarray[Any, Any]) -> None:
    """What the GPU spends its time on."""
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        extractor.begin(batch)
        torch.cuda.synchronize()
    print(profile.key_averages().table(sort_by="self_cuda_time_total", row_limit=18, max_name_column_width=60))


def main() -> None:
    """Compare and time every network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--networks", nargs="*", default=["googlenet_bvlc", "resnet50_v1", "mobilenet_v2"])
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    if options.device != "cpu":
        report(card=torch.cuda.get_device_name(), torch=torch.__version__)
    for name in options.networks:
        network, _ = build(NETWORKS[name], options.data, N_COMPARED)
        compare(name, network, options.data, options.device)
        cost(name, options.data, options.device, options.batch, options.rounds, options.profile)


if __name__ == "__main__":
    main()
