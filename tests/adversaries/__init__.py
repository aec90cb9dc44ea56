"""Backends that are wrong and cheat to hide it, each an attribute of a module here.

`tests.adversaries.answers:zeros` is an import path, so that it is checked in a process of its own.
Each cheats on a function or two of the protocol, and is wrong wherever the cheat does not work.
"""

from types import SimpleNamespace

from gradoracle.implementations import im2col as good


def cheats_on(name, **others):
    """Make a backend of the function that cheats, under its name in the protocol."""

    def make(function):
        return SimpleNamespace(**{name: function}, **others)

    return make


right = SimpleNamespace(conv2d_grad_bias=good.conv2d_grad_bias, relu=good.relu)
wrong = SimpleNamespace(
    conv2d_grad_bias=lambda grad_output: -good.conv2d_grad_bias(grad_output),
    relu=lambda z: -good.relu(z),
)
