"""What the benchmark measures with on a GPU: CuPy for our kernels, PyTorch for cuDNN's.

Times are between CUDA events on the one stream that both libraries use.  Before the first event
a buffer larger than the level-2 cache is overwritten: nothing that is read is in it, and the
device is still busy with that while the host prepares and launches what is measured, so that no
interval contains waiting for the host (`host_was_late` counts those that do in spite of it).
"""

import contextlib

from tests.gpu import rounding
from tests.gpu.benchmark import CUDNN, OURS, TF32
from tests.gpu.layers import (
    input_shape,
    macs,
    most_terms,
    output_shape,
    side,
    weight_shape,
)

ROOM = 1 << 30  # bytes that are overwritten before each run, at least
CACHES = 8  # times the level-2 cache, at least
PATIENCE = 6  # times that the buffer is overwritten at most, for a host that takes longer
MUCH = 10**10  # multiply-adds: beyond, some images stand for all where each has its own answer
SOME = (0, 1, -2, -1)


class Device:
    """The current CUDA device."""

    def __init__(self, cupy, torch):
        self.cupy, self.torch = cupy, torch
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = False
        properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
        self.l2 = int(properties["l2CacheSize"])
        self.room = torch.empty(max(ROOM, CACHES * self.l2), dtype=torch.uint8, device="cuda")
        self.times_over = 1
        self.host_was_late = self.runs = 0
        self._known = (None,)  # of which call there is a reference, and the reference

    def settings(self):
        """Return how it measures, as plain data."""
        return {
            "timer": "CUDA events; the level-2 cache is overwritten before every run",
            "overwritten_bytes": self.room.numel() * self.times_over, "l2_bytes": self.l2,
            "runs": self.runs, "host_was_late": self.host_was_late,
            "cudnn.benchmark": self.torch.backends.cudnn.benchmark,
            "tf32": "off, but in its column",
            "layouts": "NCHW; cuDNN float16 has channels last",
            "cudnn_by": "torch.nn.functional.conv2d, torch.ops.aten.convolution_backward; PyTorch "
            "may take a kernel of its own instead of cuDNN's, as it does for depthwise layers",
            "reference": "cuDNN in float64", "bound": rounding.BOUND,
            "data": "normal, seed 1",
        }  # fmt: skip

    @contextlib.contextmanager
    def _with_tf32(self):
        self.torch.backends.cudnn.allow_tf32 = True
        try:
            yield
        finally:
            self.torch.backends.cudnn.allow_tf32 = False

    def probed(self, layer, images):
        """Return what each contender makes of 4097 * 1, which TF32 rounds to 4096."""
        data = {name: array * 0 for name, array in self.arrays(layer, images).items()}
        data["x"][:, 0] = 4097
        middle = layer.kernel // 2
        data["weight"][:, 0, middle, middle] = 1
        found = {}
        for name, call in self.contenders(layer, "forward", data, (OURS, CUDNN, TF32)).items():
            answer = call()
            answer = self.torch.from_dlpack(answer) if name == OURS else answer
            inner = answer[:, :, middle : side(layer) - middle, middle : side(layer) - middle]
            found[name] = [float(inner.min()), float(inner.max())]
        self.release()
        return {"layer": layer.name, "answers": found}

    def arrays(self, layer, images):
        """Return x, weight and dy as PyTorch's tensors."""
        random = self.torch.Generator(device="cuda").manual_seed(1)
        shapes = {
            "x": input_shape(layer, images), "weight": weight_shape(layer),
            "dy": output_shape(layer, images),
        }  # fmt: skip
        return {
            name: self.torch.randn(shape, generator=random, device="cuda")
            for name, shape in shapes.items()
        }

    def contenders(self, layer, direction, data, columns):
        """Return a call for every column, or in words why there is none."""
        return {name: self._contender(name, layer, direction, data) for name in columns}

    def _contender(self, name, layer, direction, data):
        half = {k: v.half() for k, v in data.items()} if name.endswith("float16") else data
        if name.startswith(OURS):
            if half is not data:
                images = data["x"].shape[0]
                by = self.chosen(layer, direction, images, "float16")
                if by == "direct" and macs(layer) * images > MUCH:
                    return "only the formula's loops take float16, and this is too much for them"
            return self._ours(layer, direction, half)
        if half is not data:
            last = self.torch.channels_last
            half = {k: v.contiguous(memory_format=last) for k, v in half.items()}
        call = self._cudnn(layer, direction, half)
        if name != TF32:
            return call

        def with_tf32():
            with self._with_tf32():
                return call()

        return with_tf32

    def _ours(self, layer, direction, data):
        from gradoracle.implementations import cupy_kernels

        x, weight, dy = (self.cupy.from_dlpack(data[name]) for name in ("x", "weight", "dy"))
        options = {
            "stride": (layer.stride,) * 2, "padding": (layer.padding,) * 2, "dilation": (1, 1),
            "groups": layer.groups,
        }  # fmt: skip
        shapes = {"input_shape": tuple(x.shape), "weight_shape": tuple(weight.shape)}
        return {
            "forward": lambda: cupy_kernels.conv2d(x, weight, **options),
            "grad_input": lambda: cupy_kernels.conv2d_grad_input(
                dy, weight, input_shape=shapes["input_shape"], **options
            ),
            "grad_weight": lambda: cupy_kernels.conv2d_grad_weight(
                dy, x, weight_shape=shapes["weight_shape"], **options
            ),
        }[direction]

    def _cudnn(self, layer, direction, data):
        torch, x, weight, dy = self.torch, data["x"], data["weight"], data["dy"]
        if direction == "forward":
            return lambda: torch.nn.functional.conv2d(
                x, weight, None, layer.stride, layer.padding, 1, layer.groups
            )
        which = ("grad_input", "grad_weight").index(direction)
        mask = [which == 0, which == 1, False]
        pairs = [layer.stride] * 2, [layer.padding] * 2, [1, 1]
        transposed, more = False, [0, 0]
        options = (*pairs, transposed, more, layer.groups)
        return lambda: torch.ops.aten.convolution_backward(dy, x, weight, None, *options, mask)[
            which
        ]

    def seconds(self, call):
        """Return the seconds that the device takes for a call, with cold caches."""
        while True:
            start, end = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
            for number in range(self.times_over):
                self.room.fill_(number)
            start.record()
            answer = call()
            end.record()
            late = start.query()  # the device had come to the call before the host was done
            end.synchronize()
            del answer
            self.runs += 1
            taken = start.elapsed_time(end) / 1e3
            # A call that takes long, or that waits for the device itself, is not shortened by it.
            if late and taken < 2e-3 and self.times_over < PATIENCE:
                self.times_over += 1
                continue
            self.host_was_late += late and taken < 2e-3
            return taken

    def answer(self, call):
        """Return the answer of a call that found NaN in the memory that it was given for it.

        The pools give the memory that was let go of last: what a kernel does not write shows.
        """
        before = call()
        before.fill(float("nan")) if hasattr(before, "fill") else before.fill_(float("nan"))
        del before
        return call()

    def check(self, layer, direction, data, answer, column):
        """Compare an answer with cuDNN's in float64."""
        if column == TF32:
            return {"within": None, "why": "TF32 rounds what is multiplied: it has another bound"}
        torch, half = self.torch, column.endswith("float16")
        got = torch.from_dlpack(answer) if column.startswith(OURS) else answer
        images = data["x"].shape[0]
        terms, said = most_terms(layer, direction, images), "all images"
        if direction != "grad_weight" and macs(layer) * images > MUCH and images > len(SOME):
            data = {k: v if k == "weight" else v[list(SOME)] for k, v in data.items()}
            got, said = got[list(SOME)], "the first two images and the last two"
        key = (layer, direction, half)
        if self._known[0] != key:
            exact = {k: (v.half() if half else v).double() for k, v in data.items()}
            sizes = {k: v.abs() for k, v in exact.items()}
            torch.backends.cudnn.benchmark = False  # one run each is not worth the search
            try:
                want, total = (self._cudnn(layer, direction, one)() for one in (exact, sizes))
            finally:
                torch.backends.cudnn.benchmark = True
            self._known = key, want, total
        _, want, total = self._known
        verdict = rounding.judged(
            got.double(), want, total, terms, stored="float16" if half else None
        )
        return {
            "within": verdict.within, "wrong": verdict.wrong, "elements": verdict.elements,
            "largest_error_over_bound": verdict.largest, "of": said,
        }  # fmt: skip

    def chosen(self, layer, direction, images, dtype="float32"):
        """Return the algorithm that our code takes for a call."""
        from gradoracle.implementations.cupy_kernels import gemm, structs

        p = structs.conv(
            input_shape(layer, images), weight_shape(layer), output_shape(layer, images),
            (layer.stride,) * 2, (layer.padding,) * 2, (1, 1), layer.groups,
        )  # fmt: skip
        return gemm.algorithm(p, dtype, direction) or "direct"

    def release(self):
        """Give the memory of both libraries' pools back."""
        self._known = (None,)
        self.torch.cuda.synchronize()
        self.cupy.get_default_memory_pool().free_all_blocks()
        self.torch.cuda.empty_cache()


def device():
    """Return the current CUDA device.

    Raises:
        ImportError: there is none, or a library is missing; the message is one sentence.
    """
    from gradoracle.implementations.cupy_kernels.probe import cupy_with_device

    cupy = cupy_with_device()
    try:
        import torch
    except Exception as error:
        raise ImportError(f"PyTorch cannot be imported: {error}") from error
    if not torch.cuda.is_available():
        raise ImportError(f"PyTorch {torch.__version__} has no CUDA device")
    return Device(cupy, torch)
