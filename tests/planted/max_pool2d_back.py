"""More planted faults of max pooling: the way back, tiles, numbers, manners; and its controls."""

import numpy as np

from gradoracle.implementations import im2col as good
from tests.planted.fault import control, fault, half, remembered
from tests.planted.max_pool2d import last_wins, to_all_maxima
from tests.planted.windows import OPTIONS, scan, taps, unpooled

# -- overlap, batches and planes on the way back --------------------------------------------------


@fault("overlap", "ahrefs/ocannl#512")
def max_pool2d_grad_input_stores_instead_of_adding(grad_output, indices, *, input_shape):
    dx = good.max_pool2d_grad_input(grad_output, indices, input_shape=input_shape)
    flat = np.zeros((*input_shape[:2], input_shape[2] * input_shape[3]), dx.dtype)
    lines = (*input_shape[:2], -1)
    np.put_along_axis(flat, indices.reshape(lines), grad_output.reshape(lines), 2)
    return flat.reshape(input_shape)


@fault("overlap", "jmschrei/tangermeme#95")
def max_pool2d_vjp_stores_instead_of_adding(grad_output, x, **o):
    indices = good.max_pool2d(x, **o)[1]
    return max_pool2d_grad_input_stores_instead_of_adding(grad_output, indices, input_shape=x.shape)


@fault("index")
def max_pool2d_grad_input_forgets_the_plane(grad_output, indices, *, input_shape):
    dx = good.max_pool2d_grad_input(grad_output, indices, input_shape=input_shape)
    together = np.zeros_like(dx)
    together[:, :1] = dx.sum(axis=1, keepdims=True)
    return together


@fault("batch", "szagoruyko/pyinn#16 (convolution)")
def max_pool2d_grad_input_forgets_the_images_offset(grad_output, indices, *, input_shape):
    dx = good.max_pool2d_grad_input(grad_output, indices, input_shape=input_shape)
    together = np.zeros_like(dx)
    together[:1] = dx.sum(axis=0, keepdims=True)
    return together


@fault("index")
def max_pool2d_grad_input_takes_index_0_for_none(grad_output, indices, *, input_shape):
    grad_output = np.where(indices > 0, grad_output, 0)
    return good.max_pool2d_grad_input(grad_output, indices, input_shape=input_shape)


@fault("index")
def max_pool2d_grad_input_divides_by_the_height(grad_output, indices, *, input_shape):
    dx = good.max_pool2d_grad_input(grad_output, indices, input_shape=input_shape)
    return dx.reshape(*dx.shape[:2], dx.shape[3], dx.shape[2]).swapaxes(2, 3).copy()


@fault("normalisation")
def max_pool2d_grad_input_averages_what_arrives(grad_output, indices, *, input_shape):
    dx = good.max_pool2d_grad_input(grad_output, indices, input_shape=input_shape)
    ones = np.ones_like(grad_output)
    counts = good.max_pool2d_grad_input(ones, indices, input_shape=input_shape)
    return dx / np.maximum(counts, 1)


@fault("state", "pytorch/executorch#21686", fresh=True)
def max_pool2d_grad_input_adds_to_an_uncleared_buffer():
    buffers = {}

    def max_pool2d_grad_input(grad_output, indices, *, input_shape):
        dx = good.max_pool2d_grad_input(grad_output, indices, input_shape=input_shape)
        total = remembered(buffers, dx)
        total += dx
        return total.copy()

    return max_pool2d_grad_input


@fault("batch")
def max_pool2d_repeats_the_first_image(x, **o):
    return good.max_pool2d(np.repeat(x[:1], len(x), 0), **o)


@fault("batch")
def max_pool2d_vjp_uses_the_first_channels_maxima(grad_output, x, **o):
    return good.max_pool2d_vjp(grad_output, np.repeat(x[:, :1], x.shape[1], 1), **o)


@fault("empty")
def max_pool2d_raises_on_an_empty_batch(x, **o):
    x.max()
    return good.max_pool2d(x, **o)


# -- where the contract leaves open which maximum wins --------------------------------------------

ANY = {"policies": {"ties": "any-subgradient", "nan": "any"}}


def _places(x, o):
    """Return where the first and the last maximum of every window are."""
    return good.max_pool2d(x, **o)[1], scan(x, last_wins, **o)[1]


@fault("tie", contract=ANY)
def max_pool2d_vjp_goes_whole_to_every_maximum(grad_output, x, **o):
    return to_all_maxima(grad_output, x, o, shared=False)


@fault("tie", contract=ANY)
def max_pool2d_vjp_drops_what_several_win(grad_output, x, **o):
    first, last = _places(x, o)
    return unpooled(np.where(first == last, grad_output, 0), first, x.shape)


@fault("tie", contract=ANY)
def max_pool2d_vjp_sends_what_several_win_to_the_first_pixel(grad_output, x, **o):
    first, last = _places(x, o)
    return unpooled(grad_output, np.where(first == last, first, 0), x.shape)


