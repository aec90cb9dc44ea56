"""PyTorch's attention; gradients are those of autograd."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from gradoracle.implementations.shapes import check_attention
from gradoracle.implementations.torch_reference.products import all_backward, backward, leaf_of

__all__ = [
    "scaled_dot_product_attention",
    "scaled_dot_product_attention_grad_attn_mask",
    "scaled_dot_product_attention_grad_key",
    "scaled_dot_product_attention_grad_query",
    "scaled_dot_product_attention_grad_value",
    "scaled_dot_product_attention_vjp",
]

F = torch.nn.functional
Tensor = torch.Tensor


def scaled_dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *,
    is_causal: bool, scale: float | None, enable_gqa: bool,
) -> Tensor:  # fmt: skip
    """Return PyTorch's attention by matrix products and a softmax, not by a fused kernel."""
    check_attention(query, key, value, attn_mask, is_causal=is_causal, enable_gqa=enable_gqa)
    with sdpa_kernel(SDPBackend.MATH):
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask, is_causal=is_causal, scale=scale, enable_gqa=enable_gqa
        )


ARGUMENTS = ("query", "key", "value", "attn_mask")


def _grad(
    argument: str, grad_output: Tensor, query: Tensor, key: Tensor, value: Tensor,
    attn_mask: Tensor | None = None, *, is_causal: bool, scale: float | None, enable_gqa: bool,
) -> Tensor:  # fmt: skip
    """Return the gradient by one argument.

    Raises:
        ValueError: there is none by a mask of None or bool.
    """
    given: dict[str, Any] = dict(zip(ARGUMENTS, (query, key, value, attn_mask), strict=True))
    if given[argument] is None or given[argument].dtype == torch.bool:
        raise ValueError(f"there is no gradient by {argument}")
    leaf = given[argument] = leaf_of(given[argument])
    options: Mapping[str, Any] = {"is_causal": is_causal, "scale": scale, "enable_gqa": enable_gqa}
    y = scaled_dot_product_attention(*given.values(), **options)
    if not (y.requires_grad or y.numel()):  # of no images, PyTorch makes y without the mask
        y = y + leaf.sum()
    return backward(y, leaf, grad_output)


scaled_dot_product_attention_grad_query = partial(_grad, "query")
scaled_dot_product_attention_grad_key = partial(_grad, "key")
scaled_dot_product_attention_grad_value = partial(_grad, "value")
scaled_dot_product_attention_grad_attn_mask = partial(_grad, "attn_mask")


def scaled_dot_product_attention_vjp(
    grad_output: Tensor, query: Tensor, key: Tensor, value: Tensor,
    attn_mask: Tensor | None = None, *, is_causal: bool, scale: float | None, enable_gqa: bool,
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """Return all gradients, None by a mask of None or bool."""
    q, k, v = (leaf_of(one) for one in (query, key, value))
    added = attn_mask is not None and attn_mask.dtype != torch.bool
    mask = leaf_of(attn_mask) if added and attn_mask is not None else attn_mask
    options: Mapping[str, Any] = {"is_causal": is_causal, "scale": scale, "enable_gqa": enable_gqa}
    y = scaled_dot_product_attention(q, k, v, mask, **options)
    if added and mask is not None and not y.numel():
        y = y + mask.sum()
    return all_backward(y, [q, k, v, mask if added else None], grad_output)
