"""Weights files: reading them without running anything, and finding a network's tensors in them.

Training scripts put a network's tensors among other things, and often under longer names than its own::

    {"epoch": 3,
     "state_dict": {"module.conv.weight": ..., "module.fc.weight": ...},      key: state_dict.module
     "ema": {"conv.weight": ..., "fc.weight": ...},                           key: ema
     "optimizer": {"state": ...}}

So the network's own names are looked for: in every table of the file, under every prefix. The keys that lead to the
table and the prefix in it are together the *key* of what was found. If the network's names stand in the file once,
these are its weights; if more than once, with other values, whoever asked has to say which.

Weights come as safetensors, or as what `torch.load` reads with ``weights_only=True``. Any other pickle could run code
and is refused.
"""

import argparse
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from summit_dask.facts.errors import WeightsError, suggestion

State = Mapping[str, Tensor]

#: How many names a message gives of many.
_SHOWN = 5

#: What training on several devices and compiling put before the names of what they wrap, anywhere in a network.
_WRAPPERS = frozenset({"module", "_orig_mod"})


@dataclass(frozen=True)
class Expected:
    """The tensors that a network wants of a weights file.

    Attributes
    ----------
    tensors
        By the network's own names; only their shapes and kinds matter, so they may be on the meta device.
    class_sized
        Names of those whose first axis is the classes, as many as the file has.
    spare
        Beginnings of names that the file may hold beside them.
    convert
        Turns another layout of the same network into this one; raises or gives nonsense for anything else.
    """

    tensors: State
    class_sized: tuple[str, ...] = ()
    spare: tuple[str, ...] = ()
    convert: Callable[[dict[str, Tensor]], State] | None = None

    @cached_property
    def required(self) -> frozenset[str]:
        """The names that a file must have."""
        return frozenset(name for name in self.tensors if not counts_batches(name))

    def n_classes(self, state: State) -> int:
        """How many classes a file's tensors are made for; the network's own number where they can't tell."""
        own = [self.tensors[name] for name in self.class_sized]
        given = [state[name] for name in self.class_sized if name in state and state[name].ndim]
        return len((given or own)[0])

    def wrong(self, state: State) -> dict[str, list[str]]:
        """What is wrong with tensors for this network: names by kind of fault, the faults that there are."""
        faults = {
            "missing": [name for name in self.tensors if name not in state and name in self.required],
            "unexpected": [name for name in state if name not in self.tensors and not self._may_be_left(name, state)],
            "of another shape": list(self._reshaped(state)),
            "of another kind": list(self._retyped(state)),
        }
        return {fault: names for fault, names in faults.items() if names}

    def _may_be_left(self, name: str, state: State) -> bool:
        """Whether a name may be passed over: one to spare, or a whole number, which counts something (epochs)."""
        number = state[name].ndim == 0 and not state[name].is_floating_point()
        return number or name.startswith(self.spare)

    def _reshaped(self, state: State) -> Iterator[str]:
        for name in self._shared(state):
            shape = tuple(self.tensors[name].shape)
            if name in self.class_sized:
                shape = (self.n_classes(state), *shape[1:])
            if tuple(state[name].shape) != shape:
                yield f"{name} {tuple(state[name].shape)} instead of {shape}"

    def _retyped(self, state: State) -> Iterator[str]:
        """Quantised weights are whole numbers, whose meaning stands elsewhere."""
        for name in self._shared(state):
            if state[name].is_floating_point() != self.tensors[name].is_floating_point():
                yield f"{name} {state[name].dtype} instead of {self.tensors[name].dtype}"

    def _shared(self, state: State) -> list[str]:
        return [name for name in self.tensors if name in self.required and name in state]


@dataclass(frozen=True, eq=False)
class _Part:
    """Tensors of a file that share a key, by their names without it."""

    key: str
    state: State

    def matches(self, expected: Expected) -> int:
        """How many of the network's names it has."""
        return len(self.state.keys() & expected.required)

    def completes(self, expected: Expected) -> bool:
        """Whether it has all that the network needs, in the right shapes; it may have more."""
        return not expected.wrong(self.state).keys() - {"unexpected"}

    def same(self, other: "_Part", names: Collection[str]) -> bool:
        """Whether two parts hold equal tensors of some names, so that it doesn't matter which one is taken."""
        pairs = [(self.state[name], other.state[name]) for name in names]
        return all(one.dtype == two.dtype and torch.equal(one, two) for one, two in pairs)