# -- tiles, numbers and manners -------------------------------------------------------------------


@fault("tail")
def max_pool2d_drops_columns_past_a_tile(x, **o):
    y, indices = good.max_pool2d(x, **o)
    if y.shape[3] > 32:
        y[..., y.shape[3] // 32 * 32 :] = 0
    return y, indices


@fault("tail")
def max_pool2d_skips_taps_past_a_vector(x, **o):
    count = good.max_pool2d(x, **o)[0].shape[2:]
    down, across = o["kernel_size"]
    return scan(x, count=count, **{**o, "kernel_size": (down, min(across, across // 8 * 8 or 8))})


@fault("precision")
def max_pool2d_compares_in_float16(x, **o):
    _, indices = good.max_pool2d(half(x), **o)
    lines = (*x.shape[:2], -1)
    y = np.take_along_axis(x.reshape(lines), indices.reshape(lines), 2).reshape(indices.shape)
    return y, indices


@fault("precision")
def max_pool2d_vjp_adds_in_float16(grad_output, x, **o):
    return half(good.max_pool2d_vjp(grad_output, x, **o))


@fault("purity")
def max_pool2d_replaces_nans_in_place(x, **o):
    result = good.max_pool2d(x, **o)
    np.nan_to_num(x, copy=False, nan=-np.inf, neginf=-np.inf, posinf=np.inf)
    return result


@fault("aliasing", fresh=True)
def max_pool2d_returns_one_buffer():
    buffers = {}

    def max_pool2d(x, **o):
        y, indices = good.max_pool2d(x, **o)
        buffer = remembered(buffers, y)
        buffer[...] = y
        return buffer, indices

    return max_pool2d


# -- controls -------------------------------------------------------------------------------------


@control
def max_pool2d_scans_tap_by_tap(x, **o):
    return scan(x, **o)


@control
def max_pool2d_takes_argmax_of_a_stack(x, **o):
    """NumPy's argmax: the first of several maxima, and the first NaN before everything."""
    count = good.max_pool2d(x, **o)[0].shape[2:]
    stack, places = [], []
    plane = np.arange(x.shape[2] * x.shape[3]).reshape(x.shape[2:])
    for _, windows, pixels in taps(x.shape[2:], count, *(o[name] for name in OPTIONS)):
        seen, place = np.full((*x.shape[:2], *count), -np.inf, x.dtype), np.full(count, -1)
        seen[:, :, *windows], place[windows] = x[:, :, *pixels], plane[pixels]
        stack.append(seen)
        places.append(np.broadcast_to(place, seen.shape))
    stack, places = np.stack(stack), np.stack(places)
    hidden = np.isneginf(stack) & (places >= 0)  # a real pixel wins over padding
    order = np.where(hidden, np.finfo(x.dtype).min, stack)
    lowest = stack == np.finfo(x.dtype).min
    assert not lowest.any()
    at = order.argmax(axis=0)[None]
    return np.take_along_axis(stack, at, 0)[0], np.take_along_axis(places, at, 0)[0]


@control(contract=ANY)
def max_pool2d_vjp_shares_among_maxima(grad_output, x, **o):
    return to_all_maxima(grad_output, x, o, shared=True)


@control(contract=ANY)
def max_pool2d_takes_the_last_of_several(x, **o):
    def wins(seen, best, place):
        return (place < 0) | (seen >= best) | np.isnan(seen)

    return scan(x, wins, **o)


@control(contract={"policies": {"nan": "any"}})
def max_pool2d_takes_another_nan(x, **o):
    return scan(x, lambda seen, best, place: (place < 0) | (seen > best) | np.isnan(seen), **o)


@control
def max_pool2d_grad_input_compares_every_pixel(grad_output, indices, *, input_shape):
    """Gathers: every pixel asks all windows whether they point at it."""
    pixels = np.arange(input_shape[2] * input_shape[3])
    if pixels.size * indices.size > 2**24:  # too many pairs to be held
        return good.max_pool2d_grad_input(grad_output, indices, input_shape=input_shape)
    lines = (*indices.shape[:2], 1, indices.shape[2] * indices.shape[3])
    chosen = indices.reshape(lines) == pixels[:, None]
    flat = grad_output.reshape(lines)
    dx = np.where(chosen, flat, 0).sum(axis=3, dtype=grad_output.dtype)
    return dx.reshape(input_shape)


@control
def max_pool2d_grad_input_counts_with_bincount(grad_output, indices, *, input_shape):
    n, c, h, w = input_shape
    planes = np.arange(n * c).reshape(n, c, 1, 1) * h * w
    dx = np.bincount((indices + planes).ravel(), grad_output.ravel(), n * c * h * w)
    return dx.astype(grad_output.dtype).reshape(input_shape)


@control
def max_pool2d_vjp_adds_windows_last_to_first(grad_output, x, **o):
    indices = good.max_pool2d(x, **o)[1]
    flip = np.s_[:, :, ::-1, ::-1]
    return unpooled(grad_output[flip], indices[flip], x.shape)
