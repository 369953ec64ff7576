"""All families of convolutional networks: whether they are accepted and complete, and the time that takes.

    OMP_NUM_THREADS=1 python benchmarks/families.py [NAME ...]

Real structures with random weights (`tests/families.py`). Process CPU time. Of each a line: layers shown and hidden,
hops, seconds of tracing and of checking, and the largest difference, or why it is refused.
"""

import sys
import time
import warnings

import torch

from summit_dask.facts.errors import TraceError
from summit_dask.network.completeness import check_completeness
from summit_dask.network.trace import trace_network
from tests import families


def line(name: str) -> str:
    """What is found of one network."""
    side, module = families.SIDES[name], families.network(name)
    start = time.process_time()
    try:
        traced = trace_network(module, (), (3, side, side))
    except TraceError as error:
        return f"{name:36} refused: {str(error)[:200]}"
    middle = time.process_time()
    found = check_completeness(module, traced)
    end = time.process_time()
    graph = traced.layer_graph
    wrong = [one.layer for one in found if not one.complete]
    worst = max((one.difference for one in found), default=float("nan"))
    return (
        f"{name:36} {len(graph.visible):4} {len(graph.layers) - len(graph.visible):4} {len(graph.hops):5} "
        f"{middle - start:6.1f} {end - middle:6.1f} {worst:9.1e} {'INCOMPLETE: ' + ', '.join(wrong) if wrong else ''}"
    )


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print(f"{'network':36} shown, hidden, hops, s tracing, s checking, largest difference")
    for name in sys.argv[1:] or families.SIDES:
        print(line(name), flush=True)


if __name__ == "__main__":
    main()
