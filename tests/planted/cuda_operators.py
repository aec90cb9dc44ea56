"""Faults in the text of the CUDA kernels of normalisations, losses, attention and other operators."""

from tests.planted.cuda import CudaFault

FAULTS = {
    "sum_for_all_reads_before_all_is_there": CudaFault(
        "race", "layer_norm", "common.cuh",
        "    if (threadIdx.x % LANES == 0) parts[threadIdx.x / LANES] = part;\n    __syncthreads();\n",
        "    if (threadIdx.x % LANES == 0) parts[threadIdx.x / LANES] = part;\n",
    ),
    "sum_for_all_overwrites_what_others_read": CudaFault(
        "race", "rms_norm", "common.cuh",
        "    __syncthreads();  // before the next sum's parts take their places\n",
        "",
    ),
    "sum_for_all_names_half_of_the_lanes": CudaFault(
        "absent lane", "layer_norm", "common.cuh",
        "{ return 0xffffffffu >> (LANES - lanes()); }",
        "{ return 0xffffu >> (LANES - lanes()) / 2; }",
    ),
    "sum_for_all_leaves_out_the_other_warps": CudaFault(
        "tail", "instance_norm", "common.cuh",
        "warp < blockDim.x / LANES; ++warp) sum += parts[warp];",
        "warp < blockDim.x / LANES - 1; ++warp) sum += parts[warp];",
    ),
    "layer_norm_variance_in_one_pass": CudaFault(
        "one pass", "layer_norm", "normalisation.cu",
        "            sum += (number(k) - mean) * (number(k) - mean);\n        squares = sum_for_all(sum);",
        "            sum += number(k) * number(k);\n        squares = sum_for_all(sum) - A(sets.length) * mean * mean;",
    ),
    "normalise_grad_x_in_one_branch": CudaFault(
        "divergent barrier", "group_norm", "normalisation.cu",
        "    along = sum_for_all(along) / A(sets.length);",
        "    along = (threadIdx.x || sets.length < 2 ? sum_for_all(along) : along) / A(sets.length);",
    ),
    "normalise_reads_beyond_its_row": CudaFault(
        "tail", "layer_norm", "normalisation.cu",
        "        const A xhat = (of.number(k) - of.mean) / root;\n",
        "        const A xhat = (of.number(k + 1) - of.mean) / root;\n",
    ),
    "batch_norm_takes_images_side_by_side": CudaFault(
        "strides", "batch_norm", "normalisation.cu",
        "return set * step + (I)(k / run) * jump + k % run;",
        "return set * length + k;",
    ),
    "normalise_grad_weight_takes_a_term_too_many": CudaFault(
        "tail", "layer_norm", "normalisation.cu",
        "term < images * pixels; term += blockDim.x) {\n        const I n",
        "term <= images * pixels; term += blockDim.x) {\n        const I n",
    ),
    "pointwise_without_a_tail": CudaFault(
        "tail", "silu", "further_activations.cu",
        "at < count; at += step<I>()) y[at] = (T)f((A)z[at]);",
        "at <= count; at += step<I>()) y[at] = (T)f((A)z[at]);",
    ),
    "pointwise_grad_in_pairs": CudaFault(
        "tail", "mish", "further_activations.cu",
        "        dz[at] = (T)((A)dy[at] * slope((A)z[at]));",
        "        for (I i = 2 * at; at < (count + 1) / 2 && i < 2 * at + 2; ++i) dz[i] = (T)((A)dy[i] * slope((A)z[i]));",
    ),
    "gelu_of_halves_in_half_precision": CudaFault(
        "half accumulation", "gelu", "further_activations.cu",
        "return z * (A(1) + error_function(z * A(SQRT_HALF))) / A(2);",
        "return (A)(T)(z * (A)(T)(A(1) + error_function(z * A(SQRT_HALF)))) / A(2);",
        dtype="float16",
    ),
    "prelu_takes_the_last_axis_for_channels": CudaFault(
        "strides", "prelu", "gated.cu",
        "weight[at / pixels % channels]",
        "weight[at % channels]",
    ),
    "prelu_grad_weight_leaves_out_the_last_term": CudaFault(
        "tail", "prelu", "gated.cu",
        "term < images * pixels;",
        "term < images * pixels - 1;",
    ),
    "glu_reads_beyond_its_rows": CudaFault(
        "out of bounds", "glu", "gated.cu",
        "(A)row[at % half + half]",
        "(A)row[at % half + half + 1]",
    ),
    "partial_sums_forget_the_last_part_is_short": CudaFault(
        "tail", "mse_loss", "sums.cu",
        "end = min(start + length, count);",
        "end = start + length;",
    ),
    "each_grad_takes_one_dy_for_many": CudaFault(
        "out of bounds", "l1_loss", "elementwise_losses.cu",
        "dy[each ? at : 0]",
        "dy[at]",
    ),
    "bce_weight_of_the_element": CudaFault(
        "out of bounds", "binary_cross_entropy_with_logits", "elementwise_losses.cu",
        "const A factor = weight ? A(1) + ((A)weight[at % classes] - A(1)) * t : A(1);",
        "const A factor = weight ? A(1) + ((A)weight[at] - A(1)) * t : A(1);",
    ),
    "nll_weighs_what_is_ignored": CudaFault(
        "out of bounds", "nll_loss", "class_losses.cu",
        "const A w = counts ? weight_of<A>(weight, target[n]) : A(0);",
        "const A w = weight_of<A>(weight, target[n]);",
    ),
    "cross_entropy_loss_forgets_the_largest": CudaFault(
        "overflow", "cross_entropy_loss", "class_losses.cu",
        "        for (I c = 1; c < classes; ++c)\n            if ((A)z[c] > top) top = (A)z[c];\n",
        "",
    ),
    "soft_target_leaves_out_the_last_class": CudaFault(
        "tail", "soft_target_cross_entropy", "soft_losses.cu",
        "for (I c = 0; c < classes; ++c) loss +=",
        "for (I c = 0; c < classes - 1; ++c) loss +=",
    ),
    "log_softmax_grad_begins_late": CudaFault(
        "tail", "log_softmax", "softmax.cu",
        "for (I k = 0; k < length; ++k) sum += (A)dy",
        "for (I k = 1; k < length; ++k) sum += (A)dy",
    ),
    "adaptive_pool_ends_too_early": CudaFault(
        "tail", "adaptive_avg_pool2d", "adaptive_pool.cu",
        "* pixels + windows - 1) / windows",
        "* pixels) / windows",
    ),
    "adaptive_pool_reads_a_row_too_many": CudaFault(
        "out of bounds", "adaptive_avg_pool2d", "adaptive_pool.cu",
        "h < end_of(i, s.H, s.OH); ++h)",
        "h <= end_of(i, s.H, s.OH); ++h)",
    ),
    "sums_at_read_beyond_the_last_key": CudaFault(
        "out of bounds", "embedding", "indexing.cu",
        "key < sources && keys[key] < end",
        "keys[key] < end",
    ),
    "sums_at_leave_out_the_first_source": CudaFault(
        "tail", "embedding", "indexing.cu",
        "if (keys[middle] < key)",
        "if (keys[middle] <= key)",
    ),
    "gather_takes_the_sides_of_the_index": CudaFault(
        "strides", "gather", "indexing.cu",
        "((c0 * s.S1 + c1) * s.S2 + c2) * s.S3 + c3",
        "((c0 * s.I1 + c1) * s.I2 + c2) * s.I3 + c3",
    ),
    "scatter_add_forgets_what_was_there": CudaFault(
        "values", "scatter_add", "indexing.cu",
        "base ? (A)base[at] + sum : sum",
        "sum",
    ),
    "product_multiplies_before_all_is_there": CudaFault(
        "race", "matmul", "products.cu",
        "A(0);\n        __syncthreads();\n        for",
        "A(0);\n        for",
    ),
    "product_overwrites_what_others_read": CudaFault(
        "race", "bmm", "products.cu",
        "sum += left[row][k] * right[k][column];\n        __syncthreads();\n",
        "sum += left[row][k] * right[k][column];\n",
    ),
    "product_reads_beyond_the_last_term": CudaFault(
        "out of bounds", "matmul", "products.cu",
        "in_a = i < P && start + column < K",
        "in_a = i < P",
    ),
    "product_stores_columns_that_are_none": CudaFault(
        "out of bounds", "bmm", "products.cu",
        "if (i < P && j < Q) y",
        "if (i < P) y",
    ),
    "product_of_halves_rounds_every_sum": CudaFault(
        "half accumulation", "matmul", "products.cu",
        "sum += left[row][k] * right[k][column];",
        "sum = (A)(T)(sum + left[row][k] * right[k][column]);",
        dtype="bfloat16",
    ),
    "rotary_turns_a_feature_too_many": CudaFault(
        "out of bounds", "rotary_embedding", "rotary.cu",
        "if (e >= 2 * D) {",
        "if (e > 2 * D) {",
    ),
    "rotary_forgets_the_offset": CudaFault(
        "strides", "rotary_embedding", "rotary.cu",
        "c = (A)cos[(t + offset) * D + pair]",
        "c = (A)cos[t * D + pair]",
    ),
    "sgd_momentum_reads_a_buffer_that_is_none": CudaFault(
        "out of bounds", "sgd_momentum_step", "optimisers.cu",
        "const A b = buffer ? momentum",
        "const A b = true ? momentum",
    ),
    "adam_adds_eps_under_the_root": CudaFault(
        "values", "adam_step", "optimisers.cu",
        "square_root(v) / A(s.root) + A(s.eps)",
        "square_root(v + A(s.eps)) / A(s.root)",
    ),
    "adamw_decays_nothing": CudaFault(
        "values", "adamw_step", "optimisers.cu",
        "kept * (A)parameter[at] - update",
        "(A)parameter[at] - update",
    ),
}  # fmt: skip

