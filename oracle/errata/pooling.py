"""003, from "Backpropagation through Max-Pooling" to its end."""

from typing import Any

import numpy as np

from gradoracle.oracle.declaration import Call, evaluate
from gradoracle.oracle.errata.erratum import Undefined, assumption, exact, misprint, pooling
from gradoracle.oracle.formulas.avg_pool import avg_pool2d, avg_pool2d_grad_input
from gradoracle.oracle.formulas.max_pool import (
    max_pool2d_grad_input,
    max_pool2d_indices,
    max_pool2d_values,
    max_pool2d_vjp,
)
from gradoracle.oracle.shapes import Array


@misprint(
    "003, 'max(x in X)' below max-unpool",
    printed="max(x in X_{n:K_row-size, m:K_col-size}) for all m, n",
    right="n : n + K_row-size, m : m + K_col-size, n and m a stride apart",
    formula=max_pool2d_values,
    call=pooling([[[[0, 0]]]], (1, 1), grad_output=[0, 0]),
)
def ends_every_region_at_k(call: Call) -> Array:
    """Take the maximum of the slices as they stand."""
    x, kernel, stride = call["x"], call["kernel_size"], call["stride"]
    y = np.zeros(call["grad_output"].shape, object)
    for i, j in np.ndindex(y.shape[2:]):
        n, m = i * stride[0], j * stride[1]
        region = x[:, :, n : kernel[0], m : kernel[1]]
        if not region.size:
            raise Undefined(f"X[{n}:{kernel[0]}, {m}:{kernel[1]}] is empty: it has no maximum")
        y[:, :, i, j] = region.max(axis=(2, 3))
    return y


@misprint(
    "003, 'the original formulation'",
    printed="dZ^{l-1} = W^l . max-unpool(Z, idxs, dZ^l), W^l of ones and zeros",
    right="(W^l)^T dZ^l, which is max-unpool itself; W^l . max-unpool is dZ^l again",
    formula=max_pool2d_vjp,
    also=(max_pool2d_grad_input,),
    call=pooling([[[[0, 0]]]], (1, 2), grad_output=[0]),
)
def multiplies_by_the_weights_again(call: Call) -> Array:
    """Multiply what comes out of max-unpool by the matrix of the forward pass."""
    dy = call["grad_output"]
    unpooled = evaluate(max_pool2d_vjp, call)
    again = np.zeros(dy.shape, object)
    for n, c in np.ndindex(dy.shape[:2]):
        again[n, c] = unpooled[n, c].ravel()[call["indices"][n, c]]
    return again


@assumption(
    "003, max-unpool",
    name="no region shares its maximum",
    printed="insert each value of dZ^l into its position",
    right="add it: regions that overlap may share a maximum",
    formula=max_pool2d_grad_input,
    also=(max_pool2d_vjp,),
    call=pooling([[[[0, 1, 0]]]], (1, 2), grad_output=[1, 0]),
)
def inserts(call: Call) -> Array:
    """Put the values where the indices point, one after the other."""
    dy, indices = call["grad_output"], call["indices"]
    dx = np.zeros(call["input_shape"], object)
    for n, c, i, j in np.ndindex(dy.shape):
        dx[n, c].ravel()[indices[n, c, i, j]] = dy[n, c, i, j]
    return dx


@assumption(
    "003, weights of 1 and 0; 'the indices of the maximum values'",
    name="no ties",
    printed="weights = 1 for the max-pooled values, 0 for the eliminated values",
    right="1 for one maximum per region, the first; its equals get 0",
    formula=max_pool2d_vjp,
    also=(max_pool2d_grad_input, max_pool2d_indices),
    call=pooling([[[[0, 0]]]], (1, 2), grad_output=[1]),
)
def gives_every_maximum_a_weight_of_1(call: Call) -> Array:
    """Send dZ_ij to every pixel of the region that is its maximum."""
    x, dy, y = call["x"], call["grad_output"], evaluate(max_pool2d_values, call)
    dx = np.zeros(x.shape, object)
    for i, j in np.ndindex(dy.shape[2:]):
        region = np.s_[:, :, *_region(call, i, j)]
        chosen = x[region] == y[:, :, i, j, None, None]
        dx[region] = dx[region] + np.where(chosen, dy[:, :, i, j, None, None], 0)
    return dx


