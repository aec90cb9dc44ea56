"""What a backend is: the protocol, its contract, and the meaning of every argument.

A backend is any module or object with some of these functions, under these names.  It needs no
base class and imports nothing of ours.  Arrays are NCHW; every pair is
(height, width).

    conv2d(x, weight, bias=None, *, stride, padding, dilation, groups) -> y
    conv2d_grad_input(grad_output, weight, *, input_shape, stride, padding, dilation, groups) -> dx
    conv2d_grad_weight(grad_output, x, *, weight_shape, stride, padding, dilation, groups) -> dw
    conv2d_grad_bias(grad_output) -> db

`x` is [N, C, H, W], `weight` [M, C/groups, KH, KW], `bias` [M] or None, `grad_output` dE/dy of y's
shape [N, M, OH, OW] with OH = (H + 2*PH - DH*(KH-1) - 1) // SH + 1.

    conv_transpose2d(x, weight, bias=None, *, stride, padding, output_padding, dilation,
                     groups) -> y
    conv_transpose2d_grad_input(grad_output, weight, *, input_shape, <the same options>) -> dx
    conv_transpose2d_grad_weight(grad_output, x, *, weight_shape, <the same options>) -> dw
    conv_transpose2d_grad_bias(grad_output) -> db

Here `weight` is [C, M/groups, KH, KW] and OH = (H-1)*SH - 2*PH + DH*(KH-1) + output_padding + 1;
output_padding is below the stride or the dilation.

    max_pool2d(x, *, kernel_size, stride, padding, dilation, ceil_mode) -> (y, indices)
    max_pool2d_grad_input(grad_output, indices, *, input_shape) -> dx
    max_pool2d_vjp(grad_output, x, *, kernel_size, stride, padding, dilation, ceil_mode) -> dx

`indices` are int64, h*W + w within the plane.  The first maximum in row-major order wins a tie, and
the first NaN wins over everything; padding is minus infinity and never wins over a real pixel that
is.  Windows that share a maximum add up.  Where a framework has no indices, offer `max_pool2d_vjp`
instead of `max_pool2d_grad_input`; `max_pool2d` may then return y alone, as it may where there is
no gradient at all.

    avg_pool2d(x, *, kernel_size, stride, padding, ceil_mode, count_include_pad) -> y
    avg_pool2d_grad_input(grad_output, *, input_shape, <the same options>) -> dx

The divisor counts the window's taps in the padded image, or in the image without
count_include_pad; never what hangs over the end.  Padding of both poolings is at most half the
kernel's taps.  With ceil_mode the last window may hang over the end, but starts on the image or
in the padding before it.  A window that holds no pixel is illegal.

    lp_pool2d(x, *, norm_type, kernel_size, stride) -> y
    lp_pool2d_grad(grad_output, x, *, norm_type, kernel_size, stride) -> dx

y is (sum of x^norm_type)^(1/norm_type) over each window, norm_type a number of at least 1; no
gradient goes back from a window of zeros.  There is no padding and no ceil_mode.  Not checked, for
frameworks disagree: numbers below 0 unless norm_type is even, and with norm_type 1 the gradient at
windows of zeros or with NaN.

    adaptive_avg_pool2d(x, *, output_size) -> y [N, C, *output_size]
    adaptive_avg_pool2d_grad_input(grad_output, *, input_shape) -> dx

    adaptive_max_pool2d(x, *, output_size) -> (y, indices)
    adaptive_max_pool2d_grad_input(grad_output, indices, *, input_shape) -> dx
    adaptive_max_pool2d_vjp(grad_output, x) -> dx

Window i of OH begins at pixel i*H // OH and ends before ceil((i+1)*H / OH).  Indices, ties and NaN
are those of max_pool2d.

    max_unpool2d(x, indices, *, output_size) -> y [N, C, *output_size]
    max_unpool2d_grad_input(grad_output, indices) -> dx

Indices count within a plane of y, and differ within it.

    interpolate_nearest2d(x, *, output_size, mode) -> y [N, C, *output_size]
    interpolate_nearest2d_grad_input(grad_output, *, input_shape, mode) -> dx
    interpolate_bilinear2d(x, *, output_size, align_corners) -> y [N, C, *output_size]
    interpolate_bilinear2d_grad_input(grad_output, *, input_shape, align_corners) -> dx

`mode` is "nearest" or "nearest-exact".  Coordinates follow from the sizes, H / OH, as PyTorch's do
where it is given a size, or a scale_factor that it recomputes.  Sizes of which a coordinate that is
rounded may lead to another nearest pixel are not checked.

All functions above exist for sequences and volumes, too, with 1d or 3d in their names (of
interpolate_bilinear2d: interpolate_linear1d, interpolate_trilinear3d): arrays are [N, C, W] or
[N, C, T, H, W], and an option has a number for every spatial axis: (width,) or (depth, height,
width).  `indices` of volumes are (t*H + h)*W + w.

    relu(z) -> y                                relu_grad(grad_output, z) -> dz
    leaky_relu(z, *, negative_slope) -> y       leaky_relu_grad(grad_output, z, *, negative_slope)
    sigmoid(z) -> y                             sigmoid_grad(grad_output, z) -> dz
    tanh(z) -> y                                tanh_grad(grad_output, z) -> dz
    softmax(z, *, axis) -> p                    softmax_grad(grad_output, z, *, axis) -> dz

    elu(z, *, alpha)     gelu(z, *, approximate)          hardtanh(z, *, min_val, max_val)
    hardsigmoid(z)       hardswish(z)      mish(z)        softplus(z, *, beta, threshold)
    logsigmoid(z)        relu6(z)          silu(z)        log_softmax(z, *, axis)

each with its gradient, `elu_grad(grad_output, z, *, alpha)`, of arrays of one to four axes, of
which the first may be empty; relu'(0) = 0 and
leaky_relu'(0) = negative_slope; relu of a NaN is NaN.  The slopes of relu and leaky_relu at a NaN
are not defined, and not checked.

    layer_norm(x, weight=None, bias=None, *, eps) -> y             x [N, T, C]
    layer_norm_grad_x(grad_output, x, weight=None, *, eps)         dx
    layer_norm_grad_weight(grad_output, x, *, eps)                 dw [C]
    layer_norm_grad_bias(grad_output)                              db [C]
    rms_norm(x, weight=None, *, eps)                               x [N, T, C]
    instance_norm(x, weight=None, bias=None, *, eps)               x [N, C, H, W]
    group_norm(x, weight=None, bias=None, *, num_groups, eps)      x [N, C, H, W]
    batch_norm(x, running_mean, running_var, weight=None, bias=None, *, training, eps)

their gradients likewise, `NAME_grad_x`, `NAME_grad_weight` and `NAME_grad_bias`; without weight or
bias they are 1 and 0.  `batch_norm` in training takes mean and variance of the batch, and changes
no running ones; `batch_norm_update(x, running_mean, running_var, *, momentum)` returns both after a
batch, (1 - momentum) times the old and momentum times the batch's, whose variance is unbiased, as a
tuple.  Instead of the single gradients, or beside them, a backend may have all at once:

    layer_norm_vjp(grad_output, x, weight=None, bias=None, *, eps)   (dx, dw, db)

`NAME_vjp` takes dy and all that the forward function takes, and returns a tuple of the gradients in
the order of the arguments; by an argument that is None it has None.  So have the losses below with
several gradients, prelu, bilinear and scaled_dot_product_attention.

    linear(x, weight, bias=None) -> y           x [N, C], weight [M, C], bias [M] or None
    linear_grad_input(grad_output, weight) -> dx
    linear_grad_weight(grad_output, x) -> dw
    linear_grad_bias(grad_output) -> db

    cross_entropy(logits, target, *, reduction) -> loss, without axes
    cross_entropy_grad(logits, target, *, reduction) -> dlogits

`logits` [N, C], `target` int64 [N], `reduction` "mean" or "sum".  A logit may be minus infinity (an
impossible class), but not the target's and not a whole row.

    mse_loss(input, target, *, reduction) -> loss     mse_loss_grad_input, mse_loss_grad_target
    l1_loss(input, target, *, reduction)              huber_loss(input, target, *, reduction, delta)
    kl_div(input, target, *, reduction, log_target)   kl_div_grad(grad_output, input, target, ...)
    binary_cross_entropy_with_logits(input, target, pos_weight=None, *, reduction)
    nll_loss(input, target, weight=None, *, ignore_index, reduction)     target int64 [N]
    cross_entropy_loss(input, target, weight=None, *, ignore_index, label_smoothing, reduction)
    soft_target_cross_entropy(input, target, weight=None, *, label_smoothing, reduction)
    glu(z)                                            glu_grad(grad_output, z)
    prelu(x, weight)                                  prelu_grad_x, prelu_grad_weight

`input` is [N, C]; `reduction` may be "none" here, and the loss then is [N, C], or [N] of
`nll_loss` and the last two.  Gradients take dy, the arrays and the options of the forward function
(`gradoracle explain NAME` has every signature).

The last two are PyTorch's `cross_entropy` with all of its options, of classes int64 [N] and of
probabilities [N, C] whose rows add up to 1.  What is ignored has a loss of 0, also where its
logits are NaN; of its gradient there a NaN is as good as 0.  Not all targets of a mean are ignored.

    zero_pad2d(x, *, padding) -> y      zero_pad2d_grad_input(grad_output, *, padding) -> dx
    reflection_pad2d, replication_pad2d, circular_pad2d, and their gradients, likewise, and all of
    them as zero_pad1d, zero_pad3d, ...
    pixel_shuffle(x, *, upscale_factor) -> y        pixel_shuffle_grad_input(grad_output, *, ...)
    pixel_unshuffle(x, *, downscale_factor) -> y    pixel_unshuffle_grad_input(grad_output, *, ...)
    unfold(x, *, kernel_size, stride, padding, dilation) -> columns [N, C*KH*KW, OH*OW]
    unfold_grad_input(grad_output, *, input_shape, <the same options>) -> dx
    fold(x, *, output_size, kernel_size, stride, padding, dilation) -> y [N, C, *output_size]
    fold_grad_input(grad_output, *, kernel_size, stride, padding, dilation) -> dx

Of these `x` is [N, C, H, W], and columns of `fold`.  `padding` of an image is (left, right, top,
bottom), of a sequence (left, right), of a volume (left, right, top, bottom, front, back), none
negative: at most one pixel less than the side for reflection, and at most the side
around the edge.  `unfold` is known as im2col and pads by zeros; `fold`, col2im, adds what overlaps.
    matmul(input, other)                    input [N, K], other [K, M]
    matmul_grad_input(grad_output, other)   matmul_grad_other(grad_output, input)
    bmm(input, mat2)                        input [N, P, K], mat2 [N, K, Q]
    bmm_grad_input(grad_output, mat2)       bmm_grad_mat2(grad_output, input)
    broadcast_matmul(input, other)          all that torch.matmul takes, of one to four axes
    broadcast_matmul_grad_input(grad_output, other, *, input_shape)
    broadcast_matmul_grad_other(grad_output, input, *, other_shape)
    bilinear(input1, input2, weight, bias=None)     [N, A], [N, B], [M, A, B] and [M]
    bilinear_grad_input1(grad_output, input2, weight)       bilinear_grad_bias(grad_output)
    bilinear_grad_input2(grad_output, input1, weight)
    bilinear_grad_weight(grad_output, input1, input2)

A batch along which an operand of `broadcast_matmul` was broadcast is summed over in its gradient.

    rotary_embedding(x, cos, sin, *, interleaved, offset)   x [N, H, T, E], tables [M, D]
    rotary_embedding_grad(grad_output, cos, sin, *, interleaved, offset)
    scaled_dot_product_attention(query, key, value, attn_mask=None, *, is_causal, scale, enable_gqa)
    scaled_dot_product_attention_grad_query, _grad_key, _grad_value, _grad_attn_mask

Step t of x is turned by row t + offset of the tables, its first 2D features only: pairs of
neighbours if `interleaved`, else of features D apart.  `query` is [N, Q, L, E], `key` [N, H, S, E],
`value` [N, H, S, V], `attn_mask` [N, Q, L, S], bool (True is seen) or numbers that are added, minus
infinity among them.  Q is H or, with enable_gqa, a multiple of it: query head q reads key head
q // (Q / H).  With is_causal there is no mask, and row i sees keys 0 to i.  scale=None is
1 / sqrt(E).  A row that sees nothing is 0.  There is no gradient by a mask of bool.
    embedding(input, weight, *, padding_idx) -> y         input int64 [N, T], weight [V, D]
    gather(input, index, *, axis) -> y                    index int64, of y's shape
    scatter_add(input, index, src, *, axis) -> y          index int64, of src's shape
    index_select(input, index, *, axis) -> y              index int64 [K]
    cat(first, second, third=None, *, axis) -> y          its gradients are the parts of dy
    split(input, *, sections, axis) -> (first, second)    sections: two lengths
    cumsum(input, *, axis) -> y                           of input's shape
    add(input, other, *, alpha) -> input + alpha * other  the shapes are broadcast together
    dropout_with_mask(z, mask, *, p) -> y                 mask bool, True where z is kept

with their gradients, `embedding_grad`, `gather_grad`, `index_select_grad`, `cumsum_grad`,
`scatter_add_grad_input` and `_src`, `cat_grad_first`, `_second` and `_third`, `add_grad_input` and
`_other`, of dy, all arrays and all options; `dropout_with_mask_grad(grad_output, mask, *, p)`.
Repeated indices add up.  The row padding_idx (None: there is none; below 0: from the last row) is
returned as it is, and has a gradient of 0; a dy there that is not finite may make it NaN.  Beside
`axis`, `index` is at most as long as `input`.  For p = 1 a dropout is 0; what is not finite and not
kept is open.

    ema(average, value, *, decay) -> decay * average + (1 - decay) * value
    sgd_momentum_step(parameter, gradient, momentum_buffer=None, *, learning_rate, momentum,
                      dampening, weight_decay, nesterov) -> (new_parameter, new_momentum_buffer)
    adam_step(parameter, gradient, exp_avg, exp_avg_sq, *, learning_rate, beta1, beta2, eps,
              weight_decay, step) -> (new_parameter, new_exp_avg, new_exp_avg_sq)
    adamw_step(<the same>) -> <the same>
    clip_grad_norm(first, second, *, max_norm) -> (clipped_first, clipped_second, total_norm)

as PyTorch's optimisers and `clip_grad_norm_` have them.  `step` is 1 in the first step of Adam,
and without a buffer, SGD's becomes the gradient.  `clip_grad_norm` takes one norm of both arrays.

    batch_mean(gradient_per_image) -> the mean over axis 0
    sgd_step(parameter, gradient, *, learning_rate) -> parameter - learning_rate * gradient

Beside its gradients, a backend may have derivatives along tangents, which are arrays of their
argument's shape and dtype, or None by what is None:

    NAME_jvp(<the tangent of each argument with a gradient>, <all that NAME takes>) -> that of y
    NAME_double_backward(<these tangents>, grad_output, <all that NAME takes>) -> (ddy, dx, dweight)

of the convolutions, the transposed ones, linear, matmul, bmm and broadcast_matmul, and NAME_jvp of
the activations whose elements are each made of one number.  `NAME_double_backward` returns the
gradients of <dx, x_tangent> + <dweight, weight_tangent> + <dbias, bias_tangent>, of which dx,
dweight and dbias are those of NAME at grad_output: by grad_output, and by both factors.

Each function is called with its arrays by position and its options by name. Arrays are NumPy's, in
any memory layout that NumPy has: rows, columns or channels first, with gaps, backwards, one place
for all elements (strides of 0), at any address, read-only (see
`conformance.drawing.memory_layouts`). Arrays that are not aligned to their elements may be refused,
but not misread.

What every backend promises:

- the result is a new array of the documented shape, in the dtype of the inputs, and the inputs
  are as they were;
- gradients are summed over the batch, never averaged; pixels that no window reaches get 0;
- padding adds no term; an empty batch is legal and gives an empty result and zero dw and db;
- illegal arguments (a kernel larger than the padded image, groups that do not divide, a stride
  or dilation of 0, negative padding, shapes that do not fit each other) end in no crash and no
  hang; with the policy "bad_arguments": "raise" they raise an exception, at the latest when the
  result is read;
- what it cannot do raises NotImplementedError: it is counted as declined, never as passed; so is a
  call with an array of more than 8192 elements for which it runs out of memory.

A backend with arrays of its own adds `from_numpy(array)` and `to_numpy(array)`, which reads results
and what `from_numpy` made.  That is viewed (sliced, permuted), where arrays of that kind can be, so
that they come in any layout, too.  Without them it is given NumPy arrays and may return NumPy ones
(exactly `numpy.ndarray`: a subclass can overload what it is compared by) or anything that speaks
DLPack.

`contract`, an optional dict, says what the backend claims:

    contract = {
        "functions": ["conv2d", "conv2d_grad_input"],   # default: every function it has
        "dtypes": ["float32", "float16", "bfloat16"],   # default: float32 and float64
        "not_claimed": {"float16": ["conv2d"]},         # functions that a dtype is not claimed of
        "accumulators": {"float32": "float64",          # default: the dtype itself
                         "float16": "float32"},
        "algorithms": {"conv2d": "winograd4",           # see below; default: "direct"
                       "conv2d_grad_input": "fft"},
        "policies": {"ties": "any-subgradient",         # max pooling: any maximum may win a tie
                     "nan": "any",                      # and any NaN; default of both: "first"
                     "repeats": "bitwise",              # the same bits every time; default: "any"
                     "non_finite": "window",            # see below; default: "plane"
                     "subnormals": "kept",              # not flushed to zero; default: "any"
                     "bad_arguments": "raise",          # refused, see below; default: "any"
                     "labels": "int32",                 # conventions, see below
                     "indices": "int32"},
        "deviations": [                                 # what it is known to do otherwise
            {"formula": "conv2d", "property": "rejects_bad_arguments",
             "reason": "a stride of 0 hangs"},
            {"formula": "relu_grad", "reason": "drops a NaN"},    # any of relu_grad's properties
        ],
        "runs_on": "NVIDIA H200, CUDA 12.8",            # printed beside the verdict
        "domain": {"conv2d": {"stride": 1, "padding": [0, 1], "p": "== q", "c": "% 4 == 0",
                              "bias": "required"}},     # what it is made for: see below
        "shapes": "expensive",                          # each costs much: see below
        "assumes": ["dw holds zeros before a call"],    # of its caller; printed with the verdict
    }

A domain says which calls a function is made for, and no others are made: what is drawn is drawn
inside.  Keys are options, optional arguments, letters of axes, and of operators that take any
number of axes "axes", "size" (the elements of an array) and "length" (those along the option axis);
`gradoracle explain conv2d` lists them; an operator's entry is also its
gradients', unless a function has an entry of its own.  A value is a number, a list of numbers or
names, a pair as "(3, 1)", a range "1..8", a remainder "% 4 == 0", another size "== q", and of
arrays "required" or "absent"; or the whole entry is a text, "stride = 1, p == q, bias required".
An option that the signature of a function lacks has its neutral value and is not passed; without
`stride` a pooling's is its kernel_size, without `axis` a softmax is along the last.

With "shapes": "expensive", all checks of a function share a few geometries, drawn from the run's
seed, and each of them is checked with many values.  Corners, combinations of options and layers of
networks with one option changed, which have a shape each, are left out; the certificate says so.

Where no conditions say it, a function `supports(function, sizes, options) -> bool` beside the
others is asked before each call: of the function's name, the lengths of axes by letter, and the
options, with True or False for each optional array ("bias").  Calls that it does not take are not
made, more are drawn in their place, and the verdict has its share of them.

What is not claimed is printed as not claimed.  An accumulator is what every sum is held in, and
every elementary function computed in, before the result is rounded once to its dtype, to nearest:
it holds at least what the dtype does.
The sums of n terms have no bound where n * 2**-bits reaches 1, bits being the significand's: 2048
in float16 and 256 in bfloat16, as accumulators of their own.  There, and where a sum may overflow,
only exact data check.  Options that are numbers (negative_slope, learning_rate) are the dtype's.

"direct" computes the formula's own sum, in any order: exact where whole numbers leave no rounding,
and otherwise off by a share of each element's own terms. "winograd2", "winograd4" and "winograd6"
(the sides of the tiles of outputs that are computed together) and "fft" transform planes: they are
exact on no numbers, and their errors are bounded by norms of whole planes
(`oracle.expected.transform_bounds`). Small errors beside large numbers then pass, and real layers
are not checked. Convolutions and their gradients by input and weight may be so; by Winograd's where
stride and dilation are 1 and a tile, its kernel's margin included, has at most 8 pixels a side. The
function is direct elsewhere.

NumPy has bfloat16 from ml_dtypes: arrays are of `ml_dtypes.bfloat16`, in and out, and since NumPy
reads none through DLPack, a backend with arrays of its own needs `to_numpy` for it.  Rounding
float64 to it, ml_dtypes goes through float32: that is an accumulator of float32.

NaN and infinities in the arguments show wherever the formula sums them, also times 0: a factor of 0
may not be skipped, for 0 times NaN is NaN.  But an implementation may multiply with zeros of its
own (padding, gaps of a stride or a dilation, transformed tiles), and so lose more.  "plane":
elsewhere in the planes [H, W] of the same images and channels too, and an infinity may become NaN.
"window": nowhere else and with their signs, but for weights, their gradients and dilations, where
padding and gaps are unavoidable.  "any": nothing is claimed.

"bad_arguments": "raise" claims that whatever the protocol's formulas refuse is refused, also what
a library may document as more than the protocol (unbatched input, one number for a pair,
broadcasting): a backend that takes more does not claim it.  Without the claim, bad arguments are
given all the same: what is accepted is a note in the certificate, a crash or a hang a mismatch.

Where libraries have other conventions, policies name them (the default in parentheses):

- "ties": "split" ("first"): max_pool2d_vjp shares a gradient equally among equal maxima; which of
  them the indices name is open, and how several NaN share.  So do the derived gradients of formulas
  with `maximum` and `max`.
- "nan": "dropped" ("first"): a NaN is never a maximum; of a window of NaN alone, NaN or minus
  infinity.  relu, relu6, hardtanh and hardsigmoid have one of their limits, or NaN, at a NaN.
- "variance": "one-pass" ("two-pass"): normalisations take the mean of squares less the squared
  mean.
- "log_sum_exp": "unshifted" ("shifted"): cross-entropies and log_softmax subtract x from the
  rounded log(sum e^x).
- "labels": "int32" or "one-hot" ("int64"): `target` is int32 [N], or 1 at the class and else 0, in
  the logits' dtype [N, C]; the loss of an impossible class is then open (0 times infinity).
- "indices": "int32" ("int64"): of max pooling, returned and taken.
- "index_origin": "global" ("plane"): they count in the whole array, ((n*C + c)*H + h)*W + w.
- "relu_at_zero", "leaky_relu_at_zero": 0.5 or 1 (0): the derivative at 0 is that share of the way
  from the negative side's slope to the positive side's, 1.
- "alignment": 16 ("element"): contiguous arrays have addresses that are multiples of 16 bytes, as
  CUDA and malloc allocate them; kernels that read float4 need that.
- "causal": "bottom-right" ("top-left"): with is_causal the last row of the query sees all keys, and
  row i those up to i + S - L.
- "masked_rows": "any" ("zero"): what attention gives for a row that sees no key, NaN for one, is
  open, and so is what goes back from it.
- "attention_operands": "dtype" ("accumulator"): operands of matrix products that attention computes
  itself (the weights, the gradient of the scores, a scaled query or key) are rounded to the arrays'
  dtype, as kernels for tensor cores do, and gradients are computed from the rounded y.

Policies that claim more than right values, none of them by default:

- "batch": "bitwise": an image (a row, along the axis n of `gradoracle explain`) gives the same bits
  alone, in any batch, and at any place of it.
- "threads": "safe": two calls at once, from two threads, give what they give alone.
- "accumulate": functions whose signature has the keyword-only argument `out` write their result
  into it, an array of the result's shape and dtype that holds anything, NaN too.  "beta": those
  that have `beta`, too, leave beta * out + result there; with beta = 0 what `out` held is not read,
  as in BLAS.  "adds": they always add the result to what `out` holds.  What they return then does
  not matter.  Nothing before or behind `out` is written.
- "output_mask": "selects": `NAME_backward(grad_output, <all that NAME takes>, output_mask)` returns
  a tuple of the gradients in the order of the arguments; of those whose entry of the mask is False
  it has None, as torch.ops.aten.convolution_backward.  What is None has the entry False.

A deviation is checked all the same: where it shows, it is printed with its reason and is no
mismatch.  An entry can record the call that shows it ("call": the outcome's `recorded` in the
certificate's JSON).  Where no check meets the deviation, that call is made again; if it is right,
the run fails: remove the entry.  Without a recorded call the certificate says that it was not met.
"""

