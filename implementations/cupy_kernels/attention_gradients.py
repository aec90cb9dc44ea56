"""The gradients of attention, as the protocol has them."""

from gradoracle.implementations.cupy_kernels import attention as of_rows
from gradoracle.implementations.shapes import Array


def scaled_dot_product_attention_grad_query(
    grad_output: Array, query: Array, key: Array, value: Array, attn_mask: Array | None = None, *,
    is_causal: bool, scale: float | None, enable_gqa: bool,
) -> Array:  # fmt: skip
    """Return dquery [N, Q, L, E] = scale ds key.

    Raises:
        ValueError: the arguments do not fit each other.
    """
    of, dy = of_rows.passed(
        query, key, value, attn_mask, is_causal=is_causal, scale=scale, enable_gqa=enable_gqa,
        grad_output=grad_output,
    )  # fmt: skip
    return of_rows.grad_query(of, of_rows.moments(of, dy))


def scaled_dot_product_attention_grad_key(
    grad_output: Array, query: Array, key: Array, value: Array, attn_mask: Array | None = None, *,
    is_causal: bool, scale: float | None, enable_gqa: bool,
) -> Array:  # fmt: skip
    """Return dkey [N, H, S, E] = scale ds^T query, summed over the heads of a group.

    Raises:
        ValueError: the arguments do not fit each other.
    """
    of, dy = of_rows.passed(
        query, key, value, attn_mask, is_causal=is_causal, scale=scale, enable_gqa=enable_gqa,
        grad_output=grad_output,
    )  # fmt: skip
    return of_rows.grad_keys(of, of_rows.moments(of, dy), of_value=False)


def scaled_dot_product_attention_grad_value(
    grad_output: Array, query: Array, key: Array, value: Array, attn_mask: Array | None = None, *,
    is_causal: bool, scale: float | None, enable_gqa: bool,
) -> Array:  # fmt: skip
    """Return dvalue [N, H, S, V] = p^T dy, summed over the heads of a group.

    Raises:
        ValueError: the arguments do not fit each other.
    """
    of, dy = of_rows.passed(
        query, key, value, attn_mask, is_causal=is_causal, scale=scale, enable_gqa=enable_gqa,
        grad_output=grad_output,
    )  # fmt: skip
    return of_rows.grad_keys(of, of_rows.moments(of, dy), of_value=True)


def scaled_dot_product_attention_grad_attn_mask(
    grad_output: Array, query: Array, key: Array, value: Array, attn_mask: Array | None = None, *,
    is_causal: bool, scale: float | None, enable_gqa: bool,
) -> Array:  # fmt: skip
    """Return dmask [N, Q, L, S] = ds, of a mask of numbers.

    Raises:
        ValueError: the arguments do not fit each other, or there is no such mask.
    """
    of, dy = of_rows.passed(
        query, key, value, attn_mask, is_causal=is_causal, scale=scale, enable_gqa=enable_gqa,
        grad_output=grad_output,
    )  # fmt: skip
    if of.arrays[4] is None:
        raise ValueError("there is no gradient by a mask of None or bool")
    return of_rows.grad_mask(of, of_rows.moments(of, dy))


def scaled_dot_product_attention_vjp(
    grad_output: Array, query: Array, key: Array, value: Array, attn_mask: Array | None = None, *,
    is_causal: bool, scale: float | None, enable_gqa: bool,
) -> tuple[Array | None, ...]:  # fmt: skip
    """Return (dquery, dkey, dvalue, dmask); the last is None by a mask of None or bool.

    Raises:
        ValueError: the arguments do not fit each other.
    """
    of, dy = of_rows.passed(
        query, key, value, attn_mask, is_causal=is_causal, scale=scale, enable_gqa=enable_gqa,
        grad_output=grad_output,
    )  # fmt: skip
    found = of_rows.moments(of, dy)
    return (
        of_rows.grad_query(of, found),
        of_rows.grad_keys(of, found, of_value=False),
        of_rows.grad_keys(of, found, of_value=True),
        None if of.arrays[4] is None else of_rows.grad_mask(of, found),
    )