@assumption(
    "003, 'the indices of the maximum values within the pooling region'",
    name="indices of the plane",
    printed="indices within the region, which identify positions in the mask",
    right="h*W + w in the plane: a place within the region does not say which region",
    formula=max_pool2d_indices,
    also=(max_pool2d_grad_input,),
    call=pooling([[[[0, 0]]]], (1, 1), grad_output=[0, 0]),
)
def counts_within_the_region(call: Call) -> Array:
    """Count from the region's own first pixel."""
    x, places = call["x"], np.zeros(call["grad_output"].shape, object)
    for n, c, i, j in np.ndindex(places.shape):
        region = x[n, c][_region(call, i, j)]
        places[n, c, i, j] = region.ravel().tolist().index(region.max())
    return places


@assumption(
    "003, the maximum of the region; 002 pads with zeros",
    name="no padding of a pooling",
    printed="max(x in the region that the kernel covers)",
    right="of its pixels: padding is minus infinity, and never wins as 002's zeros would",
    formula=max_pool2d_values,
    also=(max_pool2d_indices,),
    call=pooling([[[[-1]]]], (1, 2), grad_output=[0, 0], padding=(0, 1)),
)
def pads_with_zeros(call: Call) -> Array:
    """Take the maximum of the regions of the zero-padded map."""
    (down, across), (height, width) = call["padding"], call["x"].shape[2:]
    padded = exact(np.zeros((*call["x"].shape[:2], height + 2 * down, width + 2 * across), int))
    padded[:, :, down : down + height, across : across + width] = call["x"]
    return evaluate(max_pool2d_values, {**call, "x": padded, "padding": (0, 0)})


@misprint(
    "003, last two displays",
    printed="dZ^{l-1} = dZ_mask^{l-1} + dZ^{l-1}_ij / r_size",
    right="dZ^l_ij / r_size",
    formula=avg_pool2d_grad_input,
    call=pooling([[[[0, 0]]]], (1, 2), grad_output=[1]),
)
def reads_the_result_under_the_sum(call: Call) -> Array:
    """Feed the right side the right dZ^{l-1}: the left side must come out."""
    rows, columns = call["grad_output"].shape[2:]
    spread = evaluate(avg_pool2d_grad_input, call)[:, :, :rows, :columns]
    return evaluate(avg_pool2d_grad_input, {**call, "grad_output": spread})


@misprint(
    "003, overlapping regions of the average",
    printed="(dZ^l / r_size)^r is added to (dZ^l / d r_size)^{r-1}, of the previous region",
    right="to all that was dispersed before, dZ^l / r_size: others than r-1 may overlap with r",
    formula=avg_pool2d_grad_input,
    call=pooling([[[[0, 0], [0, 0], [0, 0]]]], (2, 1), grad_output=[1, 0, 0, 0]),
)
def adds_to_the_previous_region_only(call: Call) -> Array:
    """Let every region overwrite its slots by its own share and that of the region before."""
    dy = call["grad_output"]
    mask, before = np.zeros(call["input_shape"], object), np.zeros(call["input_shape"], object)
    for i, j in np.ndindex(dy.shape[2:]):
        region = np.s_[:, :, *_region(call, i, j)]
        share = dy[:, :, i, j, None, None] / before[region][0, 0].size
        mask[region] = before[region] + share
        before = np.zeros_like(mask)
        before[region] = before[region] + share
    return mask


@assumption(
    "003, r_size of a region of the mask",
    name="no padding of an average",
    printed="divide by the size of the region in the mask, which has the input's shape",
    right="by what the forward pass divided by, the taps in the padded image unless "
    "count_include_pad is off",
    formula=avg_pool2d_grad_input,
    also=(avg_pool2d,),
    call=pooling([[[[0]]]], (1, 2), grad_output=[1, 0], padding=(0, 1)),
)
def counts_the_pixels_of_the_mask(call: Call) -> Any:
    """Divide by the pixels of the region."""
    return evaluate(avg_pool2d_grad_input, {**call, "count_include_pad": False})


def _region(call: Call, i: int, j: int) -> tuple[slice, slice]:
    """Return the rows and columns of a window, without padding."""
    (down, across), kernel = call["stride"], call["kernel_size"]
    return slice(i * down, i * down + kernel[0]), slice(j * across, j * across + kernel[1])
