"""Matrix products, bilinear, the rotary embedding and attention: hand-computed numbers."""

import numpy as np
import pytest

from gradoracle import oracle
from gradoracle.oracle.expected.truth import truth
from gradoracle.oracle.formulas.attention import DERIVED
from gradoracle.oracle.formulas.conventions import under

A, B = np.array([[1.0, 2], [3, 4]]), np.array([[1.0, 10], [100, 1000]])
OPTIONS = {"is_causal": False, "scale": 1.0, "enable_gqa": False}
# Scores of a row are 0 and log 3: the weights are 1/4 and 3/4.
QUERY = np.array([[[[1.0], [2.0]]]])
KEY = np.array([[[[0.0], [np.log(3)]]]])
VALUE = np.array([[[[4.0], [8.0]]]])


def attention(query=QUERY, key=KEY, value=VALUE, mask=None, **options):
    return oracle.scaled_dot_product_attention(query, key, value, mask, **{**OPTIONS, **options})


def test_matrix_products_by_hand():
    want = [[201, 2010], [403, 4030]]
    assert oracle.matmul(A, B).tolist() == want
    assert oracle.bmm(A[None], B[None]).tolist() == [want]
    assert oracle.broadcast_matmul(A, np.stack([B, -B])).tolist() == [want, (-A @ B).tolist()]
    assert oracle.broadcast_matmul(A[0], B).tolist() == want[0]
    assert oracle.broadcast_matmul(A, B[0]).tolist() == [21, 43]
    assert oracle.broadcast_matmul(A[0], B[0]).tolist() == 21
    assert oracle.matmul_grad_input(A, B).tolist() == [[21, 2100], [43, 4300]]
    assert oracle.matmul_grad_other(A, B).tolist() == [[301, 402], [3010, 4020]]


def test_gradients_are_summed_over_what_was_broadcast():
    dy = np.ones((3, 2, 2))
    got = oracle.broadcast_matmul_grad_input(dy, np.stack([B, B, B]), input_shape=(2, 2))
    assert got.tolist() == [[33, 3300], [33, 3300]]
    got = oracle.broadcast_matmul_grad_other(dy, np.stack([A] * 3), other_shape=(1, 2, 2))
    assert got.tolist() == [[[12, 12], [18, 18]]]


def test_bilinear_by_hand():
    x1, x2, weight = np.array([[1.0, 2]]), np.array([[3.0, 5, 7]]), np.ones((1, 2, 3))
    weight[0, 1, 2] = 10
    assert oracle.bilinear(x1, x2, weight, np.array([100.0])).tolist() == [[45 + 126 + 100]]
    dy = np.array([[2.0]])
    assert oracle.bilinear_grad_input1(dy, x2, weight).tolist() == [[30, 156]]
    assert oracle.bilinear_grad_input2(dy, x1, weight).tolist() == [[6, 6, 42]]
    assert oracle.bilinear_grad_weight(dy, x1, x2).tolist() == [[[6, 10, 14], [12, 20, 28]]]
    assert oracle.bilinear_grad_bias(dy).tolist() == [2]


@pytest.mark.parametrize(
    ("interleaved", "want"),
    [(False, [1 * 3 - 3 * 5, 2 * 7 - 4 * 11, 3 * 3 + 1 * 5, 4 * 7 + 2 * 11, 9]),
     (True, [1 * 3 - 2 * 5, 2 * 3 + 1 * 5, 3 * 7 - 4 * 11, 4 * 7 + 3 * 11, 9])],
)  # fmt: skip
def test_rotary_embedding_by_hand(interleaved, want):
    x = np.array([[[[1.0, 2, 3, 4, 9]]]])
    cos, sin = np.array([[0.0, 0], [3, 7]]), np.array([[0.0, 0], [5, 11]])
    options = {"interleaved": interleaved, "offset": 1}
    assert oracle.rotary_embedding(x, cos, sin, **options).ravel().tolist() == want
    back = oracle.rotary_embedding_grad(x, cos, -sin, **options)
    assert back.ravel().tolist() == want


def test_attention_by_hand():
    assert attention()[0, 0, 0, 0] == pytest.approx(1 / 4 * 4 + 3 / 4 * 8)
    assert attention()[0, 0, 1, 0] == pytest.approx(1 / 10 * 4 + 9 / 10 * 8)
    assert attention(scale=0.5)[0, 0, 1, 0] == pytest.approx(7)
    assert attention(is_causal=True).ravel().tolist() == pytest.approx([4, 7.6])
    assert attention(mask=np.full((1, 1, 2, 2), np.log(3)) * [1, 0])[0, 0, 0, 0] == pytest.approx(6)


def test_rows_that_see_nothing_are_zero():
    mask = np.array([[[[False, False], [True, False]]]])
    assert attention(mask=mask).ravel().tolist() == [0, 4]
    mask = np.where(mask, 0.0, -np.inf)
    assert attention(mask=mask).ravel().tolist() == [0, 4]
    dy = np.ones((1, 1, 2, 1))
    gradients = oracle.scaled_dot_product_attention_vjp(dy, QUERY, KEY, VALUE, mask, **OPTIONS)
    assert all(np.isfinite(one).all() for one in gradients)
    assert not gradients[0][0, 0, 0].any()


