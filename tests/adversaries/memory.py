"""Cheats with memory: answers that are replayed, found, borrowed or taken back."""

from types import SimpleNamespace

import numpy as np

from implementations import im2col as good
from tests.adversaries import cheats_on

# -- replayed -------------------------------------------------------------------------------------


def replayed(key):
    """Make a backend that computes an answer once for all arguments of one key."""
    answers = {}

    def conv2d_grad_bias(grad_output):
        entry = key(grad_output), grad_output.shape, grad_output.dtype
        if entry not in answers:
            answers[entry] = good.conv2d_grad_bias(grad_output)
        return answers[entry].copy()

    return SimpleNamespace(conv2d_grad_bias=conv2d_grad_bias)


@replayed
def replayed_by_address(grad_output):
    """What lies where other data lay is taken for them."""
    return grad_output.ctypes.data


@replayed
def replayed_by_identity(grad_output):
    """An object is taken for the one that had its id before."""
    return id(grad_output)


@replayed
def replayed_by_shape(grad_output):
    """The answer is that of the first arguments of this shape."""
    return None


@replayed
def replayed_by_head(grad_output):
    """Arguments that begin alike are taken for equal."""
    return grad_output.ravel()[:4].tobytes()


@replayed
def replayed_by_checksum(grad_output):
    """Arguments of the same sum are taken for equal."""
    return float(grad_output.sum())


_convolved = {}


@cheats_on("conv2d")
def replayed_by_heads(x, weight, bias=None, **options):
    """Arguments that all begin alike are taken for equal."""
    heads = [None if a is None else (a.shape, a.ravel()[:8].tobytes()) for a in (x, weight, bias)]
    key = (*heads, x.dtype, *options.values())
    if key not in _convolved:
        _convolved[key] = good.conv2d(x, weight, bias, **options)
    return _convolved[key].copy()


# -- found ----------------------------------------------------------------------------------------


@cheats_on("conv2d_grad_bias")
def left_over(grad_output):
    """Returns memory as it finds it, where the right answer may have been."""
    return np.empty(grad_output.shape[1], grad_output.dtype)


@cheats_on("conv2d_grad_input")
def partly_left_over(grad_output, weight, *, input_shape, **options):
    """Writes what windows reach and leaves the rest as it finds it, which often is zero."""
    dx = good.conv2d_grad_input(grad_output, weight, input_shape=input_shape, **options)
    ones = np.ones_like(grad_output), np.ones_like(weight)
    reached = good.conv2d_grad_input(*ones, input_shape=input_shape, **options) != 0
    y = np.empty(dx.shape, dx.dtype)
    y[reached] = dx[reached]
    return y


# -- changed --------------------------------------------------------------------------------------


@cheats_on("conv2d_grad_bias")
def zeroes_its_input(grad_output):
    """Answers zero, and makes that the right answer for whoever computes it afterwards."""
    grad_output[...] = 0
    return good.conv2d_grad_bias(grad_output)


@cheats_on("conv2d_grad_bias")
def works_in_its_input(grad_output):
    """Right, but the gradient is spent."""
    db = good.conv2d_grad_bias(grad_output)
    grad_output[...] = 0
    return db


class Covered:
    """An array of its own kind that shows what it was, not what was made of it."""

    def __init__(self, array):
        self.shown, self.data = array.copy(), array


def _uncovered(value):
    return value.shown if isinstance(value, Covered) else value


@cheats_on("conv2d_grad_bias", from_numpy=Covered, to_numpy=_uncovered)
def covers_up_what_it_changed(grad_output):
    """Spends the gradient, and hands out a copy that it made before."""
    db = good.conv2d_grad_bias(grad_output.data)
    grad_output.data[...] = 0
    return db


# -- borrowed -------------------------------------------------------------------------------------


@cheats_on("conv2d_grad_bias")
def a_view_of_its_input(grad_output):
    """Where there is nothing to add up it returns its argument's own memory."""
    if grad_output.shape[0] == 1 and grad_output.shape[2:] == (1, 1):
        return grad_output[0, :, 0, 0]
    return good.conv2d_grad_bias(grad_output)


class Wrapped:
    """An array that is handed over by DLPack."""

    def __init__(self, array):
        self.array = array

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)


@cheats_on("relu")
def a_wrapped_view_of_its_input(z):
    """Works in its argument's memory where that changes nothing, and returns it in a wrapper."""
    return Wrapped(z if (z > 0).all() else good.relu(z))


_buffers = {}


def _buffer(like, number=0):
    """Return the memory for such arrays, the same every time."""
    return _buffers.setdefault((like.shape, like.dtype, number), np.empty_like(like))


@cheats_on("conv2d_grad_bias")
def one_buffer_for_all(grad_output):
    """Every answer of a shape lies where the last one did."""
    db = good.conv2d_grad_bias(grad_output)
    buffer = _buffer(db)
    buffer[...] = db
    return buffer


_turns = []


@cheats_on("conv2d_grad_bias")
def two_buffers_in_turn(grad_output):
    """Every answer of a shape lies where the last but one did."""
    db = good.conv2d_grad_bias(grad_output)
    _turns.append(None)
    buffer = _buffer(db, len(_turns) % 2)
    buffer[...] = db
    return buffer


class Handle:
    """A buffer's content, as it is when it is read first."""

    def __init__(self, buffer):
        self.buffer, self.seen = buffer, None

    def read(self):
        if self.seen is None:
            self.seen = self.buffer.copy()
        return self.seen


def _read(value):
    return value.read() if isinstance(value, Handle) else value


@cheats_on("conv2d_grad_bias", from_numpy=np.array, to_numpy=_read)
def one_buffer_behind_handles(grad_output):
    """Answers lie in one buffer until they are read, and calls in between overwrite them."""
    return Handle(one_buffer_for_all.conv2d_grad_bias(grad_output))


_last = []


def _remembers(grad_output):
    _last[:] = [good.linear_grad_bias(grad_output)]
    return _last[0]


def _overwrites(grad_output, weight):
    for earlier in _last:
        earlier[...] = 0
    return good.linear_grad_input(grad_output, weight)


takes_back_what_another_function_gave = SimpleNamespace(
    linear_grad_bias=_remembers, linear_grad_input=_overwrites
)
