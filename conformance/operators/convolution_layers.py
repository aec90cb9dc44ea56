"""Convolutions that networks are made of: their options, changed ones, and layers of real size."""

from functools import cache
from typing import NamedTuple

from gradoracle.conformance.operators import layer_options
from gradoracle.conformance.operators.convolution_corners import BLOCKED
from gradoracle.conformance.operators.network_layers import NETWORKS, layers
from gradoracle.conformance.operators.record import Variant, Workload
from gradoracle.oracle.shapes import Sides


class Layer(NamedTuple):
    """The options of a convolution that networks are made of."""

    name: str
    kernel: Sides
    stride: int | Sides  # a number: along every axis
    padding: Sides
    dilation: int = 1
    groups: str = "one"  # "one", "two", "three", "32" or "depthwise"


LAYERS = (
    Layer("ResNet 1x1", (1, 1), 1, (0, 0)),
    Layer("ResNet 1x1 stride 2", (1, 1), 2, (0, 0)),
    Layer("VGG 3x3", (3, 3), 1, (1, 1)),
    Layer("U-Net 2x2 stride 2", (2, 2), 2, (0, 0)),
    Layer("ResNet 3x3 stride 2", (3, 3), 2, (1, 1)),
    Layer("DCGAN 4x4 stride 2", (4, 4), 2, (1, 1)),
    Layer("ConvNeXt 4x4 stride 4", (4, 4), 4, (0, 0)),
    Layer("LeNet 5x5", (5, 5), 1, (0, 0)),
    Layer("LeNet 5x5 padded", (5, 5), 1, (2, 2)),
    Layer("Inception 5x5 stride 2", (5, 5), 2, (2, 2)),
    Layer("Inception 1x7", (1, 7), 1, (0, 3)),
    Layer("Inception 7x1", (7, 1), 1, (3, 0)),
    Layer("ResNet 7x7 stride 2", (7, 7), 2, (3, 3)),
    Layer("AlexNet 11x11 stride 4", (11, 11), 4, (2, 2)),
    Layer("AlexNet 5x5 in two groups", (5, 5), 1, (2, 2), groups="two"),
    Layer("ViT 16x16 stride 16", (16, 16), 16, (0, 0)),
    Layer("DeepLab 3x3 dilated 2", (3, 3), 1, (2, 2), dilation=2),
    Layer("DeepLab 3x3 dilated 6", (3, 3), 1, (6, 6), dilation=6),
    Layer("DeepLab 3x3 dilated 12", (3, 3), 1, (12, 12), dilation=12),
    Layer("ResNeXt 3x3 grouped", (3, 3), 1, (1, 1), groups="two"),
    Layer("ResNeXt 3x3 grouped stride 2", (3, 3), 2, (1, 1), groups="two"),
    Layer("MobileNet 3x3 depthwise", (3, 3), 1, (1, 1), groups="depthwise"),
    Layer("MobileNet 3x3 depthwise stride 2", (3, 3), 2, (1, 1), groups="depthwise"),
    Layer("EfficientNet 5x5 depthwise stride 2", (5, 5), 2, (2, 2), groups="depthwise"),
    Layer("ConvNeXt 7x7 depthwise", (7, 7), 1, (3, 3), groups="depthwise"),
)
# Layers of which every certification meets every change, and nothing else is drawn.
LATER_LAYERS = (
    Layer("ViT 14x14 stride 14", (14, 14), 14, (0, 0)),
    Layer("ViT 32x32 stride 32", (32, 32), 32, (0, 0)),
    Layer("SegFormer 7x7 stride 4", (7, 7), 4, (3, 3)),
    Layer("SegFormer 8x8 stride 8", (8, 8), 8, (0, 0)),
    Layer("CvT 7x7 stride 4", (7, 7), 4, (2, 2)),
    Layer("YOLO 6x6 stride 2", (6, 6), 2, (2, 2)),
    Layer("SRCNN 9x9", (9, 9), 1, (4, 4)),
    Layer("GCN 1x15", (1, 15), 1, (0, 7)),
    Layer("wav2vec 1x10 stride 5", (1, 10), 5, (0, 0)),
    Layer("detection head 3x3 without padding", (3, 3), 1, (0, 0)),
    Layer("stem 3x3 stride 2 without padding", (3, 3), 2, (0, 0)),
    Layer("DeepLab 3x3 dilated 18", (3, 3), 1, (18, 18), dilation=18),
    Layer("ResNeXt 32x4d 3x3", (3, 3), 1, (1, 1), groups="32"),
    Layer("ResNeXt 32x4d 3x3 stride 2", (3, 3), 2, (1, 1), groups="32"),
    Layer("ShuffleNet 1x1 in three groups", (1, 1), 1, (0, 0), groups="three"),
    Layer("EfficientNet 5x5 depthwise", (5, 5), 1, (2, 2), groups="depthwise"),
)
# Layers over sequences and over videos.
SEQUENCE_LAYERS = (
    Layer("wav2vec 10 stride 5", (10,), 5, (0,)),
    Layer("wav2vec 3 stride 2", (3,), 2, (0,)),
    Layer("wav2vec 2 stride 2", (2,), 2, (0,)),
    Layer("wav2vec positions 128 in groups", (16,), 1, (8,), groups="two"),
    Layer("TextCNN 3", (3,), 1, (0,)),
    Layer("TextCNN 4", (4,), 1, (0,)),
    Layer("TextCNN 5", (5,), 1, (0,)),
    Layer("Whisper 3 padded", (3,), 1, (1,)),
    Layer("Whisper 3 stride 2 padded", (3,), 2, (1,)),
    Layer("WaveNet 2 dilated 4", (2,), 1, (0,), dilation=4),
    Layer("TCN 3 dilated 2 padded", (3,), 1, (4,), dilation=2),
    Layer("Conformer 31 depthwise", (31,), 1, (15,), groups="depthwise"),
    Layer("Mamba 4 depthwise", (4,), 1, (3,), groups="depthwise"),
    Layer("pointwise", (1,), 1, (0,)),
    Layer("M5 80 stride 4", (80,), 4, (38,)),
    Layer("patches of 16", (16,), 16, (0,)),
)
VIDEO_LAYERS = (
    Layer("C3D 3x3x3", (3, 3, 3), 1, (1, 1, 1)),
    Layer("I3D 7x7x7 stride 2", (7, 7, 7), 2, (3, 3, 3)),
    Layer("R(2+1)D 1x3x3", (1, 3, 3), 1, (0, 1, 1)),
    Layer("R(2+1)D 3x1x1", (3, 1, 1), 1, (1, 0, 0)),
    Layer("R(2+1)D 3x1x1 stride 2", (3, 1, 1), (2, 1, 1), (1, 0, 0)),
    Layer("SlowFast 5x7x7 stride (1, 2, 2)", (5, 7, 7), (1, 2, 2), (2, 3, 3)),
    Layer("X3D 3x3x3 depthwise", (3, 3, 3), 1, (1, 1, 1), groups="depthwise"),
    Layer("V-Net 2x2x2 stride 2", (2, 2, 2), 2, (0, 0, 0)),
    Layer("U-Net 3D 3x3x3 stride 2", (3, 3, 3), 2, (1, 1, 1)),
    Layer("VideoMAE 2x8x8", (2, 8, 8), (2, 8, 8), (0, 0, 0)),
    Layer("1x1x1", (1, 1, 1), 1, (0, 0, 0)),
    Layer("3x3x3 dilated 2", (3, 3, 3), 1, (2, 2, 2), dilation=2),
)
LAYERS_OF = {1: SEQUENCE_LAYERS, 2: (*LAYERS, *LATER_LAYERS), 3: VIDEO_LAYERS}
GROUPS = {"one": 1, "two": 2, "three": 3, "32": 32}


