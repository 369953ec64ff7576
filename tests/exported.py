"""Networks that are alike are exported once in a test process: that is a quarter of what tests cost otherwise."""

import copy
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from unittest import mock

from torch import Tensor, fx, nn

from summit_dask.network import export

#: What `nn.Module` keeps of its own; tensors among it are in the digest.
_OWN = frozenset(vars(nn.Module()))


@contextmanager
def exported_once() -> Iterator[None]:
    """In the block `torch.export` sees each network once; others get a copy of what it made."""
    known: dict[Hashable, fx.GraphModule] = {}
    exported = export._exported

    def kept(module: nn.Module, images: Tensor) -> fx.GraphModule:
        key = (_identity(module), tuple(images.shape))
        if key not in known:
            known[key] = copy.deepcopy(traced := exported(module, images))
            return traced
        return copy.deepcopy(known[key])

    with mock.patch.object(export, "_exported", kept):
        yield


def _identity(module: nn.Module) -> Hashable:
    """Classes, what their instances were made with, and weights."""
    parts = tuple((name, type(part), _settings(part)) for name, part in module.named_modules(remove_duplicate=False))
    digest = sha256()
    for name, tensor in module.state_dict(keep_vars=False).items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().contiguous().cpu().numpy().tobytes())
    return parts, digest.digest()


def _settings(module: nn.Module) -> str:
    return repr(sorted((name, repr(value)) for name, value in vars(module).items() if name not in _OWN))
