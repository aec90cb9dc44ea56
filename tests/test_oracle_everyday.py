"""Embeddings, indices, cat, split, cumsum, dropout and optimisers: values worked out by hand."""

import numpy as np
import pytest

from gradoracle import oracle
from gradoracle.implementations import im2col
from gradoracle.oracle.expected.truth import truth

BOTH = pytest.mark.parametrize("of", [oracle, im2col], ids=["oracle", "im2col"])
WEIGHT = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
TOKENS = np.array([[2, 0, 2]])


@BOTH
def test_repeated_rows_add_up_and_the_padding_has_no_gradient(of):
    dy = np.array([[[1.0, 10.0], [2.0, 20.0], [4.0, 40.0]]])
    assert of.embedding(TOKENS, WEIGHT, padding_idx=2).tolist() == [[[5, 6], [1, 2], [5, 6]]]
    plain = of.embedding_grad(dy, TOKENS, WEIGHT, padding_idx=None)
    assert plain.tolist() == [[2, 20], [0, 0], [5, 50]]
    for padding in (2, -1):
        padded = of.embedding_grad(dy, TOKENS, WEIGHT, padding_idx=padding)
        assert padded.tolist() == [[2, 20], [0, 0], [0, 0]]


@BOTH
def test_elements_are_read_and_added_where_an_index_says(of):
    index = np.array([[2, 2], [0, 1]])
    assert of.gather(WEIGHT, index, axis=0).tolist() == [[5, 6], [1, 4]]
    dy = np.array([[1.0, 2.0], [4.0, 8.0]])
    assert of.gather_grad(dy, WEIGHT, index, axis=-2).tolist() == [[4, 0], [0, 8], [1, 2]]
    added = of.scatter_add(WEIGHT, np.array([[1, 1]]), np.array([[7.0, 9.0]]), axis=1)
    assert added.tolist() == [[1, 18], [3, 4], [5, 6]]
    chosen = np.array([1, 1, 0])
    assert of.index_select(WEIGHT, chosen, axis=1).tolist() == [[2, 2, 1], [4, 4, 3], [6, 6, 5]]
    back = of.index_select_grad(np.ones((3, 3)), WEIGHT, chosen, axis=1)
    assert back.tolist() == [[1, 2]] * 3


@BOTH
def test_arrays_are_joined_parted_and_added_up(of):
    one, other = np.array([[1.0], [2.0]]), np.array([[3.0, 4.0], [5.0, 6.0]])
    y = of.cat(one, other, None, axis=-1)
    assert y.tolist() == [[1, 3, 4], [2, 5, 6]]
    first, second = of.split(y, sections=(1, 2), axis=1)
    assert first.tolist() == one.tolist()
    assert second.tolist() == other.tolist()
    *parts, nothing = of.cat_vjp(y, one, other, None, axis=1)
    assert [part.tolist() for part in parts] == [one.tolist(), other.tolist()]
    assert nothing is None
    assert of.cumsum(y, axis=1).tolist() == [[1, 4, 8], [2, 7, 13]]
    assert of.cumsum_grad(y, y, axis=1).tolist() == [[8, 7, 4], [13, 11, 6]]
    assert of.add(y, one, alpha=2.0).tolist() == [[3, 5, 6], [6, 9, 10]]
    assert of.add_grad_other(y, y, one, alpha=2.0).tolist() == [[16], [26]]


@BOTH
def test_what_is_kept_is_scaled(of):
    z, mask = np.array([1.0, 2.0, 4.0]), np.array([True, False, True])
    assert of.dropout_with_mask(z, mask, p=0.5).tolist() == [2, 0, 8]
    assert of.dropout_with_mask_grad(z, mask, p=0.75).tolist() == [4, 0, 16]
    assert of.dropout_with_mask(z, ~mask & mask, p=1.0).tolist() == [0, 0, 0]