@cache
def variants(rank: int) -> tuple[Variant, ...]:
    """Return the layers of networks, each with one option changed."""
    windows = [
        (x.name, layer_options.window(x.kernel, x.stride, x.padding, x.dilation, rank=rank),
         GROUPS.get(x.groups))
        for x in LAYERS_OF[rank]
    ]  # fmt: skip
    return layer_options.convolutions(windows, dict)


def _workload(name: str, layer: Layer, pixels: Sides, channels: int, filters: int) -> Workload:
    """Return a layer of real size, without groups."""
    window = layer_options.window(
        layer.kernel, layer.stride, layer.padding, layer.dilation, rank=len(pixels)
    )
    sides = dict(zip(window.names, pixels, strict=True))
    channel_sizes = {"group_channels": channels, "multiplier": filters, "bias": 1}
    return Workload(name, {"images": 1, "groups": 1, **channel_sizes, **sides, **window.sizes})


_SEQUENCE = {layer.name: layer for layer in SEQUENCE_LAYERS}
_VIDEO = {layer.name: layer for layer in VIDEO_LAYERS}
SEQUENCES = (
    _workload("wav2vec, 1 second", _SEQUENCE["wav2vec 10 stride 5"], (16_000,), 1, 8),
    _workload("wav2vec 512", _SEQUENCE["wav2vec 3 stride 2"], (3199,), 512, 512),
    _workload("Whisper 80", _SEQUENCE["Whisper 3 padded"], (3000,), 80, 384),
    _workload("TextCNN 100", _SEQUENCE["TextCNN 5"], (56,), 300, 100),
)
VIDEOS = (
    _workload("C3D, first", _VIDEO["C3D 3x3x3"], (16, 112, 112), 3, 64),
    _workload("I3D, first", _VIDEO["I3D 7x7x7 stride 2"], (16, 56, 56), 3, 64),
    _workload("R(2+1)D", _VIDEO["R(2+1)D 3x1x1"], (8, 28, 28), 64, 64),
    _workload("a small volume", _VIDEO["3x3x3 dilated 2"], (6, 9, 10), 3, 4),
)


def workloads(rank: int) -> tuple[Workload, ...]:
    """Return the layers that are checked by random projection."""
    if rank == 2:
        real = (
            Workload(f"{layer.network} {layer.name}", layer.sizes(1))
            for network in NETWORKS
            for layer in layers(network)
        )
        return (*real, Workload("4.2 MiB of columns", BLOCKED, always=True))
    return SEQUENCES if rank == 1 else VIDEOS
