"""Networks on pictures: masks, larger pictures, classes, reconstructions."""

from __future__ import annotations

from generators.making import blobs, built, exported, gratings, seeded, trained
from generators.network import Law, Network, first_answer, network, overlap, signal_db

CLASSES = Law(("scores",), first_answer(), 0.95, 0.8)
PICTURE = Law(("values",), signal_db, 25.0, 12.0)


@network
def unet() -> Network:
    """A U-Net with skips at two scales and a sigmoid mask: integer files draw no mask any more.

    PINTO0309/onnx2tf#723; a mask that is nearly blank after int8 was shipped in K-Arthur/varve#37.
    """
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = (
                nn.Conv2d(1, 8, 3, 1, 1),
                nn.Conv2d(8, 16, 3, 2, 1),
                nn.Conv2d(16, 24, 3, 2, 1),
            )
            self.up, self.d, self.e = (
                nn.Upsample(scale_factor=2),
                nn.Conv2d(40, 16, 3, 1, 1),
                nn.Conv2d(24, 1, 3, 1, 1),
            )

        def forward(self, x):
            a = torch.relu(self.a(x))
            b = torch.relu(self.b(a))
            c = torch.relu(self.c(b))
            d = torch.relu(self.d(torch.cat([self.up(c), b], 1)))
            return torch.sigmoid(self.e(torch.cat([self.up(d), a], 1)))

    pictures, masks = blobs(400, 0)
    net = trained(seeded(Net), pictures, masks, loss=nn.functional.binary_cross_entropy)
    model = exported(net, pictures[:2], ["image"], ["mask"])
    law = Law(("map", "sigmoid"), overlap(0.5), 0.93, 0.6)
    return Network(model, {"image": blobs(64, 1)[0]}, {"mask": law})


@network
def super_resolution() -> Network:
    """Twice the size by DepthToSpace, height and width free.

    Wrong after int8 in openvinotoolkit/openvino#439.
    """
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(1, 16, 5, 1, 2),
                nn.ReLU(),
                nn.Conv2d(16, 16, 3, 1, 1),
                nn.ReLU(),
                nn.Conv2d(16, 4, 3, 1, 1),
            )
            self.shuffle, self.up = nn.PixelShuffle(2), nn.Upsample(scale_factor=2)

        def forward(self, x):
            return self.shuffle(self.body(x)) + self.up(x)

    large = gratings(300, 0, side=24, channels=1)[0]
    small = large.reshape(300, 1, 12, 2, 12, 2).mean((3, 5))
    net = trained(seeded(Net), small, large, loss=nn.functional.mse_loss)
    free = {"low": {0: "batch", 2: "height", 3: "width"}, "high": {0: "batch", 2: "tall", 3: "wide"}}
    model = exported(net, small[:2], ["low"], ["high"], free)
    assert any(node.op_type == "DepthToSpace" for node in model.graph.node)
    samples = gratings(64, 1, side=24, channels=1)[0].reshape(64, 1, 12, 2, 12, 2).mean((3, 5))
    return Network(model, {"low": samples}, {"high": PICTURE})


@network
def mobile_block() -> Network:
    """MobileNetV3's block: depthwise, squeeze and excite, hard swish.

    76 % fall to 60 % in Xilinx/brevitas#1341.
    """
    from torch import nn

    class Excite(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.gate = nn.Sequential(
                nn.AdaptiveAvgPool2d(1),
                nn.Conv2d(width, 8, 1),
                nn.ReLU(),
                nn.Conv2d(8, width, 1),
                nn.Hardsigmoid(),
            )

        def forward(self, x):
            return x * self.gate(x)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(16, 48, 1, bias=False), nn.BatchNorm2d(48), nn.Hardswish(),
                nn.Conv2d(48, 48, 3, 1, 1, groups=48, bias=False), nn.BatchNorm2d(48), nn.Hardswish(),
                Excite(48), nn.Conv2d(48, 16, 1, bias=False), nn.BatchNorm2d(16),
            )  # fmt: skip

        def forward(self, x):
            return x + self.body(x)

    pictures, labels = gratings(600, 0)
    net = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.Hardswish(), Block(), Block(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5),
        )
    )  # fmt: skip
    model = exported(trained(net, pictures, labels), pictures[:2], ["image"], ["scores"], opset=14)
    return Network(model, {"image": gratings(96, 1)[0]}, {"scores": CLASSES})


@network
def grouped_dilated() -> Network:
    """Grouped, depthwise and dilated convolutions.

    Groups that are neither one nor all are wrong in Tencent/ncnn#1304.
    """
    from torch import nn

    net = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 24, 3, 1, 1), nn.ReLU(),
            nn.Conv2d(24, 24, 3, 1, 2, dilation=2, groups=4), nn.ReLU6(),
            nn.Conv2d(24, 48, 3, 2, 1, groups=24), nn.LeakyReLU(0.1),
            nn.Conv2d(48, 32, 1, groups=8), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 5),
        )
    )  # fmt: skip
    pictures, labels = gratings(600, 0)
    model = exported(trained(net, pictures, labels), pictures[:2], ["image"], ["scores"])
    return Network(model, {"image": gratings(96, 1)[0]}, {"scores": CLASSES})


