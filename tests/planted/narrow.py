"""Faults under narrow conditions, a size, an option or two together: off by one in one element."""

from functools import partial

from gradoracle.implementations import im2col as good
from tests.planted.fault import Fault, add


def _wrong(name, condition):
    def wrong(*arrays, **o):
        result = getattr(good, name)(*arrays, **o)
        first = result[0] if isinstance(result, tuple) else result
        if first.size and condition(first, arrays, o):
            first.flat[-1] += 1
        return result

    return wrong


def narrow(function, name, condition):
    """Plant a function that is wrong where `condition` holds of its result, arrays and options."""
    wrong = Fault("narrow", function, partial(_wrong, function, condition))
    add(f"{function}_off_by_one_{name}", wrong)


def reads(kernel, stride, padding):
    """Whether a transposed convolution's kernel, stride and padding are these, on both sides."""

    def condition(y, arrays, o):
        return (*arrays[1].shape[2:], *o["stride"], *o["padding"]) == (
            kernel, kernel, stride, stride, padding, padding,
        )  # fmt: skip

    return condition


def pools(kernel, stride, padding):
    """Whether a pooling's kernel, stride and padding are these, on both sides."""

    def condition(y, arrays, o):
        return (*o["kernel_size"], *o["stride"], *o["padding"]) == (
            kernel, kernel, stride, stride, padding, padding,
        )  # fmt: skip

    return condition


def strided_beyond_its_kernel(y, arrays, o):
    return any(s > k for s, k in zip(o["stride"], arrays[1].shape[2:], strict=True))


def is_depthwise(o, weight):
    return 1 < o["groups"] == len(weight) and weight.shape[1] == 1


# -- transposed convolution: y of (x, weight, bias), dx of (dy, weight), dw of (dy, x) ------------

Y, DX, DW, DB = (
    f"conv_transpose2d{of}" for of in ("", "_grad_input", "_grad_weight", "_grad_bias")
)