def counts_batches(name: str) -> bool:
    """Whether a tensor is a batch norm's count of batches: only training needs it, and files may leave it out."""
    return name.endswith("num_batches_tracked")


def read_state(path: Path, expected: Expected, key: str | None = None) -> dict[str, Tensor]:
    """A network's tensors from a weights file.

    Parameters
    ----------
    path
        A safetensors file, by its ending, or one that `torch.save` wrote.
    expected
        What the network wants.
    key
        Where in the file to look, for one that holds the network more than once: keys and prefix, joined by dots.

    Returns
    -------
    dict
        All of the network's tensors, by its own names, as the file has them; counts of batches as 0.

    Raises
    ------
    WeightsError
        If there is no such file, it is of a refused kind, or doesn't hold the network exactly once; names what is
        missing or of another shape in the part that comes nearest.
    """
    content = _content(path)
    tables = list(_tables(content))
    if not tables:
        raise WeightsError(f"{path} holds {_kind(content)}, expected a state dict (name: tensor).")
    parts = [part for table in tables for part in _parts(table, expected.required)]
    if not any(part.completes(expected) for part in parts):
        parts += [part for table in tables for part in _rewritten(table, expected)]
    chosen = _only(path, _under(path, parts, tables, key), expected)
    if chosen is None:
        raise WeightsError(_nothing_fits(path, tables, expected))
    _check_fit(path, chosen, expected)
    return _completed(chosen.state, expected)


# Finding the network in a file


def _tables(content: Any, keys: tuple[str, ...] = ()) -> Iterator[_Part]:
    """Every table in a file that holds tensors itself, outer ones first; their keys lead to the tables."""
    if not isinstance(content, Mapping):
        return
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if tensors:
        yield _Part(".".join(keys), tensors)
    for key, value in content.items():
        yield from _tables(value, (*keys, str(key)))


def _parts(table: _Part, names: Collection[str]) -> Iterator[_Part]:
    """What stands in a table under each prefix that one of the network's names has there; none is a prefix too."""
    prefixes = dict.fromkeys(prefix for name in table.state for prefix, rest in _cuts(name) if rest in names)
    for prefix in prefixes:
        state = {name.removeprefix(prefix): tensor for name, tensor in table.state.items() if name.startswith(prefix)}
        yield _Part(".".join(filter(None, (table.key, prefix.rstrip(".")))), state)


def _cuts(name: str) -> Iterator[tuple[str, str]]:
    """``a.b.c`` as ('', 'a.b.c'), ('a.', 'b.c') and ('a.b.', 'c')."""
    words = name.split(".")
    for i in range(len(words)):
        yield "".join(f"{word}." for word in words[:i]), ".".join(words[i:])


def _rewritten(table: _Part, expected: Expected) -> Iterator[_Part]:
    """What stands in a table under other names than the network's, in each way that is known."""
    yield from _unwrapped(table, expected.required)
    plain = {".".join(word for word in name.split(".") if word not in _WRAPPERS): name for name in table.state}
    state = {name: table.state[full] for name, full in plain.items()}
    yield from _parts(_Part(table.key, state), expected.required)
    yield from _converted(_Part(table.key, state), expected)


def _converted(table: _Part, expected: Expected) -> Iterator[_Part]:
    if expected.convert is None:
        return
    try:
        yield _Part(table.key, dict(expected.convert(dict(table.state))))
    except Exception:  # the table is something else
        return


def _unwrapped(table: _Part, names: Collection[str]) -> Iterator[_Part]:
    """The same for a network wrapped after its weights were saved: all of its names begin with a word of the wrapper's.

    The file has ``conv.weight`` and ``fc.weight``, the network ``net.conv.weight`` and ``net.fc.weight``.
    """
    wrapper, dot, _ = min(names, default="").partition(".")
    if not dot or not all(name.startswith(f"{wrapper}.") for name in names):
        return
    inner = {name.removeprefix(f"{wrapper}.") for name in names}
    for part in [*_parts(table, inner), *_unwrapped(table, inner)]:
        yield _Part(part.key, {f"{wrapper}.{name}": tensor for name, tensor in part.state.items()})