import json
import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gradoracle.conformance import DOMAIN
from gradoracle.conformance import POLICIES as OF_THE_RUN
from gradoracle.conformance.backends.caller import printable
from gradoracle.conformance.backends.listed import listed
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.domain import REQUIRED, Domain, domains_in, names_of, read
from gradoracle.oracle.declaration import output_of
from gradoracle.oracle.expected.transform_bounds import ALGORITHMS, DIRECT, is_transformable
from gradoracle.oracle.float_formats import FORMATS

DTYPES = tuple(FORMATS)
DEFAULT = ("float32", "float64")  # halves are checked only where they are claimed
KEYS = (
    "functions", "dtypes", "not_claimed", "accumulators", "algorithms", "policies", "deviations",
    "runs_on", "domain", "shapes", "assumes",
)  # fmt: skip
POLICIES: dict[str, tuple[str | float, ...]] = {  # the default first
    "ties": ("first", "any-subgradient", "split"), "nan": ("first", "any", "dropped"),
    "repeats": ("any", "bitwise"),
    "non_finite": ("plane", "window", "any"), "subnormals": ("any", "kept"),
    "bad_arguments": ("any", "raise"),
    "labels": ("int64", "int32", "one-hot"),
    "variance": ("two-pass", "one-pass"), "log_sum_exp": ("shifted", "unshifted"),
    "indices": ("int64", "int32"), "index_origin": ("plane", "global"),
    "relu_at_zero": (0, 0.5, 1), "leaky_relu_at_zero": (0, 0.5, 1),
    "alignment": ("element", 16),
    "causal": ("top-left", "bottom-right"), "masked_rows": ("zero", "any"),
    "attention_operands": ("accumulator", "dtype"),
    "batch": ("any", "bitwise"), "threads": ("any", "safe"),
    "accumulate": ("none", "out", "beta", "adds"), "output_mask": ("none", "selects"),
}  # fmt: skip
SHAPES = ("any", "expensive")  # the default first
EXPENSIVE = SHAPES[1]
EVERY = "*"  # as a deviation's property: any of its formula's
LONGEST = 200  # characters that are printed beside the verdict, and must not bury it
TRANSFORMABLE = OPERATORS.names(
    lambda: (
        output_of(formula).function
        for operator in OPERATORS
        for formula in operator.formulas
        if is_transformable(formula)
    )
)
OF_FUNCTION = OPERATORS.table(
    lambda: {output_of(f).function: one for one in OPERATORS for f in one.formulas}
)
LIKE = '{"stride": 1, "p": "== q", "c": "% 4 == 0", "bias": "required"}'
DEVIATION = '{"formula": "conv2d", "property": "matches_oracle", "reason": "why"}'


