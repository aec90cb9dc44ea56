"""Faults planted in the text of our own CUDA kernels: a few words are exchanged in a .cu file."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CudaFault:
    """A fault: of which kind, in which file and operator, and what is written instead of what."""

    kind: str
    operator: str
    file: str
    right: str
    wrong: str
    only: str = "direct"  # the algorithm of convolutions that it is in
    dtype: str = "float32"  # that shows it


FAULTS = {
    # tails and accesses outside
    "conv2d_one_output_too_many": CudaFault(
        "tail", "conv2d", "conv2d.cu",
        "const I count = (I)s.N * s.M * s.OH * s.OW;", "const I count = (I)s.N * s.M * s.OH * s.OW + 1;",
    ),
    "conv2d_reads_a_row_too_many": CudaFault(
        "out of bounds", "conv2d", "conv2d.cu",
        "if (h < 0 || h >= s.H) continue;\n                for", "if (h < 0 || h > s.H) continue;\n                for",
    ),
    "conv2d_reads_left_of_a_row": CudaFault(
        "out of bounds", "conv2d", "conv2d.cu",
        "if (w < 0 || w >= s.W) continue;\n                    sum", "if (w < -1 || w >= s.W) continue;\n                    sum",
    ),
    "conv2d_grad_input_reads_a_window_too_many": CudaFault(
        "out of bounds", "conv2d", "conv2d.cu", "i >= s.OH) continue;", "i > s.OH) continue;",
    ),
    "channel_sums_reads_a_term_too_many": CudaFault(
        "tail", "conv2d", "conv2d.cu", "term < images * pixels;", "term <= images * pixels;",
    ),
    "max_pool2d_looks_before_the_plane": CudaFault(
        "out of bounds", "max_pool2d", "pooling.cu", "if (best < 0 || beats", "if (beats",
    ),
    "index_ranges_forget_the_last_part_is_short": CudaFault(
        "tail", "max_pool2d", "pooling.cu", "end = min(start + length, windows);", "end = start + length;",
    ),
    "max_pool2d_grad_input_forgets_the_last_part_is_short": CudaFault(
        "tail", "max_pool2d", "pooling.cu", "const I end = min((part + 1) * length, windows);",
        "const I end = (part + 1) * length;",
    ),
    "linear_grad_bias_one_too_many": CudaFault(
        "tail", "linear", "linear.cu", "m < M; m += step<I>()", "m <= M; m += step<I>()",
    ),
    "batch_mean_reads_an_image_too_many": CudaFault(
        "out of bounds", "batch_mean", "update.cu", "n < images; ++n", "n <= images; ++n",
    ),
    "relu_in_vectors_without_a_tail": CudaFault(
        "tail", "relu", "activations.cu",
        "        y[at] = (A)z[at] <= A(0) ? (T)A(0) : z[at];",
        "        for (I i = 4 * at; at <= (count - 1) / 4 && i < 4 * at + 4; ++i) y[i] = (A)z[i] <= A(0) ? (T)A(0) : z[i];",
    ),
    # races and barriers
    "block_sum_without_a_barrier": CudaFault(
        "race", "conv2d", "common.cuh", "        __syncthreads();\n", "",
    ),
    "block_sum_with_a_barrier_of_warps": CudaFault(
        "race", "conv2d", "common.cuh", "        __syncthreads();\n", "        __syncwarp();\n",
    ),
    "block_sum_of_everybody_at_once": CudaFault(
        "race", "conv2d", "common.cuh", "return threadIdx.x == 0 ? parts[0] : A(0);",
        "if (threadIdx.x) parts[0] += A(0) * parts[threadIdx.x];\n    return parts[0];",
    ),
    "block_sum_waits_in_one_branch": CudaFault(
        "divergent barrier", "conv2d", "common.cuh",
        "        __syncthreads();\n        if (threadIdx.x < half) parts",
        "        if (threadIdx.x < 2 * half) __syncthreads();\n        if (threadIdx.x < half) parts",
    ),
    "block_sum_returns_before_the_barrier": CudaFault(
        "early return", "conv2d", "common.cuh", "    parts[threadIdx.x] = part;\n",
        "    parts[threadIdx.x] = part;\n    if (threadIdx.x && part == A(0)) return A(0);\n",
    ),
    "block_sum_keeps_nothing_of_zeros": CudaFault(
        "uninitialised", "conv2d", "common.cuh", "    parts[threadIdx.x] = part;\n",
        "    if (part != A(0)) parts[threadIdx.x] = part;\n",
    ),
    "dw_is_written_by_all_threads": CudaFault(
        "race", "conv2d", "conv2d.cu", "if (threadIdx.x == 0) dw[at] = (T)sum;", "dw[at] = (T)sum;",
    ),
    "db_is_added_up_in_global_memory": CudaFault(
        "race", "conv2d", "conv2d.cu",
        "    sum = block_sum(sum);\n    if (threadIdx.x == 0) db[m] = (T)sum;",
        "    db[m] = T(0);\n    __syncthreads();\n    db[m] += (T)sum;",
    ),
    "loss_is_added_up_in_global_memory": CudaFault(
        "race", "cross_entropy", "cross_entropy.cu",
        "    sum = block_sum(sum);\n    if (threadIdx.x == 0) *loss = (T)(sum / divisor);",
        "    if (threadIdx.x == 0) *loss = T(0);\n    __syncthreads();\n    *loss += (T)(sum / divisor);",
    ),
    "linear_grad_weight_scatters": CudaFault(
        "race", "linear", "linear.cu",
        "    for (I at = first<I>(); at < M * C; at += step<I>()) {\n        const I m = at / C, c = at % C;\n"
        "        A sum = A(0);\n        for (I n = 0; n < N; ++n) sum += (A)dy[n * M + m] * (A)x[n * C + c];\n"
        "        dw[at] = (T)sum;\n    }",
        "    for (I at = first<I>(); at < M * C; at += step<I>())\n"
        "        for (I n = 0; n < N; ++n) dw[(at / 2) * 2] += dy[n * M + at / C] * x[n * C + at % C];",
    ),
    # strides, indices, limits
    "conv2d_takes_the_height_for_the_width": CudaFault(
        "strides", "conv2d", "conv2d.cu", "sum += (A)x[((n * s.C + from + c) * s.H + h) * s.W + w]",
        "sum += (A)x[((n * s.C + from + c) * s.W + h) * s.H + w]",
    ),
    "softmax_reads_neighbours": CudaFault(
        "strides", "softmax", "softmax.cu", "return exponential((A)z[k * inner] - top);",
        "return exponential((A)z[k] - top);",
    ),
    "softmax_starts_lines_one_after_another": CudaFault(
        "strides", "softmax", "softmax.cu", "return line / inner * length * inner + line % inner;",
        "return line * length;",
    ),
    "linear_takes_the_weight_transposed": CudaFault(
        "strides", "linear", "linear.cu", "sum += (A)x[n * C + c] * (A)weight[m * C + c];",
        "sum += (A)x[n * C + c] * (A)weight[c * M + m];",
    ),
    "cross_entropy_reads_targets_of_32_bits": CudaFault(
        "strides", "cross_entropy", "cross_entropy.cu", "((A)z[target[n]] - top);",
        "((A)z[((const int*)target)[n]] - top);",
    ),
    "relu_counts_in_16_bits": CudaFault(
        "index overflow", "relu", "activations.cu",
        "    for (I at = first<I>(); at < count; at += step<I>())\n        y[at] = (A)z[at] <= A(0)",
        "    for (I i = first<I>(); i < count; i += step<I>())\n        if (short at = i; true) y[at] = (A)z[at] <= A(0)",
    ),
    "relu_takes_one_step": CudaFault(
        "grid limit", "relu", "activations.cu",
        "    for (I at = first<I>(); at < count; at += step<I>())\n        y[at] = (A)z[at] <= A(0)",
        "    const I at = first<I>() & 0xffff;\n    if (at < count)\n        y[at] = (A)z[at] <= A(0)",
    ),
    "sums_are_bounded_to_32_threads": CudaFault(
        "launch limit", "conv2d", "conv2d.cu",
        "__launch_bounds__(MOST_THREADS)\nchannel_sums", "__launch_bounds__(32)\nchannel_sums",
    ),
    "sgd_step_reads_pairs_at_odd_places": CudaFault(
        "misaligned", "sgd_step", "update.cu",
        "stepped[at] = (T)((A)parameter[at] - learning_rate * (A)gradient[at]);",
        "{\n            struct alignas(2 * sizeof(T)) Pair { T a, b; };\n"
        "            const T slope = at + 1 < count ? ((const Pair*)(gradient + at))->a : gradient[at];\n"
        "            stepped[at] = (T)((A)parameter[at] - learning_rate * (A)slope);\n        }",
    ),
    # the tiles of the implicit matrix product
    "tiles_multiply_before_all_is_there": CudaFault(
        "race", "conv2d", "conv2d_gemm.cu",
        "        stash(0);\n        __syncthreads();\n", "        stash(0);\n", only="implicit",
    ),
    "tiles_are_overwritten_while_others_multiply": CudaFault(
        "race", "conv2d", "conv2d_gemm.cu",
        "            stash(slot);\n            __syncthreads();\n", "            stash(slot);\n", only="implicit",
    ),
    "tiles_have_one_buffer": CudaFault(
        "race", "conv2d", "conv2d_gemm.cu",
        "            slot ^= 1;\n            stash(slot);", "            stash(slot);", only="implicit",
    ),
    "dw_tiles_have_one_buffer": CudaFault(
        "race", "conv2d", "conv2d_gemm.cu",
        "        stash_pixels(slot, right);\n        __syncthreads();\n    }\n\n    T* const to",
        "        stash_pixels(slot ^ 1, right);\n        __syncthreads();\n    }\n\n    T* const to", only="implicit",
    ),
    "dw_tiles_wait_in_one_branch": CudaFault(
        "divergent barrier", "conv2d", "conv2d_gemm.cu",
        "        stash_pixels(slot, right);\n        __syncthreads();\n    }\n\n    T* const to",
        "        stash_pixels(slot, right);\n        if (line) __syncthreads();\n        else __syncthreads();\n    }\n\n    T* const to",
        only="implicit",
    ),
    "tiles_store_rows_that_are_none": CudaFault(
        "tail", "conv2d", "conv2d_gemm.cu",
        "            if (m >= rows) continue;\n            const A offset", "            const A offset", only="implicit",
    ),
    "tiles_store_pixels_that_are_none": CudaFault(
        "tail", "conv2d", "conv2d_gemm.cu",
        "if (j >= pixels || (four && l % 4)) continue;", "if (j > pixels || (four && l % 4)) continue;", only="implicit",
    ),
    "tiles_gather_columns_beyond_the_last": CudaFault(
        "out of bounds", "conv2d", "conv2d_gemm.cu",
        "const int j = clamp(j0 + column, p.N * area), n = j / area;", "const int j = j0 + column, n = j / area;",
        only="implicit",
    ),
    "dw_tiles_take_taps_beyond_the_last": CudaFault(
        "out of bounds", "conv2d", "conv2d_gemm.cu",
        "tap[i] = taps[clamp(k0 + i, columns)];", "tap[i] = taps[k0 + i];", only="implicit",
    ),
    "tiles_leave_the_last_terms_in_the_padding": CudaFault(
        "tail", "conv2d", "conv2d_gemm.cu",
        "const bool real = r < rows && origin[k] >= 0;", "const bool real = origin[k] >= 0;", only="implicit",
    ),
    "tiles_forget_the_look_ahead": CudaFault(
        "uninitialised", "conv2d", "conv2d_gemm.cu",
        "look(); lanes[0][tid] = lane; look(); lanes[1][tid] = lane;", "look(); lanes[0][tid] = lane; look();",
        only="implicit",
    ),
    "tiles_store_fours_anywhere": CudaFault(
        "misaligned", "conv2d", "conv2d_gemm.cu",
        "const bool four = area == plane && area % 4 == 0 && (size_t)result % 16 == 0;",
        "const bool four = area == plane;", only="implicit",
    ),
}  # fmt: skip
