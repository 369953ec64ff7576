"""Networks as users have them: wrapped, lazy, of other kinds; and those that don't run on an image."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from summit_dask.facts.errors import ModelError, WeightsError
from summit_dask.network.load import LoadedNetwork, load_network
from summit_dask.network.zoos.found import FoundNetwork, WeightsFile
from tests.loading import check_same_outputs

torch.set_num_threads(1)

SIZE = (3, 8, 8)


def plain() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()), nn.Flatten(), nn.Linear(4 * 36, 3)
    ).eval()


def inside(wrap: Callable[[nn.Module], Any]) -> nn.Module:
    network = plain()
    network[0] = wrap(network[0])
    return network


def compiled_in_place() -> nn.Module:
    network = plain()
    network[0].compile()
    return network


def ready(module: nn.Module, file: Path | None = None) -> LoadedNetwork:
    return load_network(FoundNetwork(module, None if file is None else WeightsFile(file, None)), SIZE)


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda: nn.DataParallel(plain()),
        lambda: inside(nn.DataParallel),
        lambda: torch.compile(plain()),
        lambda: torch.compile(nn.DataParallel(plain())),
        lambda: inside(torch.compile),
        compiled_in_place,
    ],
    ids=["parallel", "parallel inside", "compiled", "both", "compiled inside", "compiled in place"],
)
def test_wrappers_are_taken_off(wrapped: Callable[[], nn.Module], tmp_path: Path) -> None:
    network = ready(wrapped())
    check_same_outputs(network.module, plain(), 8)
    assert network.digest == ready(plain()).digest
    other = {name: tensor + 1 for name, tensor in wrapped().state_dict().items()}
    torch.save(other, tmp_path / "w.pt")
    module = ready(wrapped(), tmp_path / "w.pt").module
    assert torch.equal(module.get_parameter("0.0.bias"), plain()[0][0].bias + 1)


def lazy() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU()), nn.Flatten(), nn.LazyLinear(3)
    )


@pytest.mark.filterwarnings("ignore:Lazy modules:UserWarning")
@pytest.mark.parametrize("build", [lazy, lambda: lazy().half(), lambda: torch.compile(lazy())])
def test_lazy_layers_see_an_image_before_their_weights(build: Callable[[], nn.Module], tmp_path: Path) -> None:
    torch.save(plain().state_dict(), tmp_path / "w.pt")
    network = ready(build(), tmp_path / "w.pt")
    check_same_outputs(network.module, plain(), 8)
    assert network.digest == ready(plain()).digest
    assert type(network.module.get_submodule("2")) is nn.Linear
    network.module.requires_grad_(True)
    network.module(torch.zeros(1, *SIZE)).sum().backward()  # pictures need gradients


@pytest.mark.filterwarnings("ignore:Lazy modules:UserWarning")
def test_lazy_layers_whose_weights_were_loaded_before(tmp_path: Path) -> None:
    module = lazy()
    module.load_state_dict(plain().state_dict())
    check_same_outputs(ready(module).module, plain(), 8)


@pytest.mark.filterwarnings("ignore:Lazy modules:UserWarning")
def test_lazy_layers_without_weights(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"first image: 0\.0 \(LazyConv2d\), .*2 \(LazyLinear\)\. Give --weights"):
        ready(lazy())


@pytest.mark.filterwarnings("ignore:Lazy modules:UserWarning")
def test_lazy_layers_of_another_size(tmp_path: Path) -> None:
    torch.save(nn.Sequential(plain()[0], nn.Flatten(), nn.Linear(4 * 100, 3)).state_dict(), tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=re.escape("2.weight (3, 400) instead of (3, 144)")):
        ready(lazy(), tmp_path / "w.pt")


class Integers(nn.Module):
    """Weights as whole numbers, as some tools keep them."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, 3, dtype=torch.int8), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)) @ self.weight.float()


def dynamic() -> nn.Module:
    quantised: nn.Module = torch.ao.quantization.quantize_dynamic(plain())
    return quantised


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: torch.jit.script(nn.ReLU()), r"The network \(RecursiveScriptModule\) is TorchScript.*--weights"),
        (lambda: torch.jit.trace(nn.ReLU(), torch.zeros(1, *SIZE)), r"The network \(.*\) is TorchScript"),
        (lambda: nn.Sequential(torch.jit.script(nn.ReLU()), nn.ReLU()), r"^0 \(RecursiveScriptModule\) is TorchScript"),
        (dynamic, r"^2 \(Linear\) is quantised: .*before it was quantised"),
        (lambda: nn.Sequential(nn.ReLU(), Integers()), r"^1 \(Integers\) is quantised"),
    ],
)
def test_kinds_that_cannot_be_looked_into(build: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        ready(build())


class Failing(nn.Module):
    """Raises what it is told to, deep inside."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def forward(self, x: Tensor) -> Tensor:
        raise self.error


@pytest.mark.parametrize(
    "error", [ValueError("no"), RuntimeError(""), SystemExit(3), RecursionError("deep"), AssertionError()]
)
def test_whatever_forward_raises_becomes_a_message(error: BaseException) -> None:
    with pytest.raises(ModelError, match=r"1\.0 \(Failing\); test_ready\.py, line \d+: raise self\.error.*--crop") as e:
        ready(nn.Sequential(nn.ReLU(), nn.Sequential(Failing(error))))
    assert type(error).__name__ in str(e.value)


class TwoInputs(nn.Module):
    def forward(self, image: Tensor, age: Tensor, scale: float = 1.0) -> Tensor:
        return image.mean((2, 3)) + age * scale


class Bare(nn.Module):
    """Has no forward."""


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (TwoInputs(), r"takes 2 inputs \(image, age\), expected the image alone.*Wrap"),
        (Bare(), "doesn't run on an image.*NotImplementedError"),
        (nn.Conv2d(1, 2, 3), r"image of 3 x 8 x 8: .*The network \(Conv2d\).*--mean and --std"),
        (nn.Sequential(nn.Flatten(), nn.Linear(7, 2)), r"image of 3 x 8 x 8: .*1 \(Linear\).*--crop"),
        (nn.ReLU(), r"shape \(2, 3, 8, 8\), expected \(2, classes\)"),
    ],
)
def test_networks_that_are_no_classifiers_of_such_images(module: nn.Module, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        ready(module)
