"""Whatever a backend keeps of a call, `is_stateless` finds it in the next one.

The controls are made from the signatures of the oracle's formulas: for every option of every
function, and every number of it, a cache whose key forgets just that.
"""

from types import SimpleNamespace

import numpy as np
import pytest

from gradoracle import oracle
from gradoracle.conformance.backends.mismatch import Mismatch
from gradoracle.conformance.backends.registry import wrap
from gradoracle.conformance.checking.check_run import examine
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.variations import (
    alone,
    drawn,
    places,
)
from gradoracle.conformance.properties import PROPERTIES
from gradoracle.conformance.runs.certify import checks
from gradoracle.implementations import im2col as good
from gradoracle.oracle.declaration import Chained, algebra, argument_names, ask, output_of
from tests.planted.fault import family

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("verdicts_only")]


def functions():
    """Yield each function of the protocol with a formula that it gives, and the operator."""
    seen = set()
    for operator in OPERATORS:
        for formula in operator.formulas:
            name = output_of(formula).function
            if hasattr(good, name) and name not in seen:
                seen.add(name)
                yield operator, formula, name


BY_NAME = {name: (operator, formula) for operator, formula, name in functions()}


def call_of(operator, number, dtype="float32"):
    geometry = drawn(operator, number)
    style = operator.styles.of("any")[0]
    return operator.call(geometry.sizes, style, geometry.seed, dtype)


def numbers_of(name):
    """Return all options of a function, and where they are pairs or shapes, each number of them.

    Of volumes, whose options are as those of images but for one number more, that one, of forward
    functions: a gradient's options are its forward function's.
    """
    if "3d_" in name:
        return
    operator, formula = BY_NAME[name]
    call = call_of(operator, 1)
    for option in argument_names(formula)[1]:
        value = call[option]
        yield from (
            ((option, at) for at in range(len(value)) if "3d" not in name or at == len(value) - 3)
            if isinstance(value, tuple)
            else ((option, None),)
        )


FORGOTTEN = [(name, *place) for name in BY_NAME for place in numbers_of(name)]


def key_of(arrays, options, forgotten, entry, *, shapes):
    """Return what a cache compares; without `shapes`, arrays are known by their first numbers."""
    left = dict(options)
    if entry is None:
        del left[forgotten]
    else:
        left[forgotten] = tuple(v for at, v in enumerate(left[forgotten]) if at != entry)
    if not shapes:
        left = {n: v for n, v in left.items() if not n.endswith("_shape")}
    known = []
    for array in arrays:
        if array is None:
            known.append(None)
        elif shapes:
            known.append((array.shape, array.dtype.str, array.tobytes()))
        else:
            known.append((array.dtype.str, array.ravel()[:1].tobytes()))
    return (*known, *sorted(left.items()))


def forgetful(name, forgotten, entry, *, shapes=True):
    """Return a function that answers from a cache whose key lacks an option."""
    kept, function = {}, getattr(good, name)

    def copied(answer):
        if isinstance(answer, tuple):
            return tuple(None if a is None else a.copy() for a in answer)
        return answer.copy()

    def cached(*arrays, **options):
        answer = function(*arrays, **options)  # refuses what is illegal
        key = key_of(arrays, options, forgotten, entry, shapes=shapes)
        return copied(kept.setdefault(key, answer))

    return cached


def outcome_of(name, wrong, *, company=False, seed=1):
    """Return what becomes of is_stateless, with the wrong function alone or beside right ones."""
    operator, formula = BY_NAME[name]
    names = family(name) if company else (name,)
    backend = SimpleNamespace(**{n: getattr(good, n) for n in names} | wrong)
    property_ = next(p for o, f, p in checks() if f is formula and p.name == "is_stateless")
    return examine(wrap(backend), operator, formula, property_, examples=300, seed=seed)


def is_tied(name, option, entry):
    """Return whether no call of many has another answer if this number alone is another."""
    operator, formula = BY_NAME[name]
    for number in range(60):
        call = call_of(operator, number)
        if max(v.size for v in call.values() if isinstance(v, np.ndarray)) > 300:
            continue
        if not operator.has_answer(formula, call):
            continue
        for place in places(formula, call):
            if (place.name, place.entry) == (option, entry):
                right = first_of(ask(getattr(good, name), formula, call))
                for one in alone(operator, formula, call, place):
                    other = first_of(ask(getattr(good, name), formula, one))
                    if not np.array_equal(right, other, equal_nan=True):
                        return False
    return True


