"""From a run's options to the specification of its network, and from the specification to the network itself."""

from dataclasses import dataclass

from torch import nn

from summit_dask.facts.config import MeasureOptions
from summit_dask.facts.errors import ClusterError
from summit_dask.facts.location import Location
from summit_dask.facts.preprocessing import Preprocessing
from summit_dask.facts.run import NetworkSpec
from summit_dask.network.load import LoadedNetwork, find_network, load_network
from summit_dask.network.program import has_program, load_program, program_path
from summit_dask.network.trace import trace_network
from summit_dask.network.traced import TracedNetwork
from summit_dask.network.zoos.found import FoundNetwork


@dataclass(frozen=True)
class NetworkFacts:
    """What a run needs to know of a network beside the module."""

    traced: TracedNetwork
    n_outputs: int
    categories: tuple[str, ...] | None
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class LookedInto:
    """A network as its options ask for it: what it takes for an image, the module, and what is traced of it."""

    preprocessing: Preprocessing
    loaded: LoadedNetwork
    traced: TracedNetwork


def specified(options: MeasureOptions) -> tuple[NetworkSpec, NetworkFacts]:
    """Specification and facts of the network that a run asks for; loads and traces it once.

    Raises
    ------
    ModelError, ConfigError
        If it can't be loaded or traced, or there is nothing to show of it.
    """
    found = find_network(options.model, options.weights, options.weights_key, options.transform_input)
    network = look_into(found, options)
    spec = NetworkSpec(
        model=options.model,
        weights=options.weights,
        weights_key=options.weights_key,
        transform_input=found.transform_input,
        output=options.output,
        layers=options.layers,
        logits=network.traced.class_step is not None,
        preprocessing=network.preprocessing,
        digest=network.loaded.digest,
    )
    return spec, NetworkFacts(network.traced, network.loaded.n_outputs, found.categories, network.loaded.notes)


def look_into(found: FoundNetwork, options: MeasureOptions) -> LookedInto:
    """Make a network ready and trace it.

    Raises
    ------
    ModelError, ConfigError
        If it can't be made ready, can't be traced as the options say, or there is nothing to show of it.
    """
    preprocessing = Preprocessing.of(options, found.preprocessing)
    loaded = load_network(found, preprocessing.input_size, options.output)
    traced = trace_network(loaded.module, options.layers, preprocessing.input_size, options.batch_size, options.logits)
    traced.layer_graph.refuse_nothing_to_show()
    return LookedInto(preprocessing, loaded, traced)


def built(spec: NetworkSpec, batch_size: int, store: Location | None = None) -> TracedNetwork:
    """The traced network, for so many images at a time; from the file beside its store where there is one.

    Raises
    ------
    ClusterError
        If the weights at hand are not those the run began with.
    """
    if store is not None and has_program(path := program_path(store, spec, batch_size)):
        return load_program(path)
    return built_beside(spec, batch_size)[1]


def built_beside(spec: NetworkSpec, batch_size: int) -> tuple[nn.Module, TracedNetwork]:
    """The module as its user wrote it, and the traced network; raises as `built`."""
    found = find_network(spec.model, spec.weights, spec.weights_key, spec.transform_input)
    loaded = load_network(found, spec.preprocessing.input_size, spec.output)
    if loaded.digest != spec.digest:
        raise ClusterError(
            f"The weights of {spec.model} here have the digest {loaded.digest[:16]}, the run began with "
            f"{spec.digest[:16]}; put the same weights on every machine."
        )
    traced = trace_network(loaded.module, spec.layers, spec.preprocessing.input_size, batch_size, spec.logits)
    return loaded.module, traced
