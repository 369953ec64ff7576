"""Convolutional classifiers of torchvision and timm, one small network of each family: real structure, random weights.

Running statistics and scales of norms are random too, some scales negative.
"""

import timm
import torch
import torchvision.models
from torch import nn

#: Names and side of the image; those of torchvision, then those of timm.
TORCHVISION = {
    "alexnet": 64, "convnext_tiny": 64, "densenet121": 64, "efficientnet_b0": 64, "efficientnet_v2_s": 64,
    "googlenet": 64, "inception_v3": 96, "mnasnet0_5": 64, "mobilenet_v2": 64, "mobilenet_v3_small": 64,
    "regnet_x_400mf": 64, "regnet_y_400mf": 64, "resnet18": 64, "resnet50": 64, "resnext50_32x4d": 64,
    "shufflenet_v2_x0_5": 64, "squeezenet1_0": 64, "squeezenet1_1": 64, "vgg11": 64, "vgg16_bn": 64,
}  # fmt: skip
TIMM = {
    "bat_resnext26ts": 256, "convformer_s18": 64, "convmixer_768_32": 64, "convnext_atto": 64, "convnextv2_atto": 64,
    "cs3darknet_s": 64, "cspnext_tiny": 64, "cspresnet50": 64, "darknet17": 64, "densenet121": 64, "dla34": 64,
    "dm_nfnet_f0": 64, "dpn48b": 64, "ecaresnet26t": 64, "edgenext_xx_small": 64, "efficientnet_b0": 64,
    "efficientnetv2_rw_t": 64, "efficientvit_b0": 64, "ese_vovnet19b_slim_dw": 64, "fasternet_t0": 64,
    "fbnetc_100": 64, "focalnet_tiny_srf": 64, "gcresnext26ts": 64, "gernet_s": 64, "ghostnet_050": 64,
    "hardcorenas_a": 64, "hgnetv2_b0": 64, "hrnet_w18_small": 64, "inception_next_atto": 64,
    "inception_resnet_v2": 96, "inception_v3": 96, "inception_v4": 96, "lcnet_035": 64, "lcnetv2_small": 64,
    "legacy_seresnet18": 64, "legacy_xception": 64, "mambaout_femto": 64, "mixnet_s": 64, "mnasnet_050": 64,
    "mobilenetv2_035": 64, "mobilenetv3_small_050": 64, "mobilenetv4_conv_small_035": 64, "mobileone_s0": 64,
    "nasnetalarge": 96, "nf_resnet26": 64, "pnasnet5large": 96, "rdnet_tiny": 64, "regnetx_002": 64,
    "regnety_002": 64, "repghostnet_050": 64, "repvgg_a0": 64, "repvit_m0_9": 64, "res2net50_26w_4s": 64,
    "resnest14d": 64, "resnet18": 64, "resnet50d": 64, "resnetv2_18": 64, "resnetv2_50x1_bit": 64,
    "rexnet_100": 64, "selecsls42": 64, "skresnet18": 64, "starnet_s050": 96, "tf_efficientnet_lite0": 64,
    "tinynet_e": 64, "tresnet_m": 64, "vgg11_bn": 64, "xception41p": 64,
}  # fmt: skip
SIDES = {f"torchvision:{name}": side for name, side in TORCHVISION.items()}
SIDES |= {f"timm:{name}": side for name, side in TIMM.items()}

#: Those that mix channels inside the layers shown, and the operation that the message names.
REFUSED = {
    "timm:bat_resnext26ts": "bmm", "timm:edgenext_xx_small": "bmm", "timm:efficientvit_b0": "constant_pad_nd",
    "timm:focalnet_tiny_srf": "mul", "timm:gcresnext26ts": "bmm",
}  # fmt: skip

#: Quick ones that have between them most of what networks do.
FEW = ("torchvision:resnet18", "timm:cs3darknet_s", "timm:gcresnext26ts")

_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


def network(name: str) -> nn.Module:
    """A family's network, in eval mode."""
    zoo, _, own = name.partition(":")
    torch.manual_seed(0)
    if zoo == "timm":
        module: nn.Module = timm.create_model(own, num_classes=10)
    else:
        options = {"init_weights": False} if own in ("googlenet", "inception_v3") else {}
        module = torchvision.models.get_model(own, num_classes=10, **options)
    _draw_norms(module)
    return module.eval()


@torch.no_grad()
def _draw_norms(module: nn.Module) -> None:
    for norm in module.modules():
        if isinstance(norm, _NORMS):
            if isinstance(norm, nn.modules.batchnorm._BatchNorm) and norm.running_mean is not None:
                norm.running_mean.normal_(0, 0.1)
                norm.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
            for parameter in norm.parameters():
                parameter.normal_(0, 0.5 if parameter is norm.weight else 0.1)  # more makes deep ones chaotic
