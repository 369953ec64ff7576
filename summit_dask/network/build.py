"""From a run's options to the specification of its network, and from the specification to the network itself."""

from dataclasses import dataclass

from summit_dask.facts.config import ExtractOptions
from summit_dask.facts.errors import ClusterError
from summit_dask.facts.layergraph import LayerGraph
from summit_dask.facts.preprocessing import Preprocessing
from summit_dask.facts.run import NetworkSpec
from summit_dask.network.load import find_network, load_network
from summit_dask.network.trace import TracedNetwork, trace_network


@dataclass(frozen=True)
class NetworkFacts:
    """What a run needs to know of a network beside the module."""

    layer_graph: LayerGraph
    n_outputs: int
    categories: tuple[str, ...] | None
    notes: tuple[str, ...]


def specified(options: ExtractOptions) -> tuple[NetworkSpec, NetworkFacts]:
    """Specification and facts of the network that a run asks for; loads and traces it once.

    Raises
    ------
    ModelError, ConfigError
        If it can't be loaded or traced.
    """
    found = find_network(options.model, options.weights, options.weights_key, options.transform_input)
    preprocessing = Preprocessing.of(options, found.preprocessing)
    loaded = load_network(found, preprocessing.input_size, options.output)
    traced = trace_network(loaded.module, options.layers, preprocessing.input_size)
    spec = NetworkSpec(
        model=options.model,
        weights=options.weights,
        weights_key=options.weights_key,
        transform_input=found.transform_input,
        output=options.output,
        layers=options.layers,
        preprocessing=preprocessing,
        digest=loaded.digest,
    )
    return spec, NetworkFacts(traced.layer_graph, loaded.n_outputs, found.categories, loaded.notes)


def built(spec: NetworkSpec) -> TracedNetwork:
    """The traced network.

    Raises
    ------
    ClusterError
        If the weights at hand are not those the run began with.
    """
    found = find_network(spec.model, spec.weights, spec.weights_key, spec.transform_input)
    loaded = load_network(found, spec.preprocessing.input_size, spec.output)
    if loaded.digest != spec.digest:
        raise ClusterError(
            f"The weights of {spec.model} here have the digest {loaded.digest[:16]}, the run began with "
            f"{spec.digest[:16]}; put the same weights on every machine."
        )
    return trace_network(loaded.module, spec.layers, spec.preprocessing.input_size)
