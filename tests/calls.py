"""Calls of conv2d, small and exact, for the tests of the oracle."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from oracle.geometry import conv2d_shapes


def call(
    x: tuple[int, ...], weight: tuple[int, ...], *, stride=(1, 1), padding=(0, 0), dilation=(1, 1),
    groups=1, seed=0, dtype: Any = object, low=-4, high=5,
) -> dict[str, Any]:  # fmt: skip
    """Return every argument of conv2d's formulas, filled with integers."""
    random = np.random.default_rng(seed)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    shapes = conv2d_shapes(x, weight, **options)

    def integers(shape: tuple[int, ...]) -> np.ndarray:
        return random.integers(low, high, shape).astype(dtype)

    return {
        "x": integers(shapes.x),
        "weight": integers(shapes.weight),
        "bias": integers(shapes.weight[:1]),
        "grad_output": integers(shapes.y),
        "input_shape": shapes.x,
        "weight_shape": shapes.weight,
        **options,
    }


def random_calls(count: int, seed: int = 0, **data: Any) -> Iterator[dict[str, Any]]:
    """Yield legal calls of every kind: general in every option, non-square in everything."""
    random = np.random.default_rng(seed)
    made = 0
    while made < count:
        groups = int(random.integers(1, 4))
        depth, multiplier = random.integers(1, 4, 2).tolist()
        options = {
            "stride": tuple(random.integers(1, 4, 2).tolist()),
            "padding": tuple(random.integers(0, 4, 2).tolist()),
            "dilation": tuple(random.integers(1, 4, 2).tolist()),
            "groups": groups,
        }
        x = (int(random.integers(0, 4)), groups * depth, *random.integers(1, 8, 2).tolist())
        weight = (groups * multiplier, depth, *random.integers(1, 4, 2).tolist())
        try:
            yield call(x, weight, **options, seed=made, **data)
        except ValueError:
            continue
        made += 1


def sides(size: int, kernel: int, stride: int, padding: int, dilation: int) -> list[Any]:
    """Return every legal (H, K, S, P, D) of one side up to these limits."""
    return [
        (h, k, s, p, d)
        for h, k, s, p, d in product(
            range(1, size + 1), range(1, kernel + 1), range(1, stride + 1), range(padding + 1),
            range(1, dilation + 1),
        )
        if (k - 1) * d + 1 <= h + 2 * p
    ]  # fmt: skip


def small_geometries() -> Iterator[dict[str, Any]]:
    """Yield every pair of small sides, and every larger side beside some other one."""
    small, large = sides(3, 2, 2, 1, 2), sides(5, 3, 3, 2, 2)
    pairs = list(product(small, small))
    pairs += [(side, large[(7 * i + 3) % len(large)]) for i, side in enumerate(large)]
    for i, ((h, kh, sh, ph, dh), (w, kw, sw, pw, dw)) in enumerate(pairs):
        groups = 1 + i % 2
        yield call(
            (2, 2 * groups, h, w), (3 * groups, 2, kh, kw), stride=(sh, sw), padding=(ph, pw),
            dilation=(dh, dw), groups=groups, seed=i,
        )  # fmt: skip
