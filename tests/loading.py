"""What the tests of loading share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from summit_dask.network.load import LoadedNetwork, find_network, load_network


def loaded(
    model: str,
    weights: Path | str | None = None,
    size: tuple[int, int, int] = (3, 4, 4),
    output: str | None = None,
    **options: Any,
) -> LoadedNetwork:
    """A network for images of some size; options are those of `find_network`."""
    return load_network(find_network(model, None if weights is None else str(weights), **options), size, output)


def random_network(build: Callable[..., nn.Module], **options: Any) -> nn.Module:
    """Random weights, statistics of batch norms too; in eval mode."""
    module = build(**options).eval()
    generator = torch.Generator().manual_seed(0)
    for name, tensor in module.state_dict().items():
        if tensor.ndim > 1:
            tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5, generator=generator)
        elif name.endswith(("running_var", ".weight")):
            tensor.uniform_(0.5, 1.5, generator=generator)
        elif tensor.is_floating_point():
            tensor.normal_(0, 0.1, generator=generator)
    return module


def check_same_outputs(module: nn.Module, expected: nn.Module, size: int) -> None:
    """Two networks give the same outputs, which differ from image to image."""
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        outputs = expected(images)
        outputs = outputs if isinstance(outputs, torch.Tensor) else outputs.logits
        torch.testing.assert_close(module(images), outputs, rtol=1e-4, atol=1e-4)
    assert torch.isfinite(outputs).all()
    assert not torch.allclose(outputs[0], outputs[1], rtol=1e-2)
