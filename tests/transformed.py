"""Convolutions by transforms, in NumPy: Winograd's for tiles of any size, and Fourier's.

Beside `implementations.im2col`, which computes what they do not: `winograd2`, `winograd4`,
`winograd6` and `fft` are backends.
"""

from fractions import Fraction
from functools import cache, partial
from types import SimpleNamespace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from gradoracle.implementations import im2col

POINTS = [*map(Fraction, ("0", "1", "-1", "2", "-2", "1/2", "-1/2"))]
LARGEST = 8  # pixels of a tile, its margin among them


@cache
def matrices(outputs, taps):
    """A [inputs, outputs], B [inputs, inputs] and G [inputs, taps] of Toom's and Cook's algorithm.

    Correlation is y = A^T (G w * B^T x): the transposed product of polynomials, by values at points
    and at infinity.
    """
    finite = POINTS[: outputs + taps - 2]
    inputs = len(finite) + 1
    a, b, g = (np.zeros((inputs, n)) for n in (outputs, inputs, taps))
    for j, point in enumerate(finite):
        rest = [p for p in finite if p != point]
        scale = np.prod([float(point - p) for p in rest])
        a[j] = [float(point) ** i for i in range(outputs)]
        g[j] = [float(point) ** k / scale for k in range(taps)]
        b[:-1, j] = np.poly([*map(float, rest)])[::-1]
    a[-1, -1] = g[-1, -1] = 1
    b[:, -1] = np.poly([*map(float, finite)])[::-1]
    return a, b, g


def sides(tile, kernel):
    """The matrices of the two sides; a side of one tap is left as it is."""
    one = np.eye(tile), np.eye(tile), np.ones((tile, 1))
    return [one if taps == 1 else matrices(tile, taps) for taps in kernel]


def both(down, across, planes):
    """`down^T planes across`, in the planes' own precision."""
    down, across = down.astype(planes.dtype), across.astype(planes.dtype)
    return np.einsum("hi,...hw,wj->...ij", down, planes, across, optimize=True)


def grouped(x, groups):
    return x.reshape(x.shape[0], groups, -1, *x.shape[2:])


