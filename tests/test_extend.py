"""`gradoracle.extend` has what its docstring names; a record over windows can be made of ours."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np

import gradoracle.extend as extend
from gradoracle.conformance.backends import backend as backends
from gradoracle.conformance.backends import registry
from gradoracle.conformance.backends.registry import wrap
from gradoracle.conformance.checking.check_run import examine
from gradoracle.conformance.properties import PROPERTIES
from gradoracle.implementations import im2col as good


def test_what_the_docstring_names_is_there():
    for name in re.findall(r"`(\w+)`", extend.__doc__):
        assert hasattr(extend, name), name
    for names in re.findall(r"from gradoracle.extend import (.*)", extend.__doc__):
        assert {*names.split(", ")} <= {*extend.__all__}
    assert {*extend.__all__} <= {*vars(extend)}


@extend.selection(images="kept")
def max_pool2d_sign(x, *, kernel_size, stride, padding, dilation, ceil_mode):
    """Return y [N, C, OH, OW].

        y = 1 where the maximum of a window is above 0, else 0

    (a test's own formula.)
    """
    given = (x, kernel_size, stride, padding, dilation)
    names = ("kernel_size", "stride", "padding", "dilation")
    y = good.max_pool2d(x, **dict(zip(names, given[1:], strict=True)), ceil_mode=ceil_mode)[0]
    return np.asarray(y > 0, x.dtype)


def test_a_record_over_windows_is_made_of_ours(monkeypatch):
    ours = extend.max_pooling(2)
    extend.declare_axes(ours.axes, max_pool2d_sign)
    record = replace(ours, formula=max_pool2d_sign, also=(), gradients={})
    for module in (backends, registry):
        monkeypatch.setattr(module, "FUNCTIONS", ("max_pool2d_sign",))
    for wrong in (False, True):

        def function(x, wrong=wrong, **options):
            y = max_pool2d_sign(x, **options)
            return 1 - y if wrong else y

        backend = wrap(SimpleNamespace(max_pool2d_sign=function))
        checked = PROPERTIES["matches_oracle"]
        outcome = examine(backend, record, max_pool2d_sign, checked, examples=20, seed=1)
        assert outcome.status == ("mismatch" if wrong else "passed"), outcome.text
