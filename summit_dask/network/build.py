"""From a run's options to the specification of its network, and from the specification to the network itself."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from summit_dask.facts.config import MeasureOptions
from summit_dask.facts.errors import ClusterError
from summit_dask.facts.preprocessing import Preprocessing
from summit_dask.facts.run import NetworkSpec
from summit_dask.network.load import LoadedNetwork, load_network, n_outputs
from summit_dask.network.program import load_program, program_path
from summit_dask.network.trace import trace_network
from summit_dask.network.traced import TracedNetwork


@dataclass(frozen=True)
class NetworkFacts:
    """What a run needs to know of a network beside the module."""

    traced: TracedNetwork
    n_outputs: int
    categories: tuple[str, ...] | None


def specified(options: MeasureOptions) -> tuple[NetworkSpec, NetworkFacts]:
    """Specification and facts of the network that a run asks for; loads and traces it once.

    Raises
    ------
    ModelError, ConfigError
        If it can't be loaded or traced, or there is nothing to show of it.
    """
    loaded = load_network(options.model, options.weights, options.weights_key, options.transform_input)
    preprocessing, traced = looked_into(loaded, options)
    spec = NetworkSpec(
        model=options.model,
        weights=options.weights,
        weights_key=options.weights_key,
        transform_input=loaded.transform_input,
        layers=options.layers,
        preprocessing=preprocessing,
        digest=loaded.digest,
    )
    outputs = n_outputs(loaded.module, preprocessing.input_size)
    return spec, NetworkFacts(traced, outputs, loaded.categories)


def looked_into(loaded: LoadedNetwork, options: MeasureOptions) -> tuple[Preprocessing, TracedNetwork]:
    """What a network takes for an image, and what is traced of it.

    Raises
    ------
    TraceError, LayerNotFoundError, ConfigError
        If it can't be traced as the options say, or there is nothing to show of it.
    """
    preprocessing = Preprocessing.of(options, loaded.preprocessing)
    traced = trace_network(loaded.module, options.layers, preprocessing.input_size, options.batch_size)
    traced.layer_graph.refuse_nothing_to_show()
    return preprocessing, traced


def built(spec: NetworkSpec, batch_size: int, store: Path | None = None) -> TracedNetwork:
    """The traced network, for so many images at a time; from the file beside its store where there is one.

    Raises
    ------
    ClusterError
        If the weights at hand are not those the run began with.
    """
    if store is not None and (path := program_path(store, spec, batch_size)).exists():
        return load_program(path)
    return built_beside(spec, batch_size)[1]


def built_beside(spec: NetworkSpec, batch_size: int) -> tuple[nn.Module, TracedNetwork]:
    """The module as its user wrote it, and the traced network; raises as `built`."""
    loaded = load_network(spec.model, spec.weights, spec.weights_key, spec.transform_input)
    if loaded.digest != spec.digest:
        raise ClusterError(
            f"The weights of {spec.model} here have the digest {loaded.digest[:16]}, the run began with "
            f"{spec.digest[:16]}; put the same weights on every machine."
        )
    return loaded.module, trace_network(loaded.module, spec.layers, spec.preprocessing.input_size, batch_size)
