"""Which of the tensors that a network returns holds the classes, and the network that returns it alone.

{"logits": (image, 10), "features": [(image, 64, 56, 56), (image, 512)]}

names      logits   features.0   features.1          as --output takes them
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn

from summit_dask.facts.errors import ConfigError, ModelError

#: Keys that lead to a tensor among what a network returns; none where it returns a tensor.
Place = tuple[Any, ...]

#: Hugging Face's name for what a softmax makes probabilities of, and everyone's.
_USUAL_NAME = "logits"


class ClassOutput(NamedTuple):
    """Where the classes are in what a network returns, and how many there are."""

    place: Place
    n_classes: int


def find_classes(returned: Any, n_images: int, n_classes: int | None, output: str | None) -> ClassOutput:
    """Where the tensor (image, class) is in what a network returned.

    Parameters
    ----------
    returned
        A tensor, or tuples, lists, mappings and data classes of them.
    n_images
        Images that it was given.
    n_classes
        How many classes there are, where that is known.
    output
        The name or index of the tensor, where the user says.

    Raises
    ------
    ConfigError
        If there is no such `output`.
    ModelError
        If no tensor can be that one, or several can and none is called logits.
    """
    tensors = dict(_tensors(returned))
    if not tensors:
        raise ModelError(f"The network returns a {type(returned).__name__} without tensors, expected (image, class).")
    names = {".".join(map(str, place)): place for place in tensors}
    shapes = {name: tuple(tensors[place].shape) for name, place in names.items()}
    name = _chosen(shapes, n_images, n_classes) if output is None else _asked(shapes, output)
    _check_classes(name, shapes[name], n_images)
    return ClassOutput(names[name], shapes[name][1])


def select_output(module: nn.Module, place: Place) -> nn.Module:
    """The network, made to return one of its tensors alone; its submodules keep their names.

    (A module around it would put its own name before theirs.)
    """
    whole = type(module)

    def forward(self: nn.Module, image: Any) -> Any:
        return _at(whole.forward(self, image), place)

    if place:
        module.__class__ = type(whole.__name__, (whole,), {"forward": forward, "__module__": whole.__module__})
    return module


def _at(returned: Any, place: Place) -> Any:
    for key in place:
        returned = _parts(returned)[key]
    return returned


def _parts(returned: Any) -> dict[Any, Any]:
    """What a network returned by key, name or index."""
    if isinstance(returned, Mapping):
        return dict(returned)
    if isinstance(returned, tuple | list):
        return dict(zip(getattr(returned, "_fields", range(len(returned))), returned, strict=True))
    if is_dataclass(returned):
        return {field.name: getattr(returned, field.name) for field in fields(returned)}
    return {}


def _tensors(returned: Any, place: Place = ()) -> Iterator[tuple[Place, Tensor]]:
    if isinstance(returned, Tensor):
        yield place, returned
    for key, part in _parts(returned).items():
        yield from _tensors(part, (*place, key))


def _asked(shapes: Mapping[str, tuple[int, ...]], output: str) -> str:
    if list(shapes) == [""]:
        raise ConfigError(f"The option 'output' is {output!r}, but the network returns one tensor; leave it out.")
    if output not in shapes:
        raise ConfigError(f"The option 'output' is {output!r}; the network returns {_listed(shapes)}.")
    return output


def _chosen(shapes: Mapping[str, tuple[int, ...]], n_images: int, n_classes: int | None) -> str:
    if len(shapes) == 1:
        return next(iter(shapes))
    fitting = {name: shape for name, shape in shapes.items() if _are_classes(shape, n_images, n_classes)}
    if _USUAL_NAME in fitting:
        return _USUAL_NAME
    if not fitting:
        raise ModelError(
            f"The network returns {_listed(shapes)}; none of them is (image, class), which would be "
            f"({n_images}, {n_classes or 'two or more'}). Wrap it in a module that returns such a tensor."
        )
    if len(fitting) > 1:
        raise ModelError(
            f"The network returns several tensors that may be its classes, {_listed(fitting)} for {n_images} images. "
            f"Say which with --output, as in --output {next(iter(fitting))}."
        )
    return next(iter(fitting))


def _are_classes(shape: tuple[int, ...], n_images: int, n_classes: int | None) -> bool:
    return len(shape) == 2 and shape[0] == n_images and shape[1] > 1 and n_classes in (None, shape[1])


def _check_classes(name: str, shape: tuple[int, ...], n_images: int) -> None:
    which = f"output {name}" if name else "output"
    if len(shape) != 2 or shape[0] != n_images:
        raise ModelError(
            f"The network's {which} for {n_images} images has the shape {shape}, expected ({n_images}, classes). Wrap "
            "the network in a module that returns one number for each image and class; maps become that by "
            "x.mean((2, 3)), singular axes go by x.flatten(1)."
        )
    if shape[1] < 2:
        raise ModelError(
            f"The network's {which} for {n_images} images has the shape {shape}: a single number x can't be two "
            "classes. Wrap the network in a module that gives two, torch.cat([torch.zeros_like(x), x], 1), or, if x "
            "comes out of a sigmoid, torch.cat([1 - x, x], 1). The first is then the class that x speaks against."
        )


def _listed(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name or 'one tensor'} {shape}" for name, shape in shapes.items())
