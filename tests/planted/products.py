"""Planted faults and controls of matrix products, the bilinear layer and the rotary embedding."""

from collections.abc import Callable
from typing import Any

import numpy as np

from gradoracle.implementations import im2col as good
from tests.planted.fault import Fault, add, checked, control, half, single

Array = Any
Product = Callable[[Array, Array], Array]

# -- products of matrices [..., I, K] and [..., K, J], whatever they are of ------------------------


def short(array: Array, bits: int) -> Array:
    fraction, exponent = np.frexp(array)
    return np.ldexp(np.rint(np.ldexp(fraction, bits)), exponent - bits).astype(array.dtype)


def without_a_tail(tile: int) -> Product:
    """Only whole tiles of the summed side count, one at least."""

    def of(a: Array, b: Array) -> Array:
        last = a.shape[-1] if a.shape[-1] < tile else a.shape[-1] // tile * tile
        return a[..., :last] @ b[..., :last, :]

    return of


def zeros_past(tile: int, axis: int) -> Product:
    """Rows, or columns, of an incomplete tile past the first stay zeros."""

    def of(a: Array, b: Array) -> Array:
        y = (a @ b).copy()
        if y.shape[axis] > tile and y.shape[axis] % tile:
            at = [slice(None)] * y.ndim
            at[axis] = slice(y.shape[axis] // tile * tile, None)
            y[tuple(at)] = 0
        return y

    return of


def tail_from_the_next_row(a: Array, b: Array) -> Array:
    """Loads past the summed side of an unmasked tile read the next row."""
    more = -a.shape[-1] % 16
    if not more or a.shape[-1] < 16:
        return a @ b
    flat = np.concatenate([a.reshape(*a.shape[:-2], -1), np.zeros((*a.shape[:-2], more))], -1)
    rows, inner = a.shape[-2:]
    at = np.arange(rows)[:, np.newaxis] * inner + np.arange(inner, inner + more)
    stray = flat[..., np.minimum(at, flat.shape[-1] - 1)].astype(a.dtype)
    return a @ b + stray @ np.resize(b[..., :1, :], (*b.shape[:-2], more, b.shape[-1]))


def in_half(a: Array, b: Array) -> Array:
    with np.errstate(over="ignore"):
        return half(half(a) @ half(b))


def in_tf32(a: Array, b: Array) -> Array:
    return short(a, 11) @ short(b, 11)


def adds_in_half(a: Array, b: Array) -> Array:
    parts = [
        a[..., at : at + 32] @ b[..., at : at + 32, :] for at in range(0, max(1, a.shape[-1]), 32)
    ]
    total = parts[0]
    with np.errstate(over="ignore", invalid="ignore"):
        for part in parts[1:]:
            total = half(total + part)
    return total


def last_part_only(a: Array, b: Array) -> Array:
    """Parts of a long sum are written over each other, not added up."""
    at = (max(1, a.shape[-1]) - 1) // 256 * 256
    return a[..., at:] @ b[..., at:, :]


def as_if_square(a: Array, b: Array) -> Array:
    """The right matrix is read by its columns where both of its sides are alike."""
    return a @ (b.swapaxes(-1, -2) if b.shape[-1] == b.shape[-2] else b)


def one_is_nothing(a: Array, b: Array) -> Array:
    return np.zeros_like(a @ b) if a.shape[-1] == 1 else a @ b


def one_row_by_rows(a: Array, b: Array) -> Array:
    """A path for one row takes the wrong side of the right matrix, where it can."""
    return a @ b.swapaxes(-1, -2) if a.shape[-2] == 1 < b.shape[-1] == b.shape[-2] else a @ b


def past_1024(a: Array, b: Array) -> Array:
    return a[..., :1024] @ b[..., :1024, :]


def skips_zeros(a: Array, b: Array) -> Array:
    return np.where(a != 0, a, 0) @ np.where(np.isnan(b), 0, b)


def in_single(a: Array, b: Array) -> Array:
    return single(single(a) @ single(b))


PRODUCTS: dict[str, tuple[str, str, Product]] = {
    "leaves_out_a_tail_of_32": ("tail", "triton-lang/triton#630", without_a_tail(32)),
    "leaves_out_a_tail_of_8": ("tail", "", without_a_tail(8)),
    "leaves_rows_past_a_tile": ("tail", "", zeros_past(64, -2)),
    "leaves_columns_past_a_tile": ("tail", "", zeros_past(128, -1)),
    "reads_the_next_row": ("tail", "triton-lang/triton#5990", tail_from_the_next_row),
    "multiplies_in_half": ("precision", "", in_half),
    "multiplies_in_tf32": ("precision", "", in_tf32),
    "multiplies_in_single": ("precision", "", in_single),
    "adds_parts_in_half": ("precision", "triton-lang/triton#2630", adds_in_half),
    "keeps_the_last_part_of_a_sum": ("overlap", "", last_part_only),
    "transposes_a_square_matrix": ("orientation", "", as_if_square),
    "takes_a_sum_of_one_for_nothing": ("fast path", "triton-lang/triton#934", one_is_nothing),
    "transposes_for_one_row": ("fast path", "", one_row_by_rows),
    "stops_after_1024": ("overflow", "", past_1024),
    "drops_nan_beside_anything": ("nan", "", skips_zeros),
}  # fmt: skip


def turned(array: Array) -> Array:
    return array.swapaxes(-1, -2)


def of_matrices(name: str, product: Product) -> Callable[..., Array]:
    """Return a function of matmul or bmm by another product."""
    if name.endswith("_grad_input"):
        return lambda dy, other: product(dy, turned(other))
    if "_grad_" in name:
        return lambda dy, x: product(turned(x), dy)
    return product


MATRICES = ("matmul", "matmul_grad_input", "matmul_grad_other", "bmm", "bmm_grad_input",
            "bmm_grad_mat2")  # fmt: skip
FAULTS: dict[str, tuple[str, str, str, Callable[..., Any]]] = {
    f"{name}_{what}": (name, kind, seen, of_matrices(name, product))
    for name in MATRICES
    for what, (kind, seen, product) in PRODUCTS.items()
}


def writes_over_the_first(a: Array, b: Array) -> Array:
    y = a @ b
    if a.shape != y.shape or not a.flags.writeable:
        return y
    a[...] = y
    return a


def first_matrix_of(at: int) -> Callable[..., Array]:
    def of(*arrays: Array) -> Array:
        one, other = arrays[0], arrays[1]
        taken = [one, other]
        taken[at] = np.broadcast_to(taken[at][:1], taken[at].shape)
        return taken[0] @ taken[1]

    return of


def batches_past_32(a: Array, b: Array) -> Array:
    y = a @ b
    y[32:] = 0
    return y


FAULTS |= {
    "matmul_writes_over_input": ("matmul", "aliasing", "", writes_over_the_first),
    "matmul_grad_other_is_the_mean_of_rows": ("matmul_grad_other", "normalisation", "",
        lambda dy, x: turned(x) @ dy / max(1, len(x))),
    "matmul_grad_other_leaves_out_the_last_row": ("matmul_grad_other", "batch", "",
        lambda dy, x: turned(x[:-1]) @ dy[:-1]),
    "bmm_takes_the_first_matrix_on_the_right": ("bmm", "batch", "", first_matrix_of(1)),
    "bmm_takes_the_first_matrix_on_the_left": ("bmm", "batch", "", first_matrix_of(0)),
    "bmm_leaves_batches_past_32": ("bmm", "batch", "", batches_past_32),
    "bmm_grad_mat2_is_summed_over_the_batch": ("bmm_grad_mat2", "batch", "",
        lambda dy, x: np.broadcast_to((turned(x) @ dy).sum(0, keepdims=True), (
            len(x), x.shape[2], dy.shape[2]))),
}  # fmt: skip

# -- broadcast_matmul ------------------------------------------------------------------------------


def right(function: str, dy: Array, other: Array, shape: tuple[int, ...]) -> Array:
    option = "input_shape" if function.endswith("input") else "other_shape"
    return getattr(good, function)(dy, other, **{option: shape})


def first_of_what_was_broadcast(function: str, *, scale: bool) -> Callable[..., Array]:
    """The share of the first of those that an operand was repeated for, or the mean of all."""

    def wrong(dy, other, **o):
        (shape,) = o.values()
        found = right(function, dy, other, shape)
        batch = dy.shape[: max(len(shape), other.ndim) - 2]
        own = (*(1,) * (len(batch) - len(shape[:-2])), *shape[:-2])
        many = [at for at, n in enumerate(batch) if n > 1 and (own[at] == 1)]
        if not many or len(shape) < 2 or other.ndim < 2:
            return found
        if scale:
            return found / np.prod([batch[at] for at in many])
        part = tuple(slice(0, 1) if at in many else slice(None) for at in range(len(batch)))
        beside = other
        wide = (*(1,) * (len(batch) - other.ndim + 2), *other.shape)
        picked = tuple(slice(None) if wide[at] == 1 else part[at] for at in range(len(batch)))
        beside = other.reshape(wide)[picked]
        return right(function, dy[part], beside, shape)

    return wrong


def batch_of_the_left(a: Array, b: Array) -> Array:
    """The batch is that of the left operand: what the right one has more of is left out."""
    y = a @ b
    if min(a.ndim, b.ndim) < 3:
        return y
    first = a @ b[(slice(0, 1),) * (b.ndim - 2)]
    return first if first.shape == y.shape else y


def batches_by_their_number(a: Array, b: Array) -> Array:
    """Matrices are counted through both operands alike, also along what is broadcast."""
    y = a @ b
    if min(a.ndim, b.ndim) < 4:
        return y
    one, other = a.reshape(-1, *a.shape[-2:]), b.reshape(-1, *b.shape[-2:])
    at = np.arange(np.prod(y.shape[:-2]))
    return (one[at % len(one)] @ other[at % len(other)]).reshape(y.shape)


def vector_as_a_row(a: Array, b: Array) -> Array:
    if b.ndim == 1 and a.ndim > 1 and a.shape[-1] == a.shape[-2]:
        return turned(a) @ b
    return a @ b


def keeps_the_axis_of_a_vector(a: Array, b: Array) -> Array:
    return np.asarray(a @ (b[:, np.newaxis] if b.ndim == 1 < a.ndim else b))


B = "broadcast_matmul"
FAULTS |= {
    f"{B}_takes_the_batch_of_the_left": (B, "batch", "tenstorrent/tt-tvm#85", batch_of_the_left),
    f"{B}_counts_matrices_alike": (B, "batch", "", batches_by_their_number),
    f"{B}_takes_a_vector_for_a_row": (B, "orientation", "", vector_as_a_row),
    f"{B}_keeps_the_axis_of_a_vector": (B, "shape", "", keeps_the_axis_of_a_vector),
    f"{B}_leaves_out_a_tail": (B, "tail", "", lambda a, b: without_a_tail(8)(a, b)
        if min(a.ndim, b.ndim) > 1 else a @ b),
    f"{B}_multiplies_in_half": (B, "precision", "", lambda a, b: half(half(a) @ half(b))),
    **{f"{B}_grad_{n}_takes_the_first_of_a_batch": (
        f"{B}_grad_{n}", "batch", "flashlight/flashlight#760",
        first_of_what_was_broadcast(f"{B}_grad_{n}", scale=False)) for n in ("input", "other")},
    **{f"{B}_grad_{n}_takes_the_mean_of_a_batch": (
        f"{B}_grad_{n}", "normalisation", "",
        first_of_what_was_broadcast(f"{B}_grad_{n}", scale=True)) for n in ("input", "other")},
    **{f"{B}_grad_{n}_multiplies_in_half": (
        f"{B}_grad_{n}", "precision", "",
        lambda dy, a, f=f"{B}_grad_{n}", **o: right(f, half(dy), half(a), *o.values()))
        for n in ("input", "other")},
}  # fmt: skip

# -- bilinear --------------------------------------------------------------------------------------


def bilinear(letters: str) -> Callable[..., Array]:
    def wrong(x1, x2, w, bias=None):
        try:
            y = np.einsum(letters, x1, w, x2)
        except ValueError:
            return good.bilinear(x1, x2, w, bias)
        return y if bias is None else y + bias

    return wrong


FAULTS |= {
    "bilinear_forgets_the_bias": ("bilinear", "bias", "", lambda x1, x2, w, bias=None:
        good.bilinear(x1, x2, w)),
    "bilinear_exchanges_the_inputs": ("bilinear", "index", "", bilinear("nb,mab,na->nm")),
    "bilinear_adds_up_a_and_b_apart": ("bilinear", "formula", "", lambda x1, x2, w, bias=None:
        good.bilinear(np.ones_like(x1), x2, w, bias) * x1.sum(1, keepdims=True)),
    "bilinear_leaves_out_a_tail": ("bilinear", "tail", "", lambda x1, x2, w, bias=None:
        good.bilinear(x1, x2[:, : max(1, x2.shape[1] // 8 * 8)],
                      w[:, :, : max(1, x2.shape[1] // 8 * 8)], bias)),
    "bilinear_multiplies_in_half": ("bilinear", "precision", "", lambda x1, x2, w, bias=None:
        half(good.bilinear(half(x1), half(x2), half(w), bias))),
    "bilinear_takes_the_first_row": ("bilinear", "batch", "", lambda x1, x2, w, bias=None:
        good.bilinear(x1, np.broadcast_to(x2[:1], x2.shape), w, bias)),
    "bilinear_grad_input1_transposes_the_weight": ("bilinear_grad_input1", "orientation", "",
        lambda dy, x2, w: good.bilinear_grad_input1(dy, x2, turned(w))
        if w.shape[1] == w.shape[2] else good.bilinear_grad_input1(dy, x2, w)),
    "bilinear_grad_input1_forgets_input2": ("bilinear_grad_input1", "gradient", "",
        lambda dy, x2, w: good.bilinear_grad_input1(dy, np.ones_like(x2), w)),
    "bilinear_grad_input1_takes_the_first_output": ("bilinear_grad_input1", "index", "",
        lambda dy, x2, w: good.bilinear_grad_input1(dy[:, :1], x2, w[:1])),
    "bilinear_grad_input2_transposes_the_weight": ("bilinear_grad_input2", "orientation", "",
        lambda dy, x1, w: good.bilinear_grad_input2(dy, x1, turned(w))
        if w.shape[1] == w.shape[2] else good.bilinear_grad_input2(dy, x1, w)),
    "bilinear_grad_input2_forgets_input1": ("bilinear_grad_input2", "gradient", "",
        lambda dy, x1, w: good.bilinear_grad_input2(dy, np.ones_like(x1), w)),
    "bilinear_grad_input2_leaves_out_a_tail": ("bilinear_grad_input2", "tail", "",
        lambda dy, x1, w: good.bilinear_grad_input2(
            dy, x1[:, : max(1, x1.shape[1] // 4 * 4)], w[:, : max(1, x1.shape[1] // 4 * 4)])),
    "bilinear_grad_weight_is_the_mean": ("bilinear_grad_weight", "normalisation", "",
        lambda dy, x1, x2: good.bilinear_grad_weight(dy, x1, x2) / max(1, len(dy))),
    "bilinear_grad_weight_exchanges_the_inputs": ("bilinear_grad_weight", "index", "",
        lambda dy, x1, x2: good.bilinear_grad_weight(dy, x2, x1)
        if x1.shape == x2.shape else good.bilinear_grad_weight(dy, x1, x2)),
    "bilinear_grad_weight_leaves_out_the_last_row": ("bilinear_grad_weight", "batch", "",
        lambda dy, x1, x2: good.bilinear_grad_weight(dy[:-1], x1[:-1], x2[:-1])),
    "bilinear_grad_bias_is_the_mean": ("bilinear_grad_bias", "normalisation", "",
        lambda dy: dy.sum(0) / max(1, len(dy))),
    "bilinear_grad_bias_is_that_of_the_first_row": ("bilinear_grad_bias", "bias", "",
        lambda dy: dy[:1].sum(0)),
    "bilinear_vjp_exchanges_the_inputs": ("bilinear_vjp", "tuple", "", lambda *a:
        tuple(good.bilinear_vjp(*a)[at] for at in (1, 0, 2, 3))),
    "bilinear_vjp_gives_zeros_for_none": ("bilinear_vjp", "tuple", "", lambda dy, *a:
        (*good.bilinear_vjp(dy, *a)[:3], dy.sum(0))),
}  # fmt: skip

# -- rotary_embedding ------------------------------------------------------------------------------

ROTARY = ("rotary_embedding", "rotary_embedding_grad")


def another(change: Callable[..., tuple[Any, ...]]) -> Callable[[str], Callable[..., Array]]:
    """Return what misreads an argument, where that is legal."""

    def of(function: str) -> Callable[..., Array]:
        def wrong(x, cos, sin, **o):
            try:
                x_, cos_, sin_, o_ = change(x, cos, sin, o)
                found = getattr(good, function)(x_, cos_, sin_, **o_)
            except ValueError:
                return getattr(good, function)(x, cos, sin, **o)
            return found

        return wrong

    return of


def _rest_zero(function: str) -> Callable[..., Array]:
    def wrong(x, cos, sin, **o):
        y = getattr(good, function)(x, cos, sin, **o)
        y[..., 2 * cos.shape[1] :] = 0
        return y

    return wrong


def _halves_of_all(function: str) -> Callable[..., Array]:
    """Pairs are half of all features apart, also where fewer are turned."""

    def wrong(x, cos, sin, **o):
        pairs, middle = cos.shape[1], x.shape[3] // 2
        if o["interleaved"] or 2 * pairs == x.shape[3]:
            return getattr(good, function)(x, cos, sin, **o)
        order = [*range(pairs), *range(middle, middle + pairs)]
        order += [at for at in range(x.shape[3]) if at not in order]
        turned_ones = getattr(good, function)(x[..., order], cos, sin, **o)
        return turned_ones[..., np.argsort(order)]

    return wrong


def _tail(function: str) -> Callable[..., Array]:
    def wrong(x, cos, sin, **o):
        y = getattr(good, function)(x, cos, sin, **o)
        steps = x.shape[2]
        if steps > 32 and steps % 32:
            y[:, :, steps // 32 * 32 :] = x[:, :, steps // 32 * 32 :]
        return y

    return wrong


def _in_place(function: str) -> Callable[..., Array]:
    def wrong(x, cos, sin, **o):
        y = getattr(good, function)(x, cos, sin, **o)
        if x.flags.writeable:
            x[...] = y
            return x
        return y

    return wrong


def _by_head(function: str) -> Callable[..., Array]:
    """The row of the table is that of the head, where there are so many."""

    def wrong(x, cos, sin, **o):
        y = getattr(good, function)(x, cos, sin, **o)
        if 1 < x.shape[1] <= x.shape[2]:
            swapped = getattr(good, function)(x.swapaxes(1, 2), cos, sin, **o)
            return swapped.swapaxes(1, 2)
        return y

    return wrong


WAYS: dict[str, tuple[str, str, Callable[[str], Callable[..., Array]]]] = {
    "has_the_other_sign": ("sign", "", another(lambda x, c, s, o: (x, c, -s, o))),
    "takes_the_other_pairs": ("option", "EleutherAI/gpt-neox#834", another(
        lambda x, c, s, o: (x, c, s, {**o, "interleaved": not o["interleaved"]}))),
    "is_never_interleaved": ("option", "Dao-AILab/flash-attention#569", another(
        lambda x, c, s, o: (x, c, s, {**o, "interleaved": False}))),
    "ignores_the_offset": ("option", "", another(
        lambda x, c, s, o: (x, c, s, {**o, "offset": 0}))),
    "begins_one_step_later": ("index", "", another(
        lambda x, c, s, o: (x, c, s, {**o, "offset": o["offset"] + 1}))),
    "begins_one_step_earlier": ("index", "", another(
        lambda x, c, s, o: (x, c, s, {**o, "offset": o["offset"] - 1}))),
    "exchanges_cos_and_sin": ("index", "", another(lambda x, c, s, o: (x, s, c, o))),
    "takes_the_first_angle_for_all": ("index", "", another(
        lambda x, c, s, o: (x, np.broadcast_to(c[:, :1], c.shape),
                            np.broadcast_to(s[:, :1], s.shape), o))),
    "rounds_the_tables_to_half": ("precision", "", another(
        lambda x, c, s, o: (x, half(c), half(s), o))),
    "zeroes_what_is_not_turned": ("unwritten memory", "", _rest_zero),
    "takes_halves_of_all_features": ("option", "", _halves_of_all),
    "leaves_a_tail_of_steps": ("tail", "", _tail),
    "turns_by_the_head": ("index", "", _by_head),
    "works_in_place": ("aliasing", "", _in_place),
}  # fmt: skip
FAULTS |= {
    f"{name}_{what}": (name, kind, seen, made(name))
    for name in ROTARY
    for what, (kind, seen, made) in WAYS.items()
}
FAULTS["rotary_embedding_grad_turns_on"] = (
    "rotary_embedding_grad",
    "gradient",
    "",
    good.rotary_embedding,
)

# -- right ways ------------------------------------------------------------------------------------


def in_parts(a: Array, b: Array) -> Array:
    """A sum by parts of 32, the last a tail."""
    parts = [
        a[..., at : at + 32] @ b[..., at : at + 32, :] for at in range(0, max(1, a.shape[-1]), 32)
    ]
    return sum(parts[1:], parts[0])


def by_outer_products(a: Array, b: Array) -> Array:
    y = np.zeros((*a.shape[:-1], b.shape[-1]), a.dtype)
    for k in reversed(range(a.shape[-1])):
        y += a[..., k, np.newaxis] * b[..., k, np.newaxis, :]
    return y


def by_complex_numbers(x, cos, sin, *, interleaved, offset):
    """Pairs as complex numbers times cos + i sin."""
    pairs, steps = cos.shape[1], x.shape[2]
    rows = slice(offset, offset + steps)
    even = slice(0, 2 * pairs, 2) if interleaved else slice(0, pairs)
    odd = slice(1, 2 * pairs, 2) if interleaved else slice(pairs, 2 * pairs)
    with np.errstate(invalid="ignore"):
        z = (x[..., even] + 1j * x[..., odd]) * (cos[rows] + 1j * sin[rows])
    y = np.array(x)
    y[..., even], y[..., odd] = z.real, z.imag
    return y


RIGHT: dict[str, Callable[..., Any]] = {
    **{f"{name}_in_parts": of_matrices(name, in_parts) for name in MATRICES},
    **{f"{name}_by_outer_products": of_matrices(name, by_outer_products) for name in MATRICES},
    "broadcast_matmul_by_einsum": lambda a, b: np.asarray(
        np.einsum("...k,k->..." if b.ndim == 1 else "k,...kq->...q" if a.ndim == 1
                  else "...pk,...kq->...pq", a, b)),
    "broadcast_matmul_in_parts": lambda a, b: in_parts(a, b) if min(a.ndim, b.ndim) > 1 else a @ b,
    "bilinear_by_a_flat_sum": lambda x1, x2, w, bias=None: (
        (x1[:, :, np.newaxis] * x2[:, np.newaxis]).reshape(len(x1), x1.shape[1] * x2.shape[1])
        @ w.reshape(len(w), w.shape[1] * w.shape[2]).T + (0 if bias is None else bias)),
    "bilinear_by_einsum": lambda x1, x2, w, bias=None: np.einsum(
        "na,mab,nb->nm", x1, w, x2) + (0 if bias is None else bias),
    "bilinear_grad_weight_by_einsum": lambda dy, x1, x2: np.einsum("nm,na,nb->mab", dy, x1, x2),
    "rotary_embedding_by_complex_numbers": by_complex_numbers,
    "rotary_embedding_grad_by_complex_numbers": lambda dy, c, s, **o: by_complex_numbers(
        dy, c, -s, **o),
}  # fmt: skip


def _quietly(wrong: Callable[..., Any]) -> Callable[..., Any]:
    def made(first: Array, *arrays: Array, **o: Any) -> Any:
        with np.errstate(all="ignore"):
            found = wrong(first, *arrays, **o)
        if isinstance(found, tuple):
            return found
        return np.asarray(found, first.dtype)

    return made


for planted, (of, kind, where, wrong) in FAULTS.items():
    make = (lambda f=wrong: f) if kind == "aliasing" else (
        lambda n=of, f=wrong: checked(n, _quietly(f)))  # fmt: skip
    add(planted, Fault(kind, of, make, where))
for planted, function in RIGHT.items():
    made = _quietly(function)
    made.__name__ = planted
    control(made)
