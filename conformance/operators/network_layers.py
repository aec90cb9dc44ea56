"""The layers of networks, as their papers (ResNet: torchvision's v1.5) have them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Layer:
    """A convolution of square images under square kernels, and how often its network has it.

    A transposed one has the same fields: `channels` and `size` are those of what comes in.
    """

    network: str
    channels: int
    size: int
    filters: int
    kernel: int
    stride: int = 1
    groups: int = 1
    times: int = 1
    padding: int = -1  # -1: half the kernel
    bias: bool = False

    def __post_init__(self) -> None:
        """Fill in the padding that keeps the size."""
        if self.padding < 0:
            object.__setattr__(self, "padding", self.kernel // 2)

    @property
    def name(self) -> str:
        """Its shape in short, such as `64x56² 3x3 -> 64`."""
        how = f"/{self.stride}" if self.stride > 1 else ""
        depthwise = " depthwise" if self.groups == self.channels > 1 else ""
        return (
            f"{self.channels}x{self.size}² {self.kernel}x{self.kernel}{how}{depthwise}"
            f" -> {self.filters}"
        )

    def sizes(self, images: int) -> dict[str, int]:
        """Return the sizes by which the record of the operator makes a call of the layer."""
        pairs = {"kernel": self.kernel, "stride": self.stride, "padding": self.padding}
        return {
            "images": images, "groups": self.groups, "group_channels": self.channels // self.groups,
            "multiplier": self.filters // self.groups, "height": self.size, "width": self.size,
            "bias": int(self.bias), "dilation_height": 1, "dilation_width": 1,
            **{f"{name}_{side}": n for name, n in pairs.items() for side in ("height", "width")},
        }  # fmt: skip


def _lenet() -> Iterator[Layer]:
    yield Layer("LeNet", 1, 28, 6, 5, bias=True)
    yield Layer("LeNet", 6, 14, 16, 5, padding=0, bias=True)


def _vgg16() -> Iterator[Layer]:
    channels, size = 3, 224
    for filters, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            yield Layer("VGG-16", channels, size, filters, 3, bias=True)
            channels = filters
        size //= 2


def _resnet50() -> Iterator[Layer]:
    yield Layer("ResNet-50", 3, 224, 64, 7, 2)
    channels, size = 64, 56
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            stride = 2 if block == 0 and width > 64 else 1
            yield Layer("ResNet-50", channels, size, width, 1)
            yield Layer("ResNet-50", width, size, width, 3, stride)
            yield Layer("ResNet-50", width, size // stride, 4 * width, 1)
            if block == 0:  # the shortcut
                yield Layer("ResNet-50", channels, size, 4 * width, 1, stride)
            channels, size = 4 * width, size // stride


def _mobilenet_v1() -> Iterator[Layer]:
    name = "MobileNet v1"
    yield Layer(name, 3, 224, 32, 3, 2)
    channels, size = 32, 112
    steps = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5]
    for filters, stride in [*steps, (1024, 2), (1024, 1)]:
        yield Layer(name, channels, size, channels, 3, stride, groups=channels)
        size //= stride
        yield Layer(name, channels, size, filters, 1)
        channels = filters


def _mobilenet_v2() -> Iterator[Layer]:
    name = "MobileNet v2"
    yield Layer(name, 3, 224, 32, 3, 2)
    channels, size = 32, 112
    steps = (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
        (6, 320, 1, 1),
    )  # fmt: skip
    for expansion, filters, blocks, first in steps:
        for block in range(blocks):
            stride = first if block == 0 else 1
            wide = channels * expansion
            if expansion > 1:
                yield Layer(name, channels, size, wide, 1)
            yield Layer(name, wide, size, wide, 3, stride, groups=wide)
            size //= stride
            yield Layer(name, wide, size, filters, 1)
            channels = filters
    yield Layer(name, channels, size, 1280, 1)


_NETWORKS: dict[str, Callable[[], Iterator[Layer]]] = {
    "ResNet-50": _resnet50, "VGG-16": _vgg16, "LeNet": _lenet, "MobileNet v1": _mobilenet_v1,
    "MobileNet v2": _mobilenet_v2,
}  # fmt: skip
NETWORKS = tuple(_NETWORKS)  # in the order in which they are measured

# Transposed: the up-convolutions of U-Net (Ronneberger et al. 2015, figure 1), and the first one of
# FCN-8s (Long et al. 2015) for images of 224x224.
UP_CONVOLUTIONS = (
    *(
        Layer("U-Net", channels, size, channels // 2, 2, 2, padding=0, bias=True)
        for channels, size in ((1024, 28), (512, 52), (256, 100), (128, 196))
    ),
    Layer("FCN-8s", 21, 7, 21, 4, 2, padding=0),
)
# What comes in and goes out of fully connected layers.
CLASSIFIERS = (
    ("LeNet", 400, 120), ("LeNet", 120, 84), ("LeNet", 84, 10), ("ResNet-50", 2048, 1000),
    ("VGG-16", 4096, 4096), ("VGG-16", 4096, 1000), ("MobileNet v1", 1024, 1000),
    ("MobileNet v2", 1280, 1000),
)  # fmt: skip


def layers(network: str) -> list[Layer]:
    """Return the layers of a network that differ from each other, in its order."""
    counts: dict[Layer, int] = {}
    for layer in _NETWORKS[network]():
        counts[layer] = counts.get(layer, 0) + 1
    return [replace(layer, times=count) for layer, count in counts.items()]