def first_of(answer):
    return answer[0] if isinstance(answer, tuple) else answer


# Known gaps: few calls have another legal value of these beside the same arrays, and none is drawn.
MISSED = {
    ("broadcast_matmul_grad_input", "input_shape", 1),
    ("broadcast_matmul_grad_other", "other_shape", 1),
    ("index_select", "axis", None), ("index_select_grad", "axis", None),
}  # fmt: skip


@pytest.mark.parametrize(("name", "option", "entry"), FORGOTTEN)
def test_a_cache_that_forgets_an_option_is_caught(name, option, entry):
    shapes = not is_tied(name, option, entry)
    outcome = outcome_of(name, {name: forgetful(name, option, entry, shapes=shapes)}, seed=3)
    assert (outcome.status == "mismatch") != ((name, option, entry) in MISSED), shapes


# -- what the forward pass keeps for the gradient, and other parts of a key -----------------------


def address(array):
    return array.ctypes.data, array.shape, array.strides, array.dtype.str


def shared():
    """Yield each function that goes back, and an array that the forward pass is given, too."""
    for operator in OPERATORS:
        forward = output_of(operator.formula).function
        if isinstance(algebra(operator.formula), Chained):
            continue
        given = argument_names(operator.formula)[0]
        for formula in operator.gradients:
            for array in argument_names(formula)[0]:
                if array in given:
                    yield forward, formula.__name__, array


# Gradients that an array they are given does not change: keeping it is no fault.
UNCHANGED = {
    ("batch_norm_grad_x", "running_mean"), ("kl_div_grad", "input"), ("nll_loss_grad", "input"),
    ("prelu_grad_weight", "weight"), ("soft_target_cross_entropy_grad_target", "target"),
    ("scaled_dot_product_attention_grad_value", "value"), ("embedding_grad", "weight"),
    ("gather_grad", "input"), ("index_select_grad", "input"), ("cumsum_grad", "input"),
    *((f"scatter_add_grad_{n}", a) for n in ("input", "src") for a in ("input", "src")),
    ("scatter_add_grad_input", "index"),
    *((f"add_grad_{n}", a) for n in ("input", "other") for a in ("input", "other")),
    *((f"cat_grad_{n}", a) for n in ("first", "second", "third")
      for a in ("first", "second", "third")),
}  # fmt: skip
SHARED = [one for one in dict.fromkeys(shared()) if one[1:] not in UNCHANGED]


def keeping(forward, back, array, *, first):
    """Return a forward pass that keeps an array by its address, and a gradient that takes it.

    The first that had the address, or the last one.
    """
    kept = {}
    at = argument_names(BY_NAME[forward][1])[0].index(array)
    back_at = argument_names(BY_NAME[back][1])[0].index(array)

    def goes_forward(*arrays, **options):
        answer = getattr(good, forward)(*arrays, **options)
        key = address(arrays[at])
        if not first or key not in kept:
            kept[key] = arrays[at].copy()
        return answer

    def goes_back(*arrays, **options):
        found = kept.get(address(arrays[back_at]), arrays[back_at])
        return getattr(good, back)(*arrays[:back_at], found, *arrays[back_at + 1 :], **options)

    return {forward: goes_forward, back: goes_back}


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize(("forward", "back", "array"), SHARED)
def test_a_gradient_of_what_the_forward_pass_kept_is_caught(forward, back, array, first):
    wrong = keeping(forward, back, array, first=first)
    outcome = outcome_of(back, wrong, company=True, seed=2)
    assert outcome.status == "mismatch"


def test_every_operator_that_goes_back_by_what_it_was_given_is_among_them():
    assert {forward for forward, *_ in SHARED} == {
        *(f"{kind}{n}d" for kind in ("conv", "conv_transpose", "max_pool") for n in (1, 2, 3)),
        "linear", "relu", "leaky_relu", "sigmoid", "tanh", "softmax", "cross_entropy", "matmul",
        "bmm", "broadcast_matmul",
        *(f"{kind}{n}d" for kind in ("adaptive_max_pool", "max_unpool") for n in (1, 2, 3)),
        *(of.formulas[0].__name__ for of in oracle.DERIVED if of.gradients),
    } - {"add", "cat", "cumsum"}  # fmt: skip