def _under(path: Path, parts: Sequence[_Part], tables: Sequence[_Part], key: str | None) -> Sequence[_Part]:
    """The parts that a key leads to: the one of that key, else those that lie deeper."""
    if key is None:
        return parts
    exact = [part for part in parts if part.key == key]
    deeper = [part for part in parts if part.key.startswith(f"{key}.")]
    if not exact and not deeper:
        known = {part.key for part in parts or tables}
        raise WeightsError(f"{path} holds no weights of the network under the key {key!r}. {suggestion(key, known)}")
    return exact or deeper


def _only(path: Path, parts: Sequence[_Part], expected: Expected) -> _Part | None:
    """The part that is the network; where none is, the one that comes nearest; None where nothing has its names."""
    complete = [part for part in parts if part.completes(expected)]
    if not complete:
        return max(parts, key=lambda part: part.matches(expected), default=None)
    first, *others = complete
    if not all(part.same(first, expected.required) for part in others):
        keys = [repr(part.key) if part.key else "'' (the names as they are)" for part in complete]
        raise WeightsError(
            f"{path} holds the network's weights {len(keys)} times, and they differ: under the keys "
            f"{', '.join(keys)}. Say which to take, as in --weights-key {complete[-1].key or complete[0].key}."
        )
    return first


def _check_fit(path: Path, part: _Part, expected: Expected) -> None:
    faults = [f"{len(names)} {fault} ({_few(names)})" for fault, names in expected.wrong(part.state).items()]
    if faults:
        where = f", nearest under the key {part.key!r}," if part.key else ""
        raise WeightsError(
            f"The weights {path}{where} don't fit the network, which has {len(expected.tensors)} tensors: "
            f"{'; '.join(faults)}. Check that the model is the one these weights were trained in."
        )


def _nothing_fits(path: Path, tables: Sequence[_Part], expected: Expected) -> str:
    held = [f"{f'under {table.key!r} ' if table.key else ''}{_few([*table.state])}" for table in tables]
    more = "; …" if len(held) > _SHOWN else ""
    return (
        f"None of the tensors in {path} has a name of the network's. The file has {'; '.join(held[:_SHOWN])}{more}; "
        f"the network has {_few([*expected.tensors]) or 'none'}. Check that the model is the one these weights were "
        "trained in."
    )


def _completed(state: State, expected: Expected) -> dict[str, Tensor]:
    return {name: state[name] if name in expected.required else torch.tensor(0) for name in expected.tensors}


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")


def _kind(content: Any) -> str:
    """What a file holds, in a message."""
    keys = f" with the keys {_few([str(key) for key in content])}" if isinstance(content, dict) and content else ""
    return f"a {type(content).__name__}{keys}"


# Reading files


def _content(path: Path) -> Any:
    if not path.is_file():
        raise WeightsError(f"There is no weights file {path}.")
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)


def _read_safetensors(path: Path) -> Any:
    try:
        return load_file(path)
    except Exception as error:  # a damaged file can raise anything
        raise WeightsError(f"{path} is no safetensors file: {_first_line(error)}.") from error


def _read_torch(path: Path) -> Any:
    with torch.serialization.safe_globals(_harmless()):
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged file can raise anything
            if "TorchScript" in str(error):
                raise WeightsError(
                    f"{path} is TorchScript, which holds code beside tensors and is refused. Where you trust it, save "
                    "its tensors alone with torch.save(torch.jit.load(file).state_dict(), other), and give that file."
                ) from error
            objects = _refused_objects(path)
            if not objects:
                raise WeightsError(
                    f"{path} is damaged, or neither a safetensors file nor one of torch.save; anything else is "
                    f"refused. ({_first_line(error)})"
                ) from error
            raise WeightsError(
                f"{path} holds objects beside tensors ({_few(objects)}). Such pickles are refused, as reading them can "
                "run any code. Where you trust the file, read it yourself, save its tensors alone with "
                "torch.save(network.state_dict(), file), and give that file."
            ) from error


def _harmless() -> list[Any]:
    """What checkpoints hold beside tensors that can run no code: NumPy's numbers and a script's parsed arguments."""
    numbers = [type(np.dtype(code)) for code in np.typecodes["AllInteger"] + np.typecodes["AllFloat"] + "?"]
    number = np.float64(0).__reduce__()[0]  # the function that makes one; NumPy 1 had it in another module
    return [argparse.Namespace, np.dtype, *numbers, number, (number, "numpy.core.multiarray.scalar")]


def _refused_objects(path: Path) -> list[str]:
    """Classes and functions that a pickle would call, by their full names; none if it isn't one of torch.save."""
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # the same damaged file
        return []


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
