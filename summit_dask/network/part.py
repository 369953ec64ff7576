"""The part of a network below one of its layers, for whoever wants that layer's maps alone.

    image ── conv ── ReLU ─┬─────────────────── cat ┄┄ pooling ┄┄ ...
                           └─ conv ── (ReLU) ───┘

The part of `cat` ends there. The ReLU in brackets, the last thing that happens to its maps, is left out; the other one
stays, since something else needs it too.
"""

import torch
from torch import fx

from summit_dask.facts.errors import ModelError
from summit_dask.network.operations import is_relu, operation


def part_below(module: fx.GraphModule, node: str) -> fx.GraphModule:
    """The part of a network that computes one node; a ReLU that ends it is left out.

    Without it a channel that is silent at first still has a gradient, and a negative channel something to minimise.

    Parameters
    ----------
    module
        The whole network.
    node
        Name of a node of its graph.

    Returns
    -------
    GraphModule
        From the network's input to the node's value; in eval mode, its weights frozen, channels last. Takes any number
        of images: where a shape is written out, that of the images is left open.

    Raises
    ------
    ModelError
        If there is no such node.
    """
    nodes = {n.name: n for n in module.graph.nodes}
    if node not in nodes:
        raise ModelError(f"The traced network has no node {node!r}; it was traced from another version.")
    target = nodes[node]
    needed = _ancestors(target)
    skipped = _final_relus(target, needed)
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for n in module.graph.nodes:
        if n in skipped:
            copies[n] = copies[n.all_input_nodes[0]]
        elif n in needed:
            copies[n] = graph.node_copy(n, copies.__getitem__)
    _open_batch(graph, module)
    graph.output(copies[target])
    part = fx.GraphModule(module, graph).eval().requires_grad_(False)
    return part.to(memory_format=torch.channels_last)


def _open_batch(graph: fx.Graph, module: fx.GraphModule) -> None:
    """Write -1 for the number of images that the whole network was exported for."""
    image = next(n for n in module.graph.nodes if n.op == "placeholder")
    n_images = image.meta["val"].shape[0]
    for node in graph.nodes:
        sizes = node.args[1] if operation(node) in ("reshape", "expand") else ()
        if sizes and sizes[0] == n_images:
            node.args = (node.args[0], [-1, *node.meta["val"].shape[1:]], *node.args[2:])


def _ancestors(target: fx.Node) -> set[fx.Node]:
    """The node itself and all that it is computed from."""
    ancestors = {target}
    waiting = [target]
    while waiting:
        new = set(waiting.pop().all_input_nodes) - ancestors
        ancestors |= new
        waiting += new
    return ancestors


def _final_relus(target: fx.Node, needed: set[fx.Node]) -> set[fx.Node]:
    """ReLUs that nothing but the target uses, directly or through a concatenation."""
    if operation(target) == "cat":
        parts = [n for n in target.all_input_nodes if not set(n.users) & needed - {target}]
        return set().union(*(_final_relus(n, needed) for n in parts))
    return {target} if is_relu(target) else set()
