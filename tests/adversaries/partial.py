"""Right where it is easy: common shapes, small arrays, first calls; or another library's work."""

import random
import subprocess
import sys
from types import SimpleNamespace

import numpy as np

from gradoracle.implementations import im2col as good
from gradoracle.implementations.im2col.pooling import taps
from tests.adversaries import cheats_on

# -- declined -------------------------------------------------------------------------------------

PLAIN = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}


@cheats_on("conv2d")
def declines_what_is_hard(x, weight, bias=None, **options):
    """Does the plain convolution only."""
    if options != PLAIN:
        raise NotImplementedError("plain convolutions only")
    return good.conv2d(x, weight, bias, **options)


@cheats_on("conv2d_grad_bias")
def declines_all_but_one_pixel(grad_output):
    """Does nothing but what needs no sum."""
    if grad_output.shape[0] * grad_output.shape[2] * grad_output.shape[3] != 1:
        raise NotImplementedError("no sums")
    return good.conv2d_grad_bias(grad_output)


@cheats_on("conv2d_grad_bias")
def declines_everything(grad_output):
    """Has the function, and never does it."""
    raise NotImplementedError


@cheats_on("conv2d_grad_bias")
def declines_float64(grad_output):
    """Does one of the two formats that it claims by saying nothing."""
    if grad_output.dtype == np.float64:
        raise NotImplementedError("float32 only")
    return good.conv2d_grad_bias(grad_output)


claims_one_function = SimpleNamespace(
    conv2d_grad_bias=good.conv2d_grad_bias,
    conv2d=lambda x, weight, bias=None, **options: 0,
    contract={"functions": ["conv2d_grad_bias"]},
)


@cheats_on("max_pool2d_vjp", contract={"policies": {"ties": "any-subgradient", "nan": "any"}})
def hides_behind_its_policies(grad_output, x, **options):
    """All that are equal in a window get the whole gradient, which is no subgradient."""
    dx = np.zeros_like(good.max_pool2d_vjp(grad_output, x, **options))
    y, _ = good.max_pool2d(x, **options)
    *sizes, _ = options.values()
    for windows, pixels in taps(x.shape, y.shape[2:], *sizes):
        seen, best = x[:, :, *pixels], y[:, :, *windows]
        wins = (seen == best) | (np.isnan(seen) & np.isnan(best))
        dx[:, :, *pixels] += np.where(wins, grad_output[:, :, *windows], 0)
    return dx


# -- right for some shapes ------------------------------------------------------------------------


def right_where(easy):
    """Make a backend whose last row is wrong where the call is not easy."""

    def conv2d(x, weight, bias=None, **options):
        y = good.conv2d(x, weight, bias, **options)
        if not easy(x, weight, **options):
            y[:, :, -1] *= 2
        return y

    return SimpleNamespace(conv2d=conv2d)


@right_where
def right_for_3x3(x, weight, **options):
    """Right for the layer that everybody tries: 3x3, padded by 1."""
    return weight.shape[2:] == (3, 3) and options == {**PLAIN, "padding": (1, 1)}


@right_where
def right_for_squares(x, weight, *, stride, padding, dilation, groups):
    """Right where height and width are alike."""
    return all(a == b for a, b in (x.shape[2:], weight.shape[2:], stride, padding, dilation))


@right_where
def right_for_even_sizes(x, weight, **options):
    """Right where images have an even number of rows and columns."""
    return x.shape[2] % 2 == x.shape[3] % 2 == 0


@right_where
def right_for_powers_of_two(x, weight, **options):
    """Right where images and channels have the sizes of benchmarks."""
    return all(n & (n - 1) == 0 for n in (*x.shape[1:], len(weight)))


@right_where
def right_for_one_image(x, weight, **options):
    """Right for a batch of one."""
    return len(x) == 1


@right_where
def right_for_one_group(x, weight, *, groups, **options):
    """Right for what most networks have."""
    return groups == 1


@cheats_on("conv2d")
def drops_the_last_tile(x, weight, bias=None, **options):
    """Pixels beyond the last whole tile of 16 are left out, where there is a whole one."""
    y = good.conv2d(x, weight, bias, **options)
    pixels = y.shape[2] * y.shape[3]
    if pixels > 16:
        y.reshape(*y.shape[:2], pixels)[:, :, pixels - pixels % 16 :] = 0
    return y


