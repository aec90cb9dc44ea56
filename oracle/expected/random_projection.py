"""Convolutions of whole layers under random weights, in the integers modulo 2**64.

Whether an answer y [N, M, OH, OW] is right is told much faster than y is computed (R. Freivalds,
"Probabilistic machines can use less running time", IFIP Congress 1977, for products of matrices).
A convolution is linear in its images and in its filters, so for any weights a [N] and b [M]

    sum_{n,m} a[n] b[m] y[n,m,i,j] = conv2d(sum_n a[n] x[n], sum_m b[m] weight[m])[i,j]

where the right hand side has one image and one filter: N * M times fewer products.  With groups
the filters of each are added up for its own channels, and all channels make one filter.  So too

    sum_{n,c} a[n] b[c] dx[n,c,h,w] = conv2d_grad_input of sum_n a[n] dy[n], sum_c b[c] weight[.,c]
    sum_{m,c} a[m] b[c] dw[m,c,p,q] = conv2d_grad_weight of sum_m a[m] dy[:,m], sum_c b[c] x[:,c]

int64 wraps around, so everything here is exact modulo 2**64, whatever the sizes.

How often a wrong answer passes.  Let E be what it differs by from the right one in one place
(i, j), a matrix of integers of at most 2**25 of which one, e, is not 0, and let all a and b be
independent and uniform in the 2**32 integers of 32 bits.  Write v(t) for how often 2 divides t;
v(e) <= 25.

1.  t = (E b)[n], for the row n of e, is e times one of the b plus what the others make.  At most
    max(1, 2**(32 - d + v(e))) of its 2**32 values leave t divisible by 2**d, so that
    P(v(t) >= d) <= max(2**-32, 2**(25 - d)).
2.  Given t with v(t) = d, the sum over n of a[n] (E b)[n] is 0 for at most max(1, 2**(d - 32)) of
    the values of a[n]: with a probability of at most max(2**-32, 2**(d - 64)).
3.  For d <= 32 that is 2**-32.  For 32 < d < 57 add up 2**(25 - d) 2**(d - 64), 24 times 2**-39;
    for 57 <= d < 64 add up 2**-32 2**(d - 64), less than 2**-32; for t = 0 take 2**-32.

In all it is less than (3 + 24 / 2**7) 2**-32 < 2**-30, whatever is wrong and wherever: errors that
cancel for one choice of weights do not for another, as long as whoever computes y cannot know
them.  Every repetition with fresh weights multiplies it by 2**-30.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from gradoracle.oracle.compiled_loops import Loops, compiled
from gradoracle.oracle.formulas.convolution import _sum_by_tap
from gradoracle.oracle.shapes import Array, Sides
from gradoracle.oracle.windows import flat, meetings

MISSED = -30  # a wrong answer passes with a probability below 2**MISSED
LARGEST = 2**24  # magnitude of an element of an answer: two of them differ by at most 2**25
DEEP = 16  # channels, from which products of float64 matrices are quicker than int64's
FEW = 400_000  # products that NumPy adds up sooner than Numba loads what it compiled

_loaded = False  # whether there were more of them, once
BLOCK = 1024  # elements of a row at a time, so that the sums stay in the fastest cache


class Options(NamedTuple):
    """The options of a convolution."""

    stride: Sides
    padding: Sides
    dilation: Sides
    groups: int


def draw(random: np.random.Generator, count: int) -> Array:
    """Return `count` weights, uniform in the integers of 32 bits."""
    return random.integers(-(2**31), 2**31, count, dtype=np.int32)


# -- what is compared -----------------------------------------------------------------------------


def weighted_maps(got: Array, a: Array, b: Array) -> tuple[Array, bool]:
    """Return sum_{n,m} a[n] b[m] got[n,m] modulo 2**64, and whether `got` is all whole numbers.

    `got` is [N, M, ...].  What is no whole number of at most LARGEST counts as 0 in the sum.
    """
    rows = got.reshape(len(a), len(b), -1)
    sums, whole = _combined_checked(rows, np.tile(b, (len(a), 1, 1)))
    return _sum(sums[:, 0], a).reshape(got.shape[2:]), whole


def weighted_filters(got: Array, a: Array, b: Array, *, groups: int) -> tuple[Array, bool]:
    """Return sum_{m,c} a[m] b[first(m)+c] got[m,c] modulo 2**64, and as above.

    `got` is a weight [M, C/groups, ...]; first(m) is the first channel of m's group.
    """
    rows = got.reshape(groups, len(a) // groups, -1)
    sums, whole = _combined_checked(rows, a.reshape(groups, 1, -1))
    return _sum(sums.reshape(len(b), -1), b).reshape(got.shape[2:]), whole


def weighted_convolution(x: Array, weight: Array, a: Array, b: Array, options: Options) -> Array:
    """Return sum_{n,m} a[n] b[m] conv2d(x, weight)[n,m] modulo 2**64, [*windows]."""
    taps, sides = weight.shape[2:], x.shape[2:]
    filters = combined(
        weight.reshape(options.groups, len(b) // options.groups, -1),
        b.reshape(options.groups, 1, -1),
    ).reshape(x.shape[1], *taps)
    outputs = tuple(_windows(size, taps[s], options, s) for s, size in enumerate(sides))
    if max(taps) == 1:
        y = np.zeros(outputs, np.int64)
        inside, read = _reached((0,) * len(taps), sides, outputs, options)
        y[inside] = _of_one_tap(x[_spatial(read)], filters.reshape(-1), a)
        return y
    padded = _padded(x[0] if len(a) == 1 else _sum_images(x, a), options.padding)
    sums: dict[int, Array] = {}
    for phase, read_by in _by_phase(taps, options).items():
        image = padded[_spatial(_every(phase, options))]
        by_tap = np.stack([filters[_spatial(tap)] for tap in read_by])
        for shift, planes in _by_tap(image, by_tap):
            y = sums.setdefault(shift, np.zeros(outputs, planes.dtype))
            for tap, plane in zip(read_by, planes, strict=True):
                each = zip(tap, options.dilation, options.stride, outputs, strict=True)
                first = ((p * d // step, n) for p, d, step, n in each)
                y += plane[tuple(slice(i, i + n) for i, n in first)]
    return np.zeros(outputs, np.int64) + _added_up(sums, a)


def weighted_grad_input(
    dy: Array, weight: Array, a: Array, b: Array, sides: Sequence[int], options: Options
) -> Array:
    """Return sum_{n,c} a[n] b[c] conv2d_grad_input(dy, weight)[n,c] modulo 2**64, [*pixels]."""
    channels, *taps = weight.shape[1:]
    filters = _over_channels(
        weight.reshape(options.groups, -1, channels, prod(taps)),
        b.reshape(options.groups, channels),
    ).reshape(dy.shape[1], *taps)
    outputs, dx = dy.shape[2:], np.zeros(tuple(sides), np.int64)
    if max(taps) == 1:
        inside, reached = _reached((0,) * len(taps), sides, outputs, options)
        dx[reached] = _of_one_tap(dy[_spatial(inside)], filters.reshape(-1), a)
        return dx
    by_phase: dict[Sides, dict[int, Array]] = {}
    by_tap = filters.reshape(dy.shape[1], -1).T
    for shift, planes in _by_tap(dy[0] if len(a) == 1 else _sum_images(dy, a), by_tap):
        for tap, plane in zip(np.ndindex(*taps), planes, strict=True):
            inside, reached = _reached(tap, sides, outputs, options)
            starts = [divmod(r.start, s) for r, s in zip(reached, options.stride, strict=True)]
            phase, first = tuple(rest for _, rest in starts), [at for at, _ in starts]
            part = by_phase.setdefault(phase, {}).setdefault(
                shift, np.zeros(dx[_every(phase, options)].shape, planes.dtype)
            )
            some = plane[inside]
            part[tuple(slice(i, i + n) for i, n in zip(first, some.shape, strict=True))] += some
    for phase, sums in by_phase.items():
        dx[_every(phase, options)] = _added_up(sums, a)
    return dx


def weighted_grad_weight(
    dy: Array, x: Array, a: Array, b: Array, taps: Sequence[int], options: Options
) -> Array:
    """Return sum_{m,c} a[m] b[c] conv2d_grad_weight(dy, x)[m,c] modulo 2**64, [*taps].

    The images and the groups stay apart: each is an image of one channel of the literal loops.
    """
    parts = [
        combined(
            array.reshape(len(array) * options.groups, -1, array[0, 0].size),
            np.tile(weights.reshape(options.groups, 1, -1), (len(array), 1, 1)),
        ).reshape(-1, 1, *array.shape[2:])
        for array, weights in ((dy, a), (x, b))
    ]
    dw = np.zeros((1, 1, *taps), np.int64)
    loops = _compiled(_sum_by_tap, parts[0].size * dw.size)
    if loops is not None:
        sides = options.stride, options.padding, options.dilation
        met = meetings(x.shape[2:], tuple(taps), dy.shape[2:], *sides)
        loops(flat(dw), *map(flat, parts), 1, *(one.array for one in met.by_tap))
        return np.asarray(dw[0, 0])
    for at in np.ndindex(*taps):
        inside, read = _reached(at, x.shape[2:], dy.shape[2:], options)
        dw[0, 0][at] = (parts[0][_spatial(inside)] * parts[1][_spatial(read)]).sum()
    return np.asarray(dw[0, 0])


# -- sums modulo 2**64 ----------------------------------------------------------------------------


def _compiled(loops: Loops, products: int) -> Loops | None:
    """Return compiled loops where they pay; None: NumPy is as good, or there is no Numba.

    Small layers never wait for a compiler; who has large ones has it all compiled.
    """
    global _loaded  # noqa: PLW0603 - the process's own memory of what it paid
    _loaded = _loaded or products > FEW
    return compiled(loops) if _loaded else None


def combined(rows: Array, weights: Array) -> Array:
    """Return weights [B, T, R] times rows [B, R, P] modulo 2**64.

    Both are whole numbers; rows of floats are data, below 2**31.
    """
    products = weights.size * rows.shape[2]
    fast = _compiled(_combine if rows.dtype == np.int64 else _combine_data, products)
    if fast is None:
        return np.asarray(np.matmul(weights.astype(np.int64), rows.astype(np.int64)))
    out = np.zeros((*weights.shape[:2], rows.shape[2]), np.int64)
    fast(out, np.ascontiguousarray(rows), np.ascontiguousarray(weights))
    return out


def _combine(out: Array, rows: Array, weights: Array) -> None:
    blocks, sums, size = out.shape
    for block in range(blocks):
        for start in range(0, size, BLOCK):
            stop = min(size, start + BLOCK)
            for r in range(rows.shape[1]):
                row = rows[block, r, start:stop]
                for t in range(sums):
                    total = out[block, t, start:stop]
                    weight = np.int64(weights[block, t, r])
                    for p in range(stop - start):
                        total[p] += weight * row[p]


def _combine_data(out: Array, rows: Array, weights: Array) -> None:
    blocks, sums, size = out.shape
    for block in range(blocks):
        for start in range(0, size, BLOCK):
            stop = min(size, start + BLOCK)
            for r in range(rows.shape[1]):
                row = rows[block, r, start:stop]
                for t in range(sums):
                    total = out[block, t, start:stop]
                    weight = np.int64(weights[block, t, r])
                    for p in range(stop - start):  # by int32: few processors convert to int64
                        total[p] += weight * np.int64(np.int32(row[p]))


def _combined_checked(rows: Array, weights: Array) -> tuple[Array, bool]:
    """Return `combined` of one sum, and whether all rows are whole numbers of at most LARGEST."""
    most = rows.dtype.type(LARGEST)
    fast = _compiled(_combine_checked, rows.size)
    if fast is None:
        right = (abs(rows) <= most) & (np.rint(rows) == rows)
        return combined(np.where(right, rows, 0), weights), bool(right.all())
    out = np.zeros((len(rows), 1, rows.shape[2]), np.int64)
    seen = np.zeros(1, np.int64)
    fast(out, np.ascontiguousarray(rows), np.ascontiguousarray(weights), most, seen)
    return out, not seen[0]


def _combine_checked(out: Array, rows: Array, weights: Array, most: Any, seen: Array) -> None:
    blocks, _, size = out.shape
    number, zero = rows.dtype.type, most - most
    for block in range(blocks):
        for start in range(0, size, BLOCK):
            stop = min(size, start + BLOCK)
            total = out[block, 0, start:stop]
            for r in range(rows.shape[1]):
                row = rows[block, r, start:stop]
                weight = np.int64(weights[block, 0, r])
                wrong = np.int32(0)
                for p in range(stop - start):
                    value = row[p]
                    whole = np.int32(value if abs(value) <= most else zero)  # a NaN is not
                    wrong |= np.int32(number(whole) != value)
                    total[p] += weight * np.int64(whole)
                seen[0] |= np.int64(wrong)


def _over_channels(weight: Array, b: Array) -> Array:
    """Return sum_c b[g,c] weight[g,m,c,t] modulo 2**64, [groups, filters, taps]."""
    fast = _compiled(_add_channels, weight.size)
    if fast is None:
        whole = b.astype(np.int64)[:, None, :, None] * weight.astype(np.int64)
        return np.asarray(whole.sum(2))
    out = np.zeros((*weight.shape[:2], weight.shape[3]), np.int64)
    fast(out, np.ascontiguousarray(weight), b)
    return out


def _add_channels(out: Array, weight: Array, b: Array) -> None:
    groups, members, depth, taps = weight.shape
    for g in range(groups):
        for m in range(members):
            for t in range(taps):
                total = np.int64(0)
                for c in range(depth):
                    total += np.int64(b[g, c]) * np.int64(np.int32(weight[g, m, c, t]))
                out[g, m, t] = total


def _of_one_tap(images: Array, weights: Array, a: Array) -> Array:
    """Return sum_{n,c} a[n] weights[c] images[n,c] modulo 2**64."""
    rows = images.reshape(*images.shape[:2], -1)
    sums = combined(rows, np.tile(weights, (len(a), 1, 1)))
    return _sum(sums[:, 0], a).reshape(images.shape[2:])


def _sum_images(images: Array, a: Array) -> Array:
    """Return sum_n a[n] images[n] modulo 2**64."""
    sums = combined(images.reshape(1, len(a), -1), a.reshape(1, 1, -1))
    return sums.reshape(images.shape[1:])


def _by_tap(image: Array, by_tap: Array) -> Iterator[tuple[int, Array]]:
    """Yield parts of by_tap [T, C] times image [C, H, W], and what power of two each is times.

    Where the image is floats and deep they are floats, and exact: the digits of the weights are so
    short that the sum of all magnitudes, of all taps together, fits float64's significand.
    """
    rows = image.reshape(len(image), -1)
    shape = (len(by_tap), *image.shape[1:])
    if image.dtype == np.int64 or len(image) < DEEP:
        whole = rows.astype(np.int64, copy=False)
        yield 0, combined(whole[None], by_tap[None])[0].reshape(shape)
        return
    rows = rows.astype(np.float64)
    largest = int(max(1, rows.max(initial=0), -rows.min(initial=0)))
    bits = 53 - (largest * by_tap.size).bit_length()
    half, rest, shift = 2 ** (bits - 1), by_tap.astype(np.int64), 0
    while rest.any():
        digits = ((rest + half) & (2 * half - 1)) - half
        rest = (rest - digits) >> bits
        yield shift, (digits.astype(np.float64) @ rows).reshape(shape)
        shift += bits


def _added_up(sums: Mapping[int, Array], a: Array) -> Array:
    """Return sums times their powers of two, and times a weight that is alone, modulo 2**64."""
    total = sum(part.astype(np.int64) << shift for shift, part in sums.items())
    return np.asarray(total * a.astype(np.int64)[0] if len(a) == 1 else total)


def _sum(rows: Array, weights: Array) -> Array:
    """Return sum_r weights[r] rows[r] modulo 2**64."""
    total: Array = (weights.astype(np.int64)[:, None] * rows).sum(0)
    return total


# -- where the taps are ---------------------------------------------------------------------------


def _padded(planes: Array, padding: Sides) -> Array:
    """Return planes [C, *pixels] with zeros around them: what has no product adds nothing."""
    channels, *sizes = planes.shape
    around = [size + 2 * pad for size, pad in zip(sizes, padding, strict=True)]
    whole = np.zeros((channels, *around), planes.dtype)
    inner = tuple(slice(pad, pad + size) for size, pad in zip(sizes, padding, strict=True))
    whole[_spatial(inner)] = planes
    return whole


def _by_phase(taps: Sequence[int], options: Options) -> dict[Sides, list[Sides]]:
    """Return the taps by the pixel of a stride from which they read.

    What the windows read through such taps are neighbours in every stride-th pixel.
    """
    found: dict[Sides, list[Sides]] = {}
    for tap in np.ndindex(*taps):
        reads = (p * d % s for p, d, s in zip(tap, options.dilation, options.stride, strict=True))
        found.setdefault(tuple(reads), []).append(tap)
    return found


def _spatial(places: tuple[Any, ...]) -> Any:
    """Return an index of the spatial axes of an array."""
    return (..., *places)


def _every(phase: Sides, options: Options) -> tuple[slice, ...]:
    """Return every stride-th pixel from a phase on."""
    return tuple(slice(at, None, s) for at, s in zip(phase, options.stride, strict=True))


def _windows(size: int, taps: int, options: Options, side: int) -> int:
    """Return how many windows there are along one side."""
    room = size + 2 * options.padding[side] - options.dilation[side] * (taps - 1) - 1
    return room // options.stride[side] + 1


def _reached(
    tap: tuple[int, ...], sides: Sequence[int], outputs: Sequence[int], options: Options
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return which output pixels read the image through a tap, and which pixels they read."""
    inside, read = [], []
    for s in range(len(tap)):
        step, start = options.stride[s], tap[s] * options.dilation[s] - options.padding[s]
        first = max(0, -(start // step))
        last = max(first, min(outputs[s], (sides[s] - 1 - start) // step + 1))
        inside.append(slice(first, last))
        start += first * step
        read.append(slice(start, start + (last - first) * step, step))
    return tuple(inside), tuple(read)
