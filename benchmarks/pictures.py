"""Do optimised pictures drive their channels harder than the best photograph, and how do they look?

    python benchmarks/pictures.py STORE [--layers NAME ...] [--channels 10] [--steps 256] [--sheet sheet.png]

Takes random channels of some layers of a store that holds per-image values, makes the picture of each, and compares
the channel's maximum on it with its largest stored maximum over all images. The network sees the picture at its own
input size twice: as it is, grey around it, and enlarged to the whole input. Prints a line per layer; the contact sheet
has a row per layer. Process CPU time, one thread.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from summit_dask.arrays.pictures import Preparation, Settings, Visualiser, batches
from summit_dask.network.build import built
from summit_dask.network.part import part_below
from summit_dask.store.store import Store


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--layers", nargs="+", help="default: lowest, middle and highest")
    parser.add_argument("--channels", type=int, default=10)
    parser.add_argument("--steps", type=int, default=256)
    parser.add_argument("--sheet", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    store = Store.open(given.store)
    visible = [layer.name for layer in store.layer_graph.visible]
    layers = given.layers or [visible[0], visible[len(visible) // 2], visible[-1]]
    rows = [measure(store, layer, given.channels, Settings(steps=given.steps)) for layer in layers]
    if given.sheet:
        Image.fromarray(np.concatenate(rows).squeeze()).save(given.sheet)


def measure(store: Store, layer: str, count: int, settings: Settings) -> NDArray[np.uint8]:
    """Print how the pictures of random channels do; returns them side by side."""
    spec = store.network
    preparation = Preparation(spec.preprocessing.input_size, spec.preprocessing.mean, spec.preprocessing.std)
    network = built(spec, 2)
    best = store.read(f"activations/{layer}/value").max(axis=0)
    channels = np.sort(np.random.default_rng(7).choice(np.flatnonzero(best > 0), count, replace=False))
    part = part_below(network.module, network.values[layer].node)
    visualiser = Visualiser(part, layer, preparation, settings)
    start = time.process_time()
    made = [
        visualiser.paint(batch.channels, "channel") for batch in batches(layer, "channel", channels.tolist(), settings)
    ]
    seconds = (time.process_time() - start) / count
    pictures = np.concatenate(made)
    shown = (torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255, spec.preprocessing.crop)
    ratios = [reached(visualiser, seen, channels) / best[channels] for seen in (surrounded(*shown), enlarged(*shown))]
    print(f"{layer}: {seconds:.1f} s a picture; best photograph = 1; as it is, enlarged:")
    for channel, *ratio in zip(channels, *ratios, strict=True):
        print(f"  {channel:5d}  {ratio[0]:5.2f}  {ratio[1]:5.2f}")
    print(f"  above 1: {np.mean(ratios[0] > 1):.0%}, {np.mean(ratios[1] > 1):.0%}", flush=True)
    return np.concatenate(list(pictures), axis=1)


def surrounded(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """In the middle of the network's input, grey around."""
    top, left = ((side - own) // 2 for side, own in zip(size, pictures.shape[2:], strict=True))
    below, right = size[0] - pictures.shape[2] - top, size[1] - pictures.shape[3] - left
    return functional.pad(pictures, (left, right, top, below), value=0.5)


def enlarged(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """Stretched over the network's whole input."""
    return functional.interpolate(pictures, size=size, mode="bicubic", antialias=True).clamp(0, 1)


def reached(visualiser: Visualiser, seen: Tensor, channels: NDArray[Any]) -> NDArray[np.float32]:
    """Spatial maximum of each picture's own channel."""
    with torch.inference_mode():
        maps = visualiser.part((seen - visualiser.mean) / visualiser.std)
    return maps[torch.arange(len(channels)), torch.from_numpy(channels)].flatten(1).amax(1).numpy()


if __name__ == "__main__":
    main()