@dataclass(frozen=True)
class Deviation:
    """A fault that a backend says it has: one check, or all of a formula's, and why."""

    formula: str
    reason: str
    property: str = EVERY
    call: str = ""  # that shows it, as JSON: see `conformance.checking.recorded`

    def covers(self, formula: str, property_name: str) -> bool:
        """Return whether the entry is about this check."""
        return self.formula == formula and self.property in (EVERY, property_name)


@dataclass(frozen=True)
class Contract:
    """What a backend claims; the defaults are what it claims by saying nothing."""

    functions: tuple[str, ...] | None = None  # None: every function of the protocol that it has
    dtypes: tuple[str, ...] = DEFAULT
    not_claimed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # dtype -> functions
    accumulators: Mapping[str, str] = field(default_factory=dict)
    algorithms: Mapping[str, str] = field(default_factory=dict)  # of functions
    policies: Mapping[str, str | float] = field(default_factory=dict)
    deviations: tuple[Deviation, ...] = ()
    runs_on: str = ""  # in the backend's own words; nobody checks it
    domain: Mapping[str, str] = field(default_factory=dict)  # of operators and functions
    shapes: str = SHAPES[0]  # whether each costs much
    assumes: tuple[str, ...] = ()  # what a caller must do, in words

    def domain_of(self, function: str) -> Domain:
        """Return the declared conditions on a function's calls: its own, or its operator's."""
        operator = OF_FUNCTION.get(function)
        if operator is None:  # of a record that is not among the operators
            return ()
        of = function if function in self.domain else operator.name
        return read(self.domain.get(of, ""), names_of(operator.formulas), of)

    def deviation(self, formula: str, property_name: str) -> Deviation | None:
        """Return the entry that says why a check need not hold, if there is one."""
        found = (one for one in self.deviations if one.covers(formula, property_name))
        return next(found, None)

    def dtypes_of(self, functions: Sequence[str]) -> tuple[str, ...]:
        """Return the dtypes that all of these functions are claimed in."""
        return tuple(
            dtype
            for dtype in self.dtypes
            if not any(name in self.not_claimed.get(dtype, ()) for name in functions)
        )

    def rule(self, policy: str) -> str | float:
        """Return the rule that the backend follows, the default if it names none."""
        return self.policies.get(policy, POLICIES[policy][0])

    def accumulator(self, dtype: str) -> str:
        """Return the format that sums of `dtype` products are held in."""
        return self.accumulators.get(dtype, dtype)

    def algorithm(self, function: str) -> str:
        """Return how the function computes its sums."""
        return self.algorithms.get(function, DIRECT)