def correlated(x, weight, groups, tile):
    """Every inner position of the kernel on x, by tiles of so many outputs a side."""
    kernel = weight.shape[2:]
    (a, b, g), (a_, b_, g_) = sides(tile, kernel)
    outputs = [side - taps + 1 for side, taps in zip(x.shape[2:], kernel, strict=True)]
    tiles = [-(-count // tile) for count in outputs]
    ends = [t * tile - count for t, count in zip(tiles, outputs, strict=True)]
    whole = np.pad(x, ((0, 0), (0, 0), *((0, end) for end in ends)))
    windows = sliding_window_view(whole, (len(b), len(b_)), (2, 3))[:, :, ::tile, ::tile]
    v = both(b, b_, grouped(windows, groups))
    u = both(g.T, g_.T, weight.reshape(groups, -1, *weight.shape[1:]))
    products = np.einsum("ngcijhw,gmchw->ngmijhw", v, u, optimize=True)
    y = both(a, a_, products)  # [N, groups, M/groups, tiles, tiles, tile, tile]
    y = y.swapaxes(4, 5).reshape(len(x), -1, tiles[0] * tile, tiles[1] * tile)
    return y[:, :, : outputs[0], : outputs[1]]


def correlated_with_tiles(x, dy, kernel, groups, tile):
    """The gradient by the weight: the tiles of dy are its taps."""
    (a, b, g), (a_, b_, g_) = (
        (np.ones((tile, 1)), np.eye(tile), np.eye(tile)) if taps == 1 else matrices(taps, tile)
        for taps in kernel
    )
    tiles = [-(-side // tile) for side in dy.shape[2:]]
    ends = [t * tile - side for t, side in zip(tiles, dy.shape[2:], strict=True)]
    margin = ((0, 0), (0, 0), *((0, end) for end in ends))
    pixels = sliding_window_view(np.pad(x, margin), (len(b), len(b_)), (2, 3))
    v = both(b, b_, grouped(pixels[:, :, ::tile, ::tile], groups))
    seen = sliding_window_view(np.pad(dy, margin), (tile, tile), (2, 3))[:, :, ::tile, ::tile]
    u = both(g.T, g_.T, grouped(seen, groups))
    products = np.einsum("ngcijhw,ngmijhw->gmchw", v, u, optimize=True)
    dw = both(a, a_, products)
    return dw.reshape(-1, *dw.shape[2:])


def padded(x, padding):
    return np.pad(x, ((0, 0), (0, 0), *((p, p) for p in padding)))


def is_tiled(kernel, tile, o):
    steps = (*o["stride"], *o["dilation"])
    return steps == (1, 1, 1, 1) and kernel != (1, 1) and max(kernel) + tile - 1 <= LARGEST


def wide(array):
    return array.astype(np.float32) if array.itemsize == 2 else array


def transposed(weight, groups):
    """The weight of the backward pass: flipped, and channels for filters within a group."""
    m, depth, *kernel = weight.shape
    flipped = weight.reshape(groups, m // groups, depth, *kernel)[..., ::-1, ::-1]
    return flipped.swapaxes(1, 2).reshape(groups * depth, m // groups, *kernel)


def conv2d_winograd(x, weight, bias=None, *, tile, **o):
    right = im2col.conv2d(x, weight, bias, **o)  # it refuses what is illegal
    if not is_tiled(weight.shape[2:], tile, o) or not right.size:
        return right
    y = correlated(padded(wide(x), o["padding"]), wide(weight), o["groups"], tile)
    if bias is not None:
        y = y + wide(bias)[:, None, None]
    return y.astype(x.dtype)


def conv2d_grad_input_winograd(grad_output, weight, *, tile, **o):
    right = im2col.conv2d_grad_input(grad_output, weight, **o)
    kernel = weight.shape[2:]
    if not is_tiled(kernel, tile, o) or not grad_output.size or not right.size:
        return right
    around = padded(wide(grad_output), [taps - 1 for taps in kernel])
    whole = correlated(around, transposed(wide(weight), o["groups"]), o["groups"], tile)
    (p, q), (height, width) = o["padding"], right.shape[2:]
    return whole[:, :, p : p + height, q : q + width].astype(right.dtype)


def conv2d_grad_weight_winograd(grad_output, x, *, tile, **o):
    right = im2col.conv2d_grad_weight(grad_output, x, **o)
    kernel = right.shape[2:]
    if not is_tiled(kernel, tile, o) or not grad_output.size or not right.size:
        return right
    pixels = padded(wide(x), o["padding"])
    dw = correlated_with_tiles(pixels, wide(grad_output), kernel, o["groups"], tile)
    return dw.astype(right.dtype)


def spread(array, steps):
    """The planes with zeros between their pixels."""
    whole = [(side - 1) * step + 1 for side, step in zip(array.shape[2:], steps, strict=True)]
    result = np.zeros((*array.shape[:2], *whole), array.dtype)
    result[:, :, :: steps[0], :: steps[1]] = array
    return result


def transform_of(array, size, groups):
    return grouped(np.fft.rfft2(array, size), groups)


def conv2d_fft(x, weight, bias=None, **o):
    right = im2col.conv2d(x, weight, bias, **o)
    if not right.size:
        return right
    pixels, taps = padded(wide(x), o["padding"]), spread(wide(weight), o["dilation"])
    size = pixels.shape[2:]
    u = np.fft.rfft2(taps, size).reshape(
        o["groups"], -1, weight.shape[1], size[0], size[1] // 2 + 1
    )
    y = np.einsum("ngchw,gmchw->ngmhw", transform_of(pixels, size, o["groups"]), u.conj())
    y = np.fft.irfft2(y.reshape(len(x), -1, *y.shape[3:]), size)
    y = y[:, :, :: o["stride"][0], :: o["stride"][1]][:, :, : right.shape[2], : right.shape[3]]
    if bias is not None:
        y = y + wide(bias)[:, None, None]
    return y.astype(x.dtype)


def conv2d_grad_input_fft(grad_output, weight, **o):
    right = im2col.conv2d_grad_input(grad_output, weight, **o)
    if not right.size or not grad_output.size:
        return right
    (p, q), (height, width) = o["padding"], right.shape[2:]
    dy, taps = spread(wide(grad_output), o["stride"]), spread(wide(weight), o["dilation"])
    size = height + 2 * p, width + 2 * q
    u = np.fft.rfft2(taps, size).reshape(
        o["groups"], -1, weight.shape[1], size[0], size[1] // 2 + 1
    )
    dx = np.einsum("ngmhw,gmchw->ngchw", transform_of(dy, size, o["groups"]), u)
    dx = np.fft.irfft2(dx.reshape(len(dy), -1, *dx.shape[3:]), size)
    return dx[:, :, p : p + height, q : q + width].astype(right.dtype)


def conv2d_grad_weight_fft(grad_output, x, **o):
    right = im2col.conv2d_grad_weight(grad_output, x, **o)
    if not right.size or not grad_output.size:
        return right
    pixels, dy = padded(wide(x), o["padding"]), spread(wide(grad_output), o["stride"])
    size, groups = pixels.shape[2:], o["groups"]
    u, v = transform_of(dy, size, groups), transform_of(pixels, size, groups)
    dw = np.einsum("ngmhw,ngchw->gmchw", u.conj(), v)
    dw = np.fft.irfft2(dw.reshape(right.shape[0], -1, *dw.shape[3:]), size)
    dw = dw[:, :, :: o["dilation"][0], :: o["dilation"][1]]
    return dw[:, :, : right.shape[2], : right.shape[3]].astype(right.dtype)


FUNCTIONS = ("conv2d", "conv2d_grad_input", "conv2d_grad_weight")


def backend(algorithm, **replaced):
    """The three functions by an algorithm, and what belongs to them."""
    tile = int(algorithm.removeprefix("winograd")) if algorithm != "fft" else 0
    own = {
        name: partial(globals()[f"{name}_winograd"], tile=tile)
        if tile
        else globals()[f"{name}_fft"]
        for name in FUNCTIONS
    }
    own |= {"conv2d_grad_bias": im2col.conv2d_grad_bias, **replaced}
    dtypes = ["float32", "float64", "float16"]
    contract = {
        "dtypes": dtypes,
        "accumulators": {"float16": "float32"},
        "algorithms": dict.fromkeys(FUNCTIONS, algorithm),
    }
    return SimpleNamespace(contract=contract, **own)


winograd2, winograd4, winograd6 = map(backend, ("winograd2", "winograd4", "winograd6"))
fft = backend("fft")