def cached_by(name, key):
    """Return a function that keeps answers by a key of its arrays and options."""
    kept, function = {}, getattr(good, name)

    def cached(*arrays, **options):
        answer = function(*arrays, **options)
        found = kept.setdefault(key(*arrays, *sorted(options.items())), answer)
        if not isinstance(found, tuple):
            return found.copy()
        return tuple(None if a is None else a.copy() for a in found)

    return cached


def of_all(*parts):
    """Return a key that is complete."""
    return tuple(
        (p.shape, p.dtype.str, p.tobytes()) if isinstance(p, np.ndarray) else p for p in parts
    )


def without_bias(x, weight, bias, *options):
    return of_all(x, weight, *options)


def without_shapes(*parts):
    return tuple((p.dtype.str, p.tobytes()) if isinstance(p, np.ndarray) else p for p in parts)


def without_dtype(*parts):
    """Numbers that are equal in either dtype."""
    return tuple(
        (p.shape, p.astype(np.float64).tobytes()) if isinstance(p, np.ndarray) else p for p in parts
    )


def at_addresses_without_dtype(*parts):
    return tuple((p.ctypes.data, p.shape) if isinstance(p, np.ndarray) else p for p in parts)


KEYS = [
    *(("linear", key) for key in (without_bias, without_shapes, without_dtype)),
    *(("conv2d", key) for key in (without_bias, without_shapes, without_dtype)),
    *((name, without_shapes) for name in ("relu_grad", "softmax", "avg_pool2d", "max_pool2d")),
    *((name, without_dtype) for name in ("tanh", "sgd_step", "conv2d_grad_bias")),
    *((name, at_addresses_without_dtype) for name in ("sigmoid", "batch_mean", "linear_grad_bias")),
]


@pytest.mark.parametrize(("name", "key"), KEYS)
def test_a_cache_that_forgets_a_bias_a_dtype_or_a_shape_is_caught(name, key):
    outcome = outcome_of(name, {name: cached_by(name, key)}, seed=1)
    assert outcome.status == "mismatch"


# What two options are in a key where they are not kept apart.
TOGETHER = {
    ("conv2d", "stride", "dilation"): lambda s, d: s * d,
    ("conv_transpose2d", "padding", "output_padding"): lambda p, more: 2 * p - more,
    ("max_pool2d", "kernel_size", "padding"): lambda k, p: k - 2 * p,
    ("avg_pool2d", "kernel_size", "padding"): lambda k, p: k - 2 * p,
}


@pytest.mark.parametrize(("name", "one", "other"), TOGETHER)
def test_a_cache_whose_key_takes_two_options_together_is_caught(name, one, other):
    def key(*parts):
        options = dict(p for p in parts if isinstance(p, tuple))
        arrays = of_all(*(p for p in parts if not isinstance(p, tuple)))
        pairs = zip(options.pop(one), options.pop(other), strict=True)
        together = [TOGETHER[name, one, other](*pair) for pair in pairs]
        return *arrays, *together, *options.items()

    outcome = outcome_of(name, {name: cached_by(name, key)}, seed=1)
    assert outcome.status == "mismatch"
    assert "asked after the same call with" in outcome.reason


@pytest.mark.parametrize("name", BY_NAME)
def test_a_cache_whose_key_is_complete_passes(name):
    outcome = outcome_of(name, {name: cached_by(name, of_all)}, company=True, seed=1)
    assert (outcome.status, outcome.reason) == ("passed", "")


def test_the_reason_names_the_option_and_its_other_value():
    outcome = outcome_of("sgd_step", {"sgd_step": forgetful("sgd_step", "learning_rate", None)})
    assert "asked after the same call with learning_rate=" in outcome.reason
    wrong = SimpleNamespace(**keeping("softmax", "softmax_grad", "z", first=False))
    operator, formula = BY_NAME["softmax_grad"]
    sizes = {"axes": 2, "images": 2, "channels": 3, "height": 1, "width": 1, "axis": 1}
    call = operator.call({**sizes, "from_end": 0}, operator.styles.floats[0], 1, "float64")
    with pytest.raises(Mismatch, match="asked after softmax of other numbers in its place"):
        PROPERTIES["is_stateless"].check(wrap(wrong), operator, formula, call)
