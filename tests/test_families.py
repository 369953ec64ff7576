"""Real structures with random weights: accepted, complete and with enough to show, or refused with a reason."""

import warnings

import pytest
import torch

from summit_dask.facts.errors import TraceError
from summit_dask.network.completeness import check_completeness
from summit_dask.network.trace import trace_network
from tests import families

torch.set_num_threads(1)

#: Layers that are worth a look.
ENOUGH = 4


def check(name: str) -> None:
    """A family's network is complete, or refused by the operation that mixes its channels."""
    side = families.SIDES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a zoo's own code warns of
        module = families.network(name)
        if name in families.REFUSED:
            with pytest.raises(TraceError, match=rf"operation '{families.REFUSED[name]}' in .*--layers: only"):
                trace_network(module, (), (3, side, side))
            return
        traced = trace_network(module, (), (3, side, side))
    assert len(traced.layer_graph.visible) >= ENOUGH
    assert [found for found in check_completeness(module, traced) if not found.complete] == []


@pytest.mark.parametrize("name", families.FEW)
def test_a_few_families(name: str) -> None:
    check(name)


#: Left to `benchmarks/families.py`: slow, or much like another one.
SLOW = {
    "timm:nasnetalarge", "timm:pnasnet5large", "timm:inception_resnet_v2", "timm:inception_v4", "timm:inception_v3",
    "timm:densenet121", "timm:dm_nfnet_f0", "timm:convformer_s18", "timm:efficientnet_b0", "timm:resnet50d",
    "timm:vgg11_bn", "timm:hrnet_w18_small", "timm:legacy_xception", "timm:repghostnet_050",
    "torchvision:efficientnet_v2_s", "torchvision:convnext_tiny", "torchvision:resnet50", "torchvision:vgg11",
    "torchvision:resnext50_32x4d", "torchvision:squeezenet1_0", "torchvision:regnet_y_400mf", "timm:resnet18",
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in families.SIDES if name not in {*families.FEW, *SLOW}])
def test_more_families(name: str) -> None:
    check(name)
