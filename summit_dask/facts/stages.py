"""The stages of a run, declared once: everything that speaks of stages reads this table.

    init ── extract ─┬─ reduce ─┬─ graphs
                     │          └─ embed
                     └─ examples

To add one: an entry here, and the module that `function` names.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from summit_dask.facts.config import (
    CountOptions,
    EmbedOptions,
    ExampleOptions,
    ExtractOptions,
    GraphOptions,
    Options,
    ResultOptions,
    fingerprint,
)
from summit_dask.facts.pairs import PAIRS


@dataclass(frozen=True)
class Stage:
    """One stage.

    Parameters
    ----------
    name, command
        What it is called, and the command of the command line that runs it (two stages may share one).
    groups
        Outermost groups of the store that it makes, named by what they hold.
    after
        The stage whose results it is made from; None for the first.
    options
        What its results depend on, beside the results of the stage before.
    summary
        What the command does, a line of help without a full stop.
    function
        ``module:function`` that makes the groups: takes the `Store`, the options and what connects to the cluster.
    by_partition
        Whether it works through partitions of the images and keeps those that are done when it is stopped. Other
        stages begin anew, and the results they renew stay until the new ones are whole.
    by_pair
        Whether each pair of measures has a group of its own inside, so that those of several stand side by side.
    on_cluster
        Whether it works on a cluster at all.
    version
        Of what it makes: raised when that becomes more or another, so that a run makes again what an earlier one made.
    """

    name: str
    command: str
    groups: Mapping[str, str]
    after: str | None
    options: type[Options]
    summary: str
    function: str
    by_partition: bool = False
    by_pair: bool = False
    on_cluster: bool = True
    version: int = 1

    def made_with(self, options: GraphOptions) -> tuple[str, ...]:
        """The groups that it makes with some options, each finished and renewed by itself."""
        return tuple(f"{group}/{options.pair.name}" if self.by_pair else group for group in self.groups)

    def beside(self, options: ResultOptions) -> Iterator[ResultOptions]:
        """The options, and whatever else than these it makes other groups with."""
        yield from (options.replaced(**pair._asdict()) for pair in PAIRS) if self.by_pair else [options]

    def load(self) -> Callable[..., Any]:
        """The function that makes the groups; what it needs is imported now."""
        module, _, name = self.function.partition(":")
        loaded: Callable[..., Any] = getattr(import_module(module), name)
        return loaded


STAGES: tuple[Stage, ...] = (
    Stage(
        name="extract",
        command="extract",
        groups={
            "activations": "values of single images",
            "influences": "sources of single images",
            "contributions": "contributions of single images",
            "relevances": "relevance of single images",
        },
        after=None,
        options=ExtractOptions,
        summary="Run the network over the images that are not done yet",
        function="summit_dask.stages.extract:extract",
        by_partition=True,
    ),
    Stage(
        name="reduce",
        command="reduce",
        groups={"matrices": "counts per class and channel"},
        after="extract",
        options=CountOptions,
        summary="Count which channels and sources the images of each class use",
        function="summit_dask.stages.reduce:reduce",
    ),
    Stage(
        name="examples",
        command="reduce",
        groups={"examples": "examples of channels"},
        after="extract",
        options=ExampleOptions,
        summary="find each channel's strongest images and where in them it fires",
        function="summit_dask.stages.examples:find_examples",
        version=2,
    ),
    Stage(
        name="graphs",
        command="graphs",
        groups={"graphs": "attribution graphs"},
        after="reduce",
        options=GraphOptions,
        summary="Make the attribution graph of each class",
        function="summit_dask.stages.graphs:make_graphs",
        by_pair=True,
    ),
    Stage(
        name="embed",
        command="embed",
        groups={"embedding": "class embedding"},
        after="reduce",
        options=EmbedOptions,
        summary="Place similar classes near each other, layer by layer",
        function="summit_dask.stages.embed:embed",
        on_cluster=False,
    ),
)

_BY_NAME = {stage.name: stage for stage in STAGES}


def stage_named(name: str) -> Stage:
    """The stage of that name."""
    return _BY_NAME[name]


def stage_of(group: str) -> Stage | None:
    """The stage that makes a group of the store, or what it lies in; None for what no stage makes."""
    return next((stage for stage in STAGES if group.partition("/")[0] in stage.groups), None)


def commands() -> dict[str, tuple[Stage, ...]]:
    """Stages by the command that runs them, in the order they run."""
    names = dict.fromkeys(stage.command for stage in STAGES)
    return {name: tuple(stage for stage in STAGES if stage.command == name) for name in names}


def stage_fingerprints(extraction: int, options: ResultOptions, revision: int = 0) -> dict[str, int]:
    """What each stage's results depend on, as one number: the extraction's facts, then the options stage by stage.

    Parameters
    ----------
    extraction
        Fingerprint of all that decides the measured values.
    revision
        How often images were measured again: the values after that are others, though nothing that decides them is.
    """
    plain = options.plain()
    prints: dict[str, int] = {}
    for stage in STAGES:
        if stage.after is None:
            prints[stage.name] = extraction
        else:
            own = {name: plain[name] for name in stage.options.model_fields}
            again = {"revision": revision} if revision else {}
            again |= {"version": stage.version} if stage.version > 1 else {}
            prints[stage.name] = fingerprint({"before": prints[stage.after], **again, **own})
    return prints