def read_contract(value: object, known_functions: Sequence[str]) -> Contract:
    """Return the contract that a backend's `contract` attribute states.

    Raises:
        ValueError: a key, function, dtype, accumulator, algorithm or policy that the protocol does
            not have, or a deviation without a reason.
    """
    if value is None:
        value = {}
    if not isinstance(value, Mapping):
        raise ValueError(f"contract must be a dict with keys among {[*KEYS]}, got {value!r}")
    for key in value:
        _require("contract key", key, KEYS)
    functions = None
    if value.get("functions") is not None:
        names = _names(value, "functions")
        functions = tuple(_require("function", f, known_functions) for f in names)
    dtypes = tuple(_require("dtype", d, DTYPES) for d in _names(value, "dtypes", DEFAULT))
    if not dtypes:
        raise ValueError(f"contract claims no dtype; pick from {[*DTYPES]}")
    not_claimed = _not_claimed(_given(value, "not_claimed", {}), dtypes, known_functions)
    accumulators = _choices(value, "accumulators")
    for dtype, accumulator in accumulators.items():
        _require("dtype", dtype, DTYPES)
        _require(f"accumulator of {dtype}", accumulator, tuple(FORMATS))
        wide, narrow = FORMATS[accumulator], FORMATS[dtype]
        if wide.bits < narrow.bits or wide.subnormal_scale < narrow.subnormal_scale:
            raise ValueError(f"accumulator of {dtype} {accumulator!r} holds less than {dtype}")
    algorithms = _choices(value, "algorithms")
    for function, algorithm in algorithms.items():
        _require("function with a choice of algorithms", function, TRANSFORMABLE)
        _require(f"algorithm of {function}", algorithm, ALGORITHMS)
    of_run = policies_in(os.environ.get(OF_THE_RUN, ""))
    policies = _policies({**_choices(value, "policies"), **of_run})
    deviations = _deviations(_given(value, "deviations", ()), listed())
    where = value.get("runs_on")
    runs_on = "" if where is None else _words("runs_on needs a text", where)
    return Contract(
        functions, dtypes, not_claimed, accumulators, algorithms, policies, deviations, runs_on,
        _domain(_choices(value, "domain")),
        _require("shapes", _given(value, "shapes", SHAPES[0]), SHAPES),
        tuple(_words("assumes needs texts", one) for one in _names(value, "assumes")),
    )  # fmt: skip