# Single calls show these: the suite takes minutes to check attention in check mode.
ATTENTION = {
    "attention_keeps_the_old_normalizer": CudaFault(
        "running maximum", "scaled_dot_product_attention", "attention.cu",
        "normalizer = normalizer * factor + sum_for_all(power);",
        "normalizer = normalizer + sum_for_all(power);",
    ),
    "attention_begins_at_minus_infinity": CudaFault(
        "running maximum", "scaled_dot_product_attention", "attention.cu",
        "return top == -(A)INFINITY ? A(0) : top;",
        "return top;",
    ),
    "attention_hides_the_diagonal": CudaFault(
        "tail", "scaled_dot_product_attention", "attention.cu",
        "j > i % s.L",
        "j >= i % s.L",
    ),
    "attention_mixes_up_grouped_heads": CudaFault(
        "strides", "scaled_dot_product_attention", "attention.cu",
        "q % s.Q / (s.Q / s.H)",
        "q % s.H",
    ),
    "largest_for_all_without_a_barrier": CudaFault(
        "race", "scaled_dot_product_attention", "attention.cu",
        "of_warps[threadIdx.x / LANES] = mine;\n    __syncthreads();\n",
        "of_warps[threadIdx.x / LANES] = mine;\n",
    ),
    "attention_grad_query_overwrites_its_tile": CudaFault(
        "race", "scaled_dot_product_attention", "attention.cu",
        "                sum += ds[k - tile] * (A)keys[(I)k * s.E + c];\n        __syncthreads();\n",
        "                sum += ds[k - tile] * (A)keys[(I)k * s.E + c];\n",
    ),
}  # fmt: skip
