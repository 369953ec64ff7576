"""A traced network in a file, so that it is traced once and not by every worker.

One safetensors file: constants of the graph and weights of the steps as tensors, all else as JSON in its metadata. No
code is in it; operations stand there by name::

    {"nodes": [{"op": "call_function", "name": "relu", "target": "aten.relu.default", "args": [{"node": "conv"}], ...
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from math import inf, isinf
from operator import getitem
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, fx, nn

from summit_dask.facts.config import fingerprint
from summit_dask.facts.errors import StoreError
from summit_dask.facts.files import folder
from summit_dask.facts.layergraph import Convolution, LayerGraph, as_channels
from summit_dask.facts.location import Location
from summit_dask.facts.run import NetworkSpec
from summit_dask.network.export import attribute
from summit_dask.network.traced import ClassStep, PreActivation, Step, TracedNetwork, Value


def program_path(store: Location, spec: NetworkSpec, batch_size: int) -> Location:
    """Where the network of a store lies, beside it; another network, batch size or version of torch: another file."""
    key = fingerprint({**spec.model_dump(mode="json"), "batch_size": batch_size, "torch": torch.__version__,
                       "summit-dask": version("summit-dask")})  # fmt: skip
    return store.with_name(f"{store.name}.network") / f"{key:016x}.safetensors"


def save_program(network: TracedNetwork, path: Location) -> None:
    """Write a traced network to a file, which is there whole or not at all.

    Raises
    ------
    StoreError
        If there is no room, or nothing may be written there.
    """
    tensors = _constants(network.module)
    steps = [_plain_step(step, f"step.{i}", tensors) for i, step in enumerate(network.steps)]
    unranked = [_plain_step(step, f"unranked.{i}", tensors) for i, step in enumerate(network.unranked)]
    tensors |= {f"bias.{layer}": bias for layer, bias in network.bias.items()}
    facts = {
        "nodes": [_plain_node(node) for node in network.module.graph.nodes],
        "batch_size": network.batch_size,
        "layer_graph": network.layer_graph.to_json(),
        "values": network.values,
        "steps": steps,
        "unranked": unranked,
        "bias": [*network.bias],
        "pre_activations": {
            layer: [_plain_pre_activation(part, f"pre.{layer}.{i}", tensors) for i, part in enumerate(parts)]
            for layer, parts in network.pre_activations.items()
        },
        "module_outputs": dict(network.module_outputs),
        "factors": dict(network.factors),
        "class_step": network.class_step and _plain_class_step(network.class_step, tensors),
    }
    plain = {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}
    try:
        folder(path.parent).write(path.name, save(plain, {"network": json.dumps(facts)}))
    except OSError as error:
        raise StoreError(
            f"The traced network can't be written to {path}: {error}. Make room, or another --out; the same command "
            "goes on."
        ) from error


def has_program(path: Location) -> bool:
    """Whether `save_program` wrote there."""
    return folder(path.parent).size(path.name) is not None


def load_program(path: Location) -> TracedNetwork:
    """The traced network that `save_program` wrote.

    Raises
    ------
    StoreError
        If the file is damaged.
    """
    try:
        with _on_this_machine(path) as own, safe_open(own, "pt") as file:
            facts = json.loads(file.metadata()["network"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return _network(facts, tensors)
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise StoreError(f"The traced network {path} is damaged: {error}. Delete it; it is made again.") from error


@contextmanager
def _on_this_machine(path: Location) -> Iterator[Path]:
    """The file itself, or a copy of it for as long as it is read."""
    if isinstance(path, Path):
        yield path
        return
    with TemporaryDirectory(prefix="summit-dask-") as own:
        copy = Path(own, path.name)
        copy.write_bytes(folder(path.parent).read(path.name))
        yield copy


def _network(facts: dict[str, Any], tensors: dict[str, Tensor]) -> TracedNetwork:
    return TracedNetwork(
        module=_module(facts["nodes"], tensors),
        batch_size=facts["batch_size"],
        layer_graph=LayerGraph.from_json(facts["layer_graph"]),
        values={layer: Value(*value) for layer, value in facts["values"].items()},
        steps=tuple(_step(step, f"step.{i}", tensors) for i, step in enumerate(facts["steps"])),
        unranked=tuple(_step(step, f"unranked.{i}", tensors) for i, step in enumerate(facts["unranked"])),
        bias={layer: tensors[f"bias.{layer}"] for layer in facts["bias"]},
        pre_activations={
            layer: tuple(_pre_activation(part, f"pre.{layer}.{i}", tensors) for i, part in enumerate(parts))
            for layer, parts in facts["pre_activations"].items()
        },
        module_outputs=facts["module_outputs"],
        factors=facts["factors"],
        class_step=facts["class_step"] and _class_step(facts["class_step"], tensors),
    )


# The graph


def _constants(module: fx.GraphModule) -> dict[str, Tensor]:
    return {f"constant.{n.target}": attribute(module, str(n.target)) for n in module.graph.nodes if n.op == "get_attr"}


def _plain_node(node: fx.Node) -> dict[str, Any]:
    value = node.meta.get("val")
    return {
        "op": node.op,
        "name": node.name,
        "target": "getitem" if node.target is getitem else str(node.target),
        "args": _plain(node.args),
        "kwargs": _plain(dict(node.kwargs)),
        "shape": list(value.shape) if isinstance(value, Tensor) else None,
    }


def _module(nodes: list[dict[str, Any]], tensors: dict[str, Tensor]) -> fx.GraphModule:
    root, graph = nn.Module(), fx.Graph()
    made: dict[str, fx.Node] = {}
    for facts in nodes:
        target = _target(facts["target"]) if facts["op"] == "call_function" else facts["target"]
        if facts["op"] == "get_attr":
            target = facts["target"].replace(".", "_")
            root.register_buffer(target, tensors[f"constant.{facts['target']}"])
        args, kwargs = _given(facts["args"], made), _given(facts["kwargs"], made)
        node = graph.create_node(facts["op"], target, tuple(args), kwargs, name=facts["name"])
        made[facts["name"]] = node
        if facts["shape"] is not None:
            node.meta["val"] = torch.empty(facts["shape"], device="meta")
    return fx.GraphModule(root, graph).eval()


def _target(name: str) -> Any:
    """An operation by its name: aten.relu.default, or getitem."""
    if name == "getitem":
        return getitem
    found: Any = torch.ops
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _plain(value: Any) -> Any:
    """An argument as JSON can hold it."""
    if isinstance(value, fx.Node):
        return {"node": value.name}
    if isinstance(value, torch.dtype | torch.memory_format | torch.layout):
        return {"torch": str(value).removeprefix("torch.")}
    if isinstance(value, torch.device):
        return {"device": str(value)}
    if isinstance(value, float) and isinf(value):
        return {"infinite": value > 0}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return {"table": {key: _plain(item) for key, item in value.items()}} if isinstance(value, dict) else value


def _given(value: Any, made: dict[str, fx.Node]) -> Any:
    """What `_plain` made plain."""
    if isinstance(value, list):
        return [_given(item, made) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items()
    if kind == "table":
        return {key: _given(item, made) for key, item in inner.items()}
    if kind == "node":
        return made[inner]
    if kind == "infinite":
        return inf if inner else -inf
    return torch.device(inner) if kind == "device" else getattr(torch, inner)


# Steps and what they add up to


def _plain_step(step: Step, name: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    if step.weight is not None:
        tensors[f"{name}.weight"] = step.weight
    return {
        "name": step.name,
        "input": step.input,
        "order": None if step.order is None else list(step.order),
        "convolution": step.convolution and asdict(step.convolution),
        "target": step.target,
        "targets": list(step.targets),
        "hop": step.hop.tolist(),
        "source": step.source.tolist(),
    }


def _step(facts: dict[str, Any], name: str, tensors: dict[str, Tensor]) -> Step:
    geometry = facts["convolution"]
    return Step(
        name=facts["name"],
        input=Value(*facts["input"]),
        order=None if facts["order"] is None else as_channels(facts["order"]),
        convolution=geometry and Convolution(**{key: _pair(value) for key, value in geometry.items()}),
        weight=tensors.get(f"{name}.weight"),
        target=facts["target"],
        targets=as_channels(facts["targets"]),
        hop=np.array(facts["hop"], np.int16),
        source=np.array(facts["source"], np.int16),
    )


def _plain_class_step(step: ClassStep, tensors: dict[str, Tensor]) -> dict[str, Any]:
    tensors |= {"class.weight": torch.from_numpy(step.weight), "class.bias": torch.from_numpy(step.bias)}
    return {"input": step.input, "hop": step.hop.tolist(), "source": step.source.tolist()}


def _class_step(facts: dict[str, Any], tensors: dict[str, Tensor]) -> ClassStep:
    return ClassStep(
        input=Value(*facts["input"]),
        weight=tensors["class.weight"].numpy(),
        bias=tensors["class.bias"].numpy(),
        hop=np.array(facts["hop"], np.int16),
        source=np.array(facts["source"], np.int16),
    )


def _plain_pre_activation(part: PreActivation, name: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    tensors |= {f"{name}.scale": part.scale, f"{name}.shift": part.shift}
    return {"value": part.value, "channels": list(part.channels), "targets": list(part.targets)}


def _pre_activation(facts: dict[str, Any], name: str, tensors: dict[str, Tensor]) -> PreActivation:
    channels, targets = as_channels(facts["channels"]), as_channels(facts["targets"])
    return PreActivation(Value(*facts["value"]), channels, targets, tensors[f"{name}.scale"], tensors[f"{name}.shift"])


def _pair(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