def _domain(value: Mapping[str, Any]) -> dict[str, str]:
    """Return the domains of a contract in words, and those of the run, which rule.

    An array that the contract requires stays so where the run says nothing of it.
    """
    known = {operator.name: operator for operator in OPERATORS} | {**OF_FUNCTION}
    found = {}
    for name, entry in {**value, **_given_with_the_run(value)}.items():
        operator = known[_require("operator or function with a domain", name, (*known,))]
        if not isinstance(entry, Mapping | str):
            raise ValueError(f"domain of {name} must be a dict such as {LIKE}, got {entry!r:.60}")
        conditions = read(entry, names_of(operator.formulas), name)
        said = {condition.name for condition in conditions}
        own = read(value.get(name, ""), names_of(operator.formulas), name)
        kept = (one for one in own if one.rule.word == REQUIRED and one.name not in said)
        found[name] = ", ".join(condition.text for condition in (*conditions, *kept))
    return found


def _given_with_the_run(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the domains that a run was given, and for whom.

    A gradient's own entry goes before its operator's, but not where it only says that arrays are
    required: adapters write that of functions without a default for them.
    """
    given: dict[str, Any] = dict(domains_in(os.environ.get(DOMAIN, "")))
    for name, entry in value.items():
        operator = OF_FUNCTION.get(name)
        if operator is None or operator.name not in given or name in given:
            continue
        own = read(entry, names_of(operator.formulas), name)
        if all(condition.rule.word == REQUIRED for condition in own):
            given[name] = given[operator.name]
    return given


def _not_claimed(
    value: object, dtypes: Sequence[str], known: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, Mapping) or not all(
        isinstance(names, Collection) and not isinstance(names, str) for names in value.values()
    ):
        raise ValueError(
            'contract\'s not_claimed must be a dict such as {"float16": ["conv2d"]}, got '
            f"{value!r}"
        )
    return {
        _require("claimed dtype", dtype, dtypes): tuple(
            _require("function", name, known) for name in names
        )
        for dtype, names in value.items()
    }


def policies_in(text: str) -> dict[str, str | float]:
    """Return what a text such as "nan = dropped, relu_at_zero = 0.5" says, by name.

    Raises:
        ValueError: a part of it names nothing, or no policy or rule that there is.
    """
    found: dict[str, str | float] = {}
    for part in filter(str.strip, re.split("[,;]", text)):
        name, equals, rule = (word.strip() for word in part.partition("="))
        if not (equals and name and rule):
            raise ValueError(
                f"{part.strip()!r} is no policy; write one like  nan = dropped, relu_at_zero = 0.5"
            )
        found[name] = float(rule) if re.fullmatch(r"\d*\.?\d+", rule) else rule
    return _policies(found)


def _policies(given: Mapping[Any, Any]) -> dict[str, str | float]:
    """Return the rules as `POLICIES` has them: 1.0 is 1 there."""
    rules: dict[str, str | float] = {}
    for policy, rule in given.items():
        legal = POLICIES[_require("policy", policy, tuple(POLICIES))]
        known = (one for one in legal if one == rule and not isinstance(rule, bool))
        found = next(known, None)
        if found is None:
            raise ValueError(f"rule of {policy} {rule!r} is unknown; pick from {[*legal]}")
        rules[policy] = found
    return rules


def _deviations(value: object, more: Sequence[Mapping[str, Any]]) -> tuple[Deviation, ...]:
    """Return the deviations of a contract, and more of them that it need not repeat."""
    if not isinstance(value, (list, tuple)) or not all(isinstance(v, Mapping) for v in value):
        raise ValueError(
            f"contract's deviations must be a list of dicts such as {DEVIATION}, got {value!r}"
        )
    own = [*map(_deviation, value)]
    found: list[Deviation] = []
    for entry in (*own, *(one for one in map(_deviation, more) if one not in own)):
        for other in found:
            if entry.formula == other.formula and (
                EVERY in (entry.property, other.property) or entry.property == other.property
            ):
                raise ValueError(
                    f"deviations list {entry.formula} twice, for {other.property} and "
                    f"{entry.property}: every check has one reason"
                )
        found.append(entry)
    return tuple(found)


def _deviation(entry: Mapping[str, Any]) -> Deviation:
    for key in entry:
        _require("key of a deviation", key, ("formula", "property", "reason", "call"))
    formula, name = entry.get("formula"), _given(entry, "property", EVERY)
    if not isinstance(formula, str) or not isinstance(name, str):
        raise ValueError(f"a deviation must be like {DEVIATION}, got {dict(entry)!r}")
    reason = _words(f"the deviation of {formula} needs a reason", entry.get("reason"))
    call = entry.get("call")
    if call is not None and not isinstance(call, Mapping):
        raise ValueError(
            f"the call of the deviation of {formula} must be a dict of its arguments, as a "
            f"certificate's JSON records it, got {call!r:.60}"
        )
    return Deviation(formula, reason, name, "" if call is None else json.dumps({**call}))


def _words(what: str, value: object) -> str:
    text = " ".join(value.split()) if isinstance(value, str) else ""
    if not 0 < len(text) <= LONGEST:
        raise ValueError(f"{what} of 1 to {LONGEST} characters, got {value!r}")
    return printable(text)


def _given(contract: Mapping[str, Any], key: str, default: Any) -> Any:
    """Return what a contract says of `key`; None and an absent key both say nothing."""
    value = contract.get(key)
    return default if value is None else value


def _names(contract: Mapping[str, Any], key: str, default: Sequence[str] = ()) -> Sequence[Any]:
    names = _given(contract, key, default)
    if isinstance(names, str) or not isinstance(names, Collection):
        raise ValueError(f"contract's {key} must be a list of names, got {names!r}")
    return [*names]


def _choices(contract: Mapping[str, Any], key: str) -> dict[Any, Any]:
    choices = _given(contract, key, {})
    if not isinstance(choices, Mapping):
        raise ValueError(f"contract's {key} must be a dict of names, got {choices!r}")
    return {**choices}


def _require(what: str, value: object, legal: Sequence[str]) -> str:
    if value not in legal:
        raise ValueError(f"{what} {value!r} is unknown; pick from {[*legal]}")
    return str(value)
