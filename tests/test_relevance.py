"""Relevance: activation times gradient of the own logit, against torch's own hooks and against finite differences."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from summit_dask.facts.config import MeasureOptions
from summit_dask.facts.errors import NumericalError
from summit_dask.facts.preprocessing import Preprocessing
from summit_dask.measure.extractor import Extractor
from summit_dask.measure.meters import DeviceMeter
from summit_dask.network.trace import trace_network
from tests.test_contribution import Pooled

torch.set_num_threads(1)

SIDE, IMAGES = 12, 3
LAYERS = ("stem", "low", "last")
OWN = np.array([2, 0, 1], np.int32)
PREPROCESSING = Preprocessing(None, (SIDE, SIDE))
PIXELS = np.random.default_rng(0).integers(0, 256, (IMAGES, SIDE, SIDE, 3), np.uint8)


class Smooth(Pooled):
    """The same without corners."""

    def __init__(self) -> None:
        super().__init__()
        self.stem[1], self.last = nn.SiLU(), nn.GELU()
        self.low[2], self.low[3] = nn.SiLU(), nn.AvgPool2d(2)
        self.mid[1] = nn.Tanh()


def made(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(2)
    return kind().eval().requires_grad_(False)


def relevance(module: nn.Module, meter: Any = None, n_images: int = IMAGES) -> dict[str, NDArray[np.float32]]:
    network = trace_network(module, LAYERS, (3, SIDE, SIDE), IMAGES, logits=None)
    with pytest.MonkeyPatch.context() as patch:
        if meter:
            patch.setattr("summit_dask.measure.extractor.make_meter", meter)
        extractor = Extractor(network, PREPROCESSING, MeasureOptions(model="none", relevance=True))
    return dict(extractor(PIXELS[:n_images], OWN[:n_images]).relevances)


def images() -> Tensor:
    mean, std = (torch.tensor(part).view(1, 3, 1, 1).double() for part in (PREPROCESSING.mean, PREPROCESSING.std))
    return (torch.from_numpy(PIXELS).permute(0, 3, 1, 2).double() / 255 - mean) / std


@pytest.mark.parametrize("meter", [None, DeviceMeter], ids=["host", "device"])
@pytest.mark.parametrize("kind", [Pooled, Smooth])
def test_equals_what_torch_s_hooks_give(kind: type[nn.Module], meter: Any) -> None:
    found = relevance(made(kind), meter)
    module, values = made(kind).double(), {}
    for name in LAYERS:
        module.get_submodule(name).register_forward_hook(lambda _, __, out, name=name: values.update({name: out}))
    with torch.enable_grad():
        logits = module(images().requires_grad_())
        gradients = torch.autograd.grad(logits[range(IMAGES), OWN.tolist()].sum(), [values[name] for name in LAYERS])
    for name, gradient in zip(LAYERS, gradients, strict=True):
        expected = (values[name] * gradient).sum((2, 3)).detach()
        np.testing.assert_allclose(found[name], expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found["logit"][:, 0], logits.detach()[range(IMAGES), OWN.tolist()], rtol=1e-4)


def test_is_what_the_logit_loses_when_a_channel_is_made_a_little_smaller() -> None:
    found, module, step = relevance(made(Smooth)), made(Smooth).double(), 1e-5
    for name in LAYERS:
        for channel in (0, 3, 5):
            logits = []
            for factor in (1 + step, 1 - step):

                def scaled(
                    _: nn.Module, __: Any, out: Tensor, factor: float = factor, channel: int = channel
                ) -> Tensor:
                    out = out.clone()
                    out[:, channel] *= factor
                    return out

                hook = module.get_submodule(name).register_forward_hook(scaled)
                logits.append(module(images())[range(IMAGES), OWN.tolist()].numpy())
                hook.remove()
            slope = (logits[0] - logits[1]) / (2 * step)
            np.testing.assert_allclose(found[name][:, channel], slope, rtol=1e-3, atol=1e-5)


def test_a_softmax_at_the_end_changes_nothing_and_neither_do_missing_images() -> None:
    class Ending(Pooled):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).softmax(1)

    plain, ending, two = relevance(made(Pooled)), relevance(made(Ending)), relevance(made(Pooled), n_images=2)
    for name in LAYERS:
        np.testing.assert_allclose(ending[name], plain[name], rtol=1e-5, atol=1e-7)
        np.testing.assert_array_equal(two[name], plain[name][:2])


def test_a_gradient_that_is_no_number_is_an_error_that_names_the_layer() -> None:
    class Rooted(Pooled):
        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = super().forward(x)
            return logits + (logits - logits).sum(1, keepdim=True).sqrt()

    with pytest.raises(NumericalError, match="Relevance of"):
        relevance(made(Rooted))