@network
def convnext() -> Network:
    """ConvNeXt's block, LayerNorm written out: accuracy is lost in open-mmlab/mmdeploy#337."""
    from torch import nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.deep, self.norm = nn.Conv2d(24, 24, 7, 1, 3, groups=24), nn.LayerNorm(24)
            self.wide, self.back = nn.Linear(24, 64), nn.Linear(64, 24)

        def forward(self, x):
            y = self.norm(self.deep(x).permute(0, 2, 3, 1))
            return x + self.back(nn.functional.gelu(self.wide(y))).permute(0, 3, 1, 2)

    net = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 24, 4, 4), Block(), Block(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 5)
        )
    )
    pictures, labels = gratings(600, 0)
    model = exported(trained(net, pictures, labels), pictures[:2], ["image"], ["scores"], opset=13)
    assert any(node.op_type == "Sqrt" for node in model.graph.node)  # no LayerNormalization before opset 17
    return Network(model, {"image": gratings(96, 1)[0]}, {"scores": CLASSES})


@network
def generator() -> Network:
    """A generator of pictures by ConvTranspose and tanh.

    Seen in microsoft/onnxruntime#19694 (quantized per channel).
    """
    from torch import nn

    net = seeded(
        lambda: nn.Sequential(
            nn.Linear(8, 32 * 4 * 4), nn.Unflatten(1, (32, 4, 4)), nn.ReLU(),
            nn.ConvTranspose2d(32, 24, 4, 2, 1),
            nn.ReLU(), nn.ConvTranspose2d(24, 3, 4, 2, 1), nn.Tanh(),
        )
    )  # fmt: skip
    import numpy as np

    rng = np.random.default_rng(0)
    codes = rng.normal(0, 1, (300, 8)).astype("f4")
    pictures = np.tanh(np.einsum("nk,kchw->nchw", codes, rng.normal(0, 0.6, (8, 3, 16, 16)))).astype("f4")
    net = trained(net, codes, pictures, loss=nn.functional.mse_loss)
    model = exported(net, codes[:2], ["code"], ["picture"])
    law = Law(PICTURE.kinds, signal_db, 20.0, 10.0)
    samples = {"code": rng.normal(0, 1, (64, 8)).astype("f4")}
    return Network(model, samples, {"picture": law}, engines_lack="kernels ran in 8-bit integer")


@network
def masked_convolution() -> Network:
    """A PixelCNN: the weight is stored times mask, so no stored tensor is the weight.

    Seen in microsoft/onnxruntime#13358.
    """
    import numpy as np
    from onnx import helper

    rng = np.random.default_rng(0)
    mask = np.ones((1, 1, 3, 3), "f4")
    mask[:, :, 1, 2:], mask[:, :, 2] = 0, 0
    stored = {
        "mask": mask, "w0": rng.normal(0, 0.4, (16, 1, 3, 3)).astype("f4"), "b0": np.zeros(16, "f4"),
        "w1": rng.normal(0, 0.3, (16, 16, 3, 3)).astype("f4"), "b1": np.zeros(16, "f4"),
        "w2": rng.normal(0, 0.5, (4, 16, 1, 1)).astype("f4"), "b2": np.zeros(4, "f4"),
    }  # fmt: skip
    nodes = []
    for layer, given in enumerate(["x", "r0"]):
        nodes += [
            helper.make_node("Mul", [f"w{layer}", "mask"], [f"m{layer}"]),
            helper.make_node("Conv", [given, f"m{layer}", f"b{layer}"], [f"c{layer}"], pads=[1] * 4),
            helper.make_node("Relu", [f"c{layer}"], [f"r{layer}"]),
        ]
    nodes.append(helper.make_node("Conv", ["r1", "w2", "b2"], ["levels"]))
    model = built(nodes, [("x", "f4", ["n", 1, 8, 8])], [("levels", "f4", ["n", 4, 8, 8])], stored, opset=13)
    law = Law(("values", "scores"), first_answer(1), 0.9, 0.6)
    return Network(model, {"x": rng.normal(0, 1, (64, 1, 8, 8)).astype("f4")}, {"levels": law})


@network
def bytes_in() -> Network:
    """A camera's bytes, channels last, cast and normalised inside.

    Seen in microsoft/onnxruntime#9887, NVIDIA/TensorRT#4131.
    """
    import numpy as np
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 24, 3, 2, 1), nn.ReLU(),
                nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 5),
            )  # fmt: skip
            self.register_buffer("mean", torch.tensor([123.7, 116.3, 103.5]))
            self.register_buffer("deviation", torch.tensor([58.4, 57.1, 57.4]))

        def forward(self, x):
            return self.body(((x.float() - self.mean) / self.deviation).permute(0, 3, 1, 2))

    def camera(pictures):
        return np.clip(pictures.transpose(0, 2, 3, 1) * 40 + 120, 0, 255).astype("u1")

    pictures, labels = gratings(600, 0)
    net = trained(seeded(Net), camera(pictures), labels, steps=120)
    model = exported(net, camera(pictures[:2]), ["image"], ["scores"])
    return Network(model, {"image": camera(gratings(96, 1)[0])}, {"scores": CLASSES})


@network
def anomaly() -> Network:
    """An autoencoder with its picture and one error an example.

    Useless maps in open-edge-platform/anomalib#2298.
    """
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.down = nn.Sequential(
                nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 4, 3, 2, 1), nn.ReLU()
            )
            self.up = nn.Sequential(
                nn.ConvTranspose2d(4, 8, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(8, 1, 4, 2, 1)
            )

        def forward(self, x):
            again = self.up(self.down(x))
            return again if self.training else (again, (x - again).square().mean((1, 2, 3)))

    pictures, masks = blobs(400, 0)
    net = trained(seeded(Net), pictures, masks, steps=150, loss=nn.functional.mse_loss)
    model = exported(net, pictures[:2], ["image"], ["again", "error"])
    errors = Law(("values",), signal_db, 15.0, 3.0)
    again = Law(("values",), signal_db, 18.0, 8.0)
    return Network(model, {"image": blobs(64, 1)[0]}, {"again": again, "error": errors})