@cheats_on("conv2d_grad_bias")
def adds_two_images(grad_output):
    """Adds up the first two images only."""
    return good.conv2d_grad_bias(grad_output[:2])


@cheats_on("conv2d_grad_bias")
def adds_64_images(grad_output):
    """Adds up the first 64 images only."""
    return good.conv2d_grad_bias(grad_output[:64])


@cheats_on("conv2d_grad_bias")
def a_thread_for_each_channel(grad_output):
    """Channels beyond the 1024 threads of a block are left out."""
    db = good.conv2d_grad_bias(grad_output)
    db[1024:] = 0
    return db


@cheats_on("relu")
def right_for_contiguous_arrays(z):
    """Reads memory in its order, whatever an array's strides are."""
    in_order = np.lib.stride_tricks.as_strided(z, strides=np.empty(z.shape, z.dtype).strides)
    return good.relu(in_order)


@cheats_on("conv2d")
def skips_what_is_large(x, weight, bias=None, **options):
    """Beyond 65 535 pixels, the blocks of a grid's second axis, nothing is written."""
    y = good.conv2d(x, weight, bias, **options)
    pixels = y.shape[2] * y.shape[3]
    y.reshape(*y.shape[:2], pixels)[:, :, 65_535:] = 0
    return y


@cheats_on("relu")
def skips_elements(z):
    """Beyond 65 535 elements nothing is written."""
    y = good.relu(z)
    y.reshape(-1)[65_535:] = 0
    return y


# -- right for some calls -------------------------------------------------------------------------


def right_by_count(easy):
    """Make a backend that is right where the number of the call and its key are easy."""
    seen = []

    def conv2d_grad_bias(grad_output):
        db = good.conv2d_grad_bias(grad_output)
        seen.append((grad_output.shape, grad_output.dtype, grad_output.tobytes()))
        return db if easy(seen) else -db

    return SimpleNamespace(conv2d_grad_bias=conv2d_grad_bias)


@right_by_count
def right_for_the_first_calls(seen):
    """Right as long as somebody would try it."""
    return len(seen) <= 100


@right_by_count
def right_once_warm(seen):
    """Wrong the first time that a shape comes, as before kernels are tuned."""
    return any(earlier[:2] == seen[-1][:2] for earlier in seen[:-1])


@right_by_count
def right_at_first_sight(seen):
    """Wrong about what it has seen before, as where calls are repeated to be timed."""
    return seen[-1] not in seen[:-1]


@right_by_count
def wrong_now_and_then(seen):
    """Wrong once in a hundred calls, by chance."""
    return random.random() > 0.01  # noqa: S311 - no secret


# -- another's work -------------------------------------------------------------------------------


@cheats_on("relu")
def falls_back_on_torch(z):
    """Has no kernel: PyTorch does it."""
    import torch

    return torch.relu(torch.from_numpy(z)).numpy()


_torch = []


def torch_in_secret():
    """Import PyTorch, past whoever forbids it, and leave no trace in the table of modules."""
    if not _torch:
        sys.meta_path[:] = [f for f in sys.meta_path if not hasattr(f, "refused")]
        import torch

        _torch.append(torch)
        for name in [n for n in sys.modules if n.partition(".")[0] == "torch"]:
            del sys.modules[name]
    return _torch[0]


@cheats_on("relu")
def falls_back_in_secret(z):
    """Takes down the ban on PyTorch, if any, and forgets that it was imported."""
    torch = torch_in_secret()
    return torch.relu(torch.from_numpy(z)).numpy()


_other = []
PROGRAM = """
import sys, torch
for line in sys.stdin:
    z = torch.tensor([float.fromhex(word) for word in line.split()], dtype=torch.float64)
    print(*(value.hex() for value in torch.relu(z).tolist()), flush=True)
"""


@cheats_on("relu")
def falls_back_in_another_process(z):
    """Starts a Python of its own and lets PyTorch do it there."""
    if not _other:
        command = [sys.executable, "-c", PROGRAM]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        _other.append(subprocess.Popen(command, **pipes))
    process = _other[0]
    process.stdin.write(" ".join(float(v).hex() for v in z.ravel()) + "\n")
    process.stdin.flush()
    words = process.stdout.readline().split()
    return np.array([float.fromhex(w) for w in words], z.dtype).reshape(z.shape)