def test_grouped_heads_follow_each_other():
    query = np.ones((1, 4, 1, 1))
    key, value = np.ones((1, 2, 1, 1)), np.array([[[[1.0]], [[2.0]]]])
    got = attention(query, key, value, enable_gqa=True)
    assert got.ravel().tolist() == [1, 1, 2, 2]
    by = oracle.scaled_dot_product_attention_grad_value
    dy = np.array([1.0, 10, 100, 1000]).reshape(1, 4, 1, 1)
    got = by(dy, query, key, value, None, **{**OPTIONS, "enable_gqa": True})
    assert got.ravel().tolist() == [11, 1100]


def test_gradient_by_a_mask_is_that_of_the_scores():
    dy, mask = np.array([[[[1.0], [0]]]]), np.zeros((1, 1, 2, 2))
    got = oracle.scaled_dot_product_attention_grad_attn_mask(dy, QUERY, KEY, VALUE, mask, **OPTIONS)
    # p (dp - sum p dp): 1/4 (4 - 7), 3/4 (8 - 7)
    assert got.ravel().tolist() == pytest.approx([-0.75, 0.75, 0, 0])
    boolean = mask == 0
    with pytest.raises(ValueError, match="no gradient by attn_mask, which is None or of True"):
        oracle.scaled_dot_product_attention_grad_attn_mask(
            dy, QUERY, KEY, VALUE, boolean, **OPTIONS
        )
    every = oracle.scaled_dot_product_attention_vjp(dy, QUERY, KEY, VALUE, boolean, **OPTIONS)
    assert every[3] is None


def test_a_contract_may_align_causal_masks_to_the_end():
    call = {"query": QUERY[:, :, :1], "key": KEY, "value": VALUE, "attn_mask": None,
            **OPTIONS, "is_causal": True}  # fmt: skip
    formula = oracle.scaled_dot_product_attention
    plain = truth(*under({}, formula, call)).as_float(np.dtype(np.float64))
    aligned = truth(*under({"causal": "bottom-right"}, formula, call)).as_float(
        np.dtype(np.float64)
    )
    assert plain.ravel().tolist() == [4]
    assert aligned.ravel().tolist() == [7]


def test_a_contract_may_round_what_products_take_to_the_arrays_dtype():
    random = np.random.default_rng(1)
    arrays = (random.normal(size=(1, 1, 3, 4)).astype(np.float16) for _ in range(4))
    names = ("grad_output", "query", "key", "value")
    call = {**dict(zip(names, arrays, strict=True)), "attn_mask": None, **OPTIONS}
    (attended,) = DERIVED
    gradients = [n for n in attended.gradients if "mask" not in n.__name__]
    for formula in (attended.forward, *gradients):
        plain = truth(formula, call)
        rounded = truth(*under({"attention_operands": "dtype"}, formula, call))
        assert (rounded.as_float(np.dtype(float)) == plain.as_float(np.dtype(float))).all()
        one, other = (t.bound("float16", "float32") for t in (plain, rounded))
        assert (other > one).all(), formula
        # In a dtype that holds as much as the accumulator, it matters little.
        wide = {n: v.astype(np.float64) if hasattr(v, "dtype") else v for n, v in call.items()}
        of, by = under({"attention_operands": "dtype"}, formula, wide)
        one, other = (t.bound("float64", "float64") for t in (truth(formula, wide), truth(of, by)))
        assert (other < 2 * one).all(), formula


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"enable_gqa": False, "key": np.ones((1, 2, 2, 1)), "value": np.ones((1, 2, 2, 1))},
         "key must have query's 1 heads, got 2"),
        ({"enable_gqa": True, "key": np.ones((1, 2, 2, 1)), "value": np.ones((1, 2, 2, 1))},
         "key must have heads that divide query's 1, got 2"),
        ({"is_causal": True, "mask": np.zeros((1, 1, 2, 2))}, "must be None with is_causal"),
        ({"value": np.ones((1, 1, 3, 1))}, "value must be 2 long along s"),
    ],
)  # fmt: skip
def test_attention_says_what_does_not_fit(change, message):
    with pytest.raises(ValueError, match=message):
        attention(**change)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"offset": -1}, "offset"), ({"offset": 1}, "cos must have at least 2 rows, got 1")],
)
def test_rotary_embedding_says_what_does_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        oracle.rotary_embedding(
            np.ones((1, 1, 1, 2)), np.ones((1, 1)), np.ones((1, 1)), interleaved=False, **options
        )


def test_products_say_what_does_not_fit():
    with pytest.raises(ValueError, match="other is 3 long, but input's columns demand 2"):
        oracle.matmul(A, np.ones((3, 2)))
    with pytest.raises(ValueError, match="mat2 is 2 long along N, but input's batch demands 1"):
        oracle.bmm(A[None], np.ones((2, 2, 2)))
    with pytest.raises(ValueError, match="do not broadcast"):
        oracle.broadcast_matmul(np.ones((2, 2, 2)), np.ones((3, 2, 2)))