@BOTH
def test_steps_of_optimisers(of):
    p, g = np.array([1.0]), np.array([2.0])
    plain = {"learning_rate": 0.5, "momentum": 0.5, "weight_decay": 0.0}
    after, buffer = of.sgd_momentum_step(
        p, g, np.array([4.0]), **plain, dampening=0.25, nesterov=False
    )
    assert (after.item(), buffer.item()) == (-0.75, 3.5)
    after, buffer = of.sgd_momentum_step(p, g, None, **plain, dampening=0.25, nesterov=False)
    assert (after.item(), buffer.item()) == (0.0, 2.0)
    after, buffer = of.sgd_momentum_step(
        p, g, np.array([4.0]), **plain, dampening=0.0, nesterov=True
    )
    assert (after.item(), buffer.item()) == (-1.0, 4.0)
    zero, how = np.zeros(1), {"learning_rate": 0.25, "beta1": 0.5, "beta2": 0.75, "step": 1}
    # m = 1, v = 1, mhat = 2, vhat = 4
    after, m, v = of.adam_step(p, g, zero, zero, **how, eps=2.0, weight_decay=0.0)
    assert (after.item(), m.item(), v.item()) == (0.875, 1.0, 1.0)
    after, *_ = of.adamw_step(p, g, zero, zero, **how, eps=2.0, weight_decay=0.5)
    assert after.item() == 0.75
    assert of.ema(p, g, decay=0.75).item() == 1.25


@BOTH
def test_both_gradients_are_clipped_by_one_norm(of):
    first, second, norm = of.clip_grad_norm(np.array([3.0]), np.array([4.0]), max_norm=1.0)
    assert norm == 5
    np.testing.assert_allclose([first.item(), second.item()], [0.6, 0.8], rtol=1e-6)
    first, second, _ = of.clip_grad_norm(np.array([3.0]), np.array([4.0]), max_norm=6.0)
    assert (first.item(), second.item()) == (3.0, 4.0)


@BOTH
@pytest.mark.parametrize(
    ("name", "arrays", "options"),
    [
        ("embedding", (np.array([[3]]), WEIGHT), {"padding_idx": None}),
        ("embedding", (np.array([[-1]]), WEIGHT), {"padding_idx": None}),
        ("embedding", (TOKENS, WEIGHT), {"padding_idx": 3}),
        ("embedding", (WEIGHT, WEIGHT), {"padding_idx": None}),
        ("gather", (WEIGHT, np.array([[3]])), {"axis": 0}),
        ("gather", (WEIGHT, np.array([[0, 0, 0]])), {"axis": 0}),
        ("scatter_add", (WEIGHT, np.array([[0]]), WEIGHT), {"axis": 0}),
        ("index_select", (WEIGHT, np.array([2])), {"axis": 1}),
        ("cat", (WEIGHT, WEIGHT[:2], None), {"axis": 1}),
        ("split", (WEIGHT,), {"axis": 0, "sections": (1, 1)}),
        ("cumsum", (WEIGHT,), {"axis": 2}),
        ("add", (WEIGHT, np.ones(3)), {"alpha": 1.0}),
        ("dropout_with_mask", (WEIGHT, np.ones((3, 2))), {"p": 0.5}),
        ("dropout_with_mask", (WEIGHT, WEIGHT > 0), {"p": 1.5}),
    ],
)
def test_what_fits_no_call_is_refused(of, name, arrays, options):
    with pytest.raises(ValueError, match=r"\w"):
        getattr(of, name)(*arrays, **options)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_running_sums_in_any_order_stay_within_the_bound(dtype):
    x = np.random.default_rng(1).standard_normal((3, 40)).astype(dtype)
    right = truth(oracle.cumsum, {"input": x, "axis": 1})
    one_by_one, total = [], np.zeros(3, dtype)
    for column in x.T:
        total = (total + column).astype(dtype)
        one_by_one.append(total)
    from_the_end = [x[:, at::-1].sum(1, dtype=dtype) for at in range(40)]
    for got in (np.stack(one_by_one, 1), np.stack(from_the_end, 1)):
        assert (right.error_over_bound(got, dtype) <= 1).all()
    exclusive = np.stack([np.zeros(3, dtype), *one_by_one[:-1]], 1)
    assert (right.error_over_bound(exclusive, dtype) > 1).any()