narrow(Y, "past_a_vector_of_channels", lambda y, a, o: len(a[1]) // o["groups"] > 8)
narrow(Y, "in_groups_of_8", lambda y, a, o: o["groups"] > 1 and a[1].shape[1] >= 8)
narrow(Y, "in_4x4_at_stride_2_padded", reads(4, 2, 1))
narrow(Y, "in_3x3_at_stride_2_padded", reads(3, 2, 1))
narrow(Y, "with_more_output_padding_than_padding",
       lambda y, a, o: min(o["output_padding"]) > max(o["padding"]))  # fmt: skip
narrow(Y, "in_dilated_groups", lambda y, a, o: o["groups"] > 1 and min(o["dilation"]) > 1)
narrow(Y, "depthwise_with_a_stride",
       lambda y, a, o: is_depthwise(o, a[1]) and max(o["stride"]) > 1)  # fmt: skip
narrow(DX, "in_wide_outputs", lambda y, a, o: a[0].shape[3] > 32)
narrow(DX, "in_batches_past_8", lambda y, a, o: len(y) > 8)
narrow(DX, "where_stride_exceeds_kernel", strided_beyond_its_kernel)
narrow(DW, "past_16_filters", lambda y, a, o: len(y) > 16)
narrow(DB, "past_32_filters", lambda y, a, o: y.size > 32)
narrow(DB, "past_1024_pixels", lambda y, a, o: a[0][0, 0].size > 1024)

# -- pooling --------------------------------------------------------------------------------------

narrow("max_pool2d", "past_16_channels", lambda y, a, o: y.shape[1] > 16)
narrow("max_pool2d", "in_3x3_at_stride_2_padded", pools(3, 2, 1))
narrow("max_pool2d", "in_ceil_mode_with_padding",
       lambda y, a, o: o["ceil_mode"] and any(o["padding"]))  # fmt: skip
narrow("max_pool2d", "in_ceil_mode_with_dilation",
       lambda y, a, o: o["ceil_mode"] and max(o["dilation"]) > 1)  # fmt: skip
narrow("max_pool2d", "in_kernels_past_8", lambda y, a, o: max(o["kernel_size"]) > 8)
narrow("max_pool2d_vjp", "in_batches_past_16", lambda y, a, o: len(y) > 16)
narrow("max_pool2d_vjp", "in_odd_widths_at_stride_2",
       lambda y, a, o: y.shape[3] % 2 and o["stride"] == o["kernel_size"] == (2, 2))  # fmt: skip
narrow("max_pool2d_grad_input", "past_1024_pixels", lambda y, a, o: y[0, 0].size > 1024)
narrow("max_pool2d_grad_input", "past_32_channels", lambda y, a, o: y.shape[1] > 32)
narrow("avg_pool2d", "past_a_block_of_windows", lambda y, a, o: y[0, 0].size > 1024)
narrow("avg_pool2d", "in_7x7", lambda y, a, o: o["kernel_size"] == (7, 7))
narrow("avg_pool2d", "in_ceil_mode_without_padding",
       lambda y, a, o: o["ceil_mode"] > o["count_include_pad"] and any(o["padding"]))  # fmt: skip
narrow("avg_pool2d_grad_input", "in_5x5_at_stride_1", pools(5, 1, 2))
narrow("avg_pool2d_grad_input", "past_64_channels", lambda y, a, o: y.shape[1] > 64)

# -- what has no windows --------------------------------------------------------------------------

narrow("relu", "past_256_elements", lambda y, a, o: y.size > 256)
narrow("relu_grad", "past_a_block", lambda y, a, o: y.size > 1024)
narrow("leaky_relu", "of_negative_slopes", lambda y, a, o: o["negative_slope"] < 0)
narrow("sigmoid", "in_four_axes_past_64", lambda y, a, o: y.ndim == 4 and y.size > 64)
narrow("tanh", "in_odd_sizes_past_128", lambda y, a, o: y.size > 128 and y.size % 2)
narrow("softmax", "in_rows_past_a_warp", lambda y, a, o: y.shape[o["axis"]] > 32)
narrow("softmax", "in_rows_past_256", lambda y, a, o: y.shape[o["axis"]] > 256)
narrow("softmax_grad", "along_the_first_of_four_axes",
       lambda y, a, o: y.ndim == 4 and o["axis"] % 4 == 0)  # fmt: skip
narrow("cross_entropy", "past_a_warp_of_classes", lambda y, a, o: a[0].shape[1] > 32)
narrow("cross_entropy", "in_batches_past_32", lambda y, a, o: len(a[0]) > 32)
narrow("cross_entropy_grad", "past_128_classes", lambda y, a, o: y.shape[1] > 128)
narrow("linear", "past_tiles_of_both_sides", lambda y, a, o: min(a[1].shape) > 16)
narrow("linear", "in_batches_past_16", lambda y, a, o: len(y) > 16)
narrow("linear", "past_256_inputs", lambda y, a, o: a[0].shape[1] > 256)
narrow("linear_grad_input", "past_16_outputs_of_several_images",
       lambda y, a, o: len(a[1]) > 16 and len(y) > 1)  # fmt: skip
narrow("linear_grad_weight", "in_odd_batches_past_8",
       lambda y, a, o: len(a[0]) > 8 and len(a[0]) % 2)  # fmt: skip
narrow("linear_grad_bias", "past_128_outputs", lambda y, a, o: y.size > 128)
narrow("batch_mean", "past_32_images", lambda y, a, o: len(a[0]) > 32)
narrow("sgd_step", "past_a_block", lambda y, a, o: y.size > 1024)

# -- past what is seldom drawn --------------------------------------------------------------------

narrow(Y, "past_256_filters", lambda y, a, o: y.shape[1] > 256)
narrow(DX, "in_batches_past_256", lambda y, a, o: len(y) > 256)
narrow(DW, "past_64_groups", lambda y, a, o: o["groups"] > 64)
narrow("max_pool2d", "past_65_535_windows", lambda y, a, o: y.size > 65_535)
narrow("max_pool2d_vjp", "past_1024_channels", lambda y, a, o: y.shape[1] > 1024)
narrow("avg_pool2d_grad_input", "in_batches_past_128", lambda y, a, o: len(y) > 128)
narrow("relu_grad", "past_65_535_elements", lambda y, a, o: y.size > 65_535)
narrow("tanh", "past_65_535_elements", lambda y, a, o: y.size > 65_535)
narrow("leaky_relu_grad", "past_65_535_elements", lambda y, a, o: y.size > 65_535)
narrow("softmax_grad", "in_batches_past_1024", lambda y, a, o: len(y) > 1024)
narrow("cross_entropy", "in_batches_past_1024", lambda y, a, o: len(a[0]) > 1024)
narrow("linear", "in_batches_past_1024", lambda y, a, o: len(y) > 1024)
narrow("linear_grad_weight", "in_batches_past_64", lambda y, a, o: len(a[0]) > 64)
narrow("sgd_step", "past_65_535_elements", lambda y, a, o: y.size > 65_535)
