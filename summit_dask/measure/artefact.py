"""A traced network compiled by inductor: one artefact a machine, kept in the user's cache folder.

    ~/.cache/summit-dask/networks/3f0a....pt2          code and packed weights; workers load it
                                  3f0a....pt2.lock     held by the process that compiles it, others wait

Weights are folded and packed beforehand (freezing), pointwise operations are fused. Values agree with those of the
network run operation by operation to `AGREEMENT` of a layer's largest; so ranks of near ties may differ, and a store is
made in one way alone.
"""

import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from math import prod
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor, fx

from summit_dask.facts.errors import ModelError
from summit_dask.facts.layergraph import Hop, LayerGraph

#: Largest difference from the network run operation by operation, as a share of a layer's largest value.
AGREEMENT = 1e-4

# What was measured of GoogLeNet, ResNet-50 and MobileNetV2: 17 to 33 seconds, 0.24 to 0.47 of a pass saved.
COMPILING_SECONDS = 40.0
SAVED = 0.25
MULTIPLICATIONS_PER_SECOND = 4e10

#: Constants folded and weights packed; code for one thread, as workers run, and made without processes that stay.
_SETTINGS = {"freezing": True, "cpp.threads": 1, "compile_threads": 1}

Compiled = Callable[[Tensor], Sequence[Tensor]]


def compiler() -> str | None:
    """The C++ compiler that inductor would use; None where there is none."""
    usual = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    return shutil.which(os.environ.get("CXX", usual))


def pays_from(layer_graph: LayerGraph) -> int:
    """Number of images from which on compiling takes less time than it saves, roughly, on a machine of two cores.

    Two digits of it, then zeros.
    Of a network's multiplications those of its hops are counted, nearly all there are.
    """
    per_image = sum(_multiplications(layer_graph, hop) for hop in layer_graph.hops if hop.convolution)
    saved = SAVED * max(per_image, 1) / MULTIPLICATIONS_PER_SECOND
    return int(float(f"{COMPILING_SECONDS / saved:.1e}"))


def _multiplications(layer_graph: LayerGraph, hop: Hop) -> int:
    target, convolution = layer_graph.layer(hop.target), hop.convolution
    assert convolution is not None
    sources = layer_graph.layer(hop.source).channels if hop.sources is None else len(hop.sources)
    each = prod(convolution.kernel) * max(1, sources // convolution.groups)
    return hop.channels * target.height * target.width * each


def compiled(module: fx.GraphModule, nodes: Sequence[str], images: Tensor) -> Compiled:
    """A network that gives its outputs and then the values of some nodes, compiled or taken from the cache.

    Parameters
    ----------
    module
        Of ATen operations, on the CPU.
    nodes
        Names of nodes of its graph.
    images
        A batch as it will be given: shape and memory format count.

    Raises
    ------
    ModelError
        If it can't be compiled here.
    """
    whole = _with_outputs(module, nodes)
    path = cache_folder() / f"{_key(whole, images)}.pt2"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if not path.exists():
            _compile(whole, images, path)
    loaded: Compiled = torch._inductor.aoti_load_package(str(path), run_single_threaded=True)
    return loaded


def cache_folder() -> Path:
    """Where compiled networks are kept."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "summit-dask" / "networks"


def _key(module: fx.GraphModule, images: Tensor) -> str:
    """Digest of all that the artefact depends on: operations, weights, what is given, versions, processor."""
    machine = (torch.__version__, torch.backends.cpu.get_cpu_capability(), os.environ.get("CXX"), _SETTINGS)
    digest = hashlib.sha256(repr((machine, images.shape, images.stride(), module.code)).encode())
    for name in sorted(str(node.target) for node in module.graph.nodes if node.op == "get_attr"):
        tensor = attrgetter(name)(module)
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(memoryview(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy()))
    return digest.hexdigest()


def _with_outputs(module: fx.GraphModule, nodes: Sequence[str]) -> fx.GraphModule:
    """The network with the values of nodes as further outputs."""
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    graph.graph_copy(module.graph, copies)
    by_name = {node.name: copy for node, copy in copies.items()}
    (answer,) = module.graph.output_node().all_input_nodes
    graph.output((copies[answer], *(by_name[name] for name in nodes)))
    return fx.GraphModule(module, graph)


def _compile(module: fx.GraphModule, images: Tensor, path: Path) -> None:
    unfinished = path.with_suffix(f".{os.getpid()}.pt2")
    try:
        with torch.no_grad():
            program = torch.export.export(module, (images,))
            torch._inductor.aoti_compile_and_package(
                program, package_path=str(unfinished), inductor_configs=dict[str, Any](_SETTINGS)
            )
        unfinished.replace(path)
    except Exception as error:  # export, inductor and the C++ compiler have errors of many kinds
        raise ModelError(
            f"The network can't be compiled here ({type(error).__name__}: {str(error).splitlines()[0]}). "
            "Run with --no-compile and another --out, or install a C++ compiler that works."
        ) from error
    finally:
        unfinished.unlink(missing_ok=True)
