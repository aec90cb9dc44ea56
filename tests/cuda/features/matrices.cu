// Products of matrices with the instructions of tensor cores: 32 x 16 times 16 x 16, of floats rounded to halves.
#include <cuda_fp16.h>
#include <cuda_pipeline.h>
#include <mma.h>
#include <stdint.h>
using namespace nvcuda;
#define LDMATRIX_X4(r0, r1, r2, r3, address) \
    asm volatile("ldmatrix.sync.aligned.x4.m8n8.shared.b16 {%0, %1, %2, %3}, [%4];\n" \
                 : "=r"(r0), "=r"(r1), "=r"(r2), "=r"(r3) : "r"(address))
#define CP_ASYNC_CG(to, from, bytes) asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], %2;\n" ::"r"(to), "l"(from), "n"(bytes))

// fragments of a warp, from shared memory
extern "C" __global__ void fragments(const float *a, const float *b, float *c) {
    __shared__ __align__(32) half as[16 * 16], bs[16 * 16];
    for (int i = threadIdx.x; i < 256; i += 32) as[i] = __float2half(a[blockIdx.x * 256 + i]), bs[i] = __float2half(b[i]);
    __syncwarp();  // fault fragments_unordered: removed
    wmma::fragment<wmma::matrix_a, 16, 16, 16, half, wmma::row_major> fa;
    wmma::fragment<wmma::matrix_b, 16, 16, 16, half, wmma::row_major> fb;  // fault fragments_transposed: wmma::fragment<wmma::matrix_b, 16, 16, 16, half, wmma::col_major> fb;
    wmma::fragment<wmma::accumulator, 16, 16, 16, float> fc;
    wmma::fill_fragment(fc, 0.0f);
    wmma::load_matrix_sync(fa, as, 16);
    wmma::load_matrix_sync(fb, bs, 16);  // fault fragments_misaligned: wmma::load_matrix_sync(fb, bs + 8, 16);
    wmma::mma_sync(fc, fa, fb, fc);
    wmma::store_matrix_sync(c + blockIdx.x * 256, fc, 16, wmma::mem_row_major);
}

// the same by ldmatrix and mma.sync
extern "C" __global__ void by_ptx(const float *a, const float *b, float *c) {
    __shared__ __align__(16) half as[16 * 16], bs[16 * 16];
    const int lane = threadIdx.x % 32;
    for (int i = lane; i < 256; i += 32) as[i] = __float2half(a[blockIdx.x * 256 + i]), bs[i] = __float2half(b[i]);
    __syncthreads();
    uint32_t ra[4], rb[4];
    uint32_t at = __cvta_generic_to_shared(&as[lane % 16 * 16 + lane / 16 * 8]);
    LDMATRIX_X4(ra[0], ra[1], ra[2], ra[3], at);
    at = __cvta_generic_to_shared(&bs[lane % 16 * 16 + lane / 16 * 8]);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];\n"  // fault by_ptx_untransposed: asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
                 : "=r"(rb[0]), "=r"(rb[1]), "=r"(rb[2]), "=r"(rb[3])
                 : "r"(at));
    for (int h = 0; h < 2; ++h) {
        float d[4] = {0, 0, 0, 0};
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
            "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};\n"
            : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
            : "r"(ra[0]), "r"(ra[1]), "r"(ra[2]), "r"(ra[3]), "r"(rb[2 * h]), "r"(rb[2 * h + 1]),
              "f"(d[0]), "f"(d[1]), "f"(d[2]), "f"(d[3]));
        float *to = c + blockIdx.x * 256 + lane / 4 * 16 + lane % 4 * 2 + 8 * h;
        *(float2 *)to = make_float2(d[0], d[1]);
        *(float2 *)(to + 8 * 16) = make_float2(d[2], d[3]);  // fault by_ptx_rows: *(float2 *)(to + 4 * 16) = make_float2(d[2], d[3]);
    }
}

// rows of a and all of b by asynchronous copies, in two groups
extern "C" __global__ void by_copies(const float *a, const float *b, float *c) {
    __shared__ __align__(16) float as[16 * 16], bs[16 * 16];
    for (int i = threadIdx.x; i < 64; i += 32) CP_ASYNC_CG((uint32_t)__cvta_generic_to_shared(as + 4 * i), a + blockIdx.x * 256 + 4 * i, 16);
    asm volatile("cp.async.commit_group;\n" ::);
    for (int i = threadIdx.x; i < 64; i += 32) CP_ASYNC_CG((uint32_t)__cvta_generic_to_shared(bs + 4 * i), b + 4 * i, 16);
    asm volatile("cp.async.commit_group;\n" ::);
    asm volatile("cp.async.wait_group %0;\n" ::"n"(0));  // fault by_copies_one_left: asm volatile("cp.async.wait_group %0;\n" ::"n"(1));
    __syncthreads();                                     // fault by_copies_no_barrier: removed
    for (int i = threadIdx.x; i < 256; i += 32) {
        float sum = 0;
        for (int k = 0; k < 16; ++k) {
            float x = __half2float(__float2half(as[i / 16 * 16 + k])), y = __half2float(__float2half(bs[k * 16 + i % 16]));
            asm("fma.rn.f32 %0, %1, %2, %0;" : "+f"(sum) : "f"(x), "f"(y));
        }
        c[blockIdx.x * 256 + i] = sum;
    }
}

// with the functions of a pipeline
extern "C" __global__ void by_pipeline(const float *a, const float *b, float *c) {
    __shared__ __align__(16) float as[256], bs[256];
    for (int i = threadIdx.x * 4; i < 256; i += 128) __pipeline_memcpy_async(as + i, a + blockIdx.x * 256 + i, 16);
    __pipeline_commit();  // fault by_pipeline_uncommitted: removed
    __pipeline_wait_prior(0);
    for (int i = threadIdx.x * 4; i < 256; i += 128) *(float4 *)(bs + i) = *(const float4 *)(b + i);
    __syncthreads();
    for (int i = threadIdx.x; i < 256; i += 32) {
        float sum = 0;
        for (int k = 0; k < 16; ++k)
            sum = __fmaf_rn(__half2float(__float2half_rn(as[i / 16 * 16 + k])), __half2float(__float2half_rn(bs[k * 16 + i % 16])), sum);
        __stcg(c + blockIdx.x * 256 + i, sum);
    }
}
