// Host code that calls cuBLAS and cuRAND: each function returns the line of the first wrong answer, or 0.
#include <cublas_v2.h>
#include <cuda_fp16.h>
#include <curand.h>
#include <curand_kernel.h>
#define MUST(so) do { if (!(so)) return __LINE__; } while (0)
#define OK(call) MUST((call) == 0)

// c = 2 a b + 3 c of 2 x 3 and 3 x 2 matrices, column by column, and a second one behind it.
static const double A[] = {1, 4, 2, 5, 3, 6, 1, 0, 0, 1, 1, 1}, B[] = {1, 0, 2, -1, 3, 1, 2, 2, 2, 0, 0, 4};
static const double AB[] = {7, 16, 8, 17, 4, 4, 4, 4};
template <class T> struct Arrays {
    T *a, *b, *c, out[8];
    Arrays() {
        T host_a[12], host_b[12], host_c[8];
        for (int i = 0; i < 12; ++i) host_a[i] = T(float(A[i])), host_b[i] = T(float(B[i]));
        for (int i = 0; i < 8; ++i) host_c[i] = T(1.0f);
        cudaMalloc(&a, sizeof host_a), cudaMalloc(&b, sizeof host_b), cudaMalloc(&c, sizeof host_c);
        cudaMemcpy(a, host_a, sizeof host_a, cudaMemcpyHostToDevice);
        cudaMemcpy(b, host_b, sizeof host_b, cudaMemcpyHostToDevice);
        cudaMemcpy(c, host_c, sizeof host_c, cudaMemcpyHostToDevice);
    }
    bool are(int count) {
        cudaMemcpy(out, c, sizeof out, cudaMemcpyDeviceToHost);
        for (int i = 0; i < 8; ++i)
            if (float(out[i]) != (i < count ? 2 * AB[i] + 3 : 1)) return false;
        return cudaFree(a) == 0 && cudaFree(b) == 0 && cudaFree(c) == 0;
    }
};
int products(const float *x) {
    cublasHandle_t h;
    OK(cublasCreate(&h));
    const double two = 2, three = 3;
    const float two_f = 2, three_f = 3;
    const __half two_h = two_f, three_h = three_f;
    const cublasOperation_t n = CUBLAS_OP_N;
    { Arrays<double> m; OK(cublasDgemm(h, n, n, 2, 2, 3, &two, m.a, 2, m.b, 3, &three, m.c, 2)); MUST(m.are(4)); }
    { Arrays<__half> m; OK(cublasHgemm(h, n, n, 2, 2, 3, &two_h, m.a, 2, m.b, 3, &three_h, m.c, 2)); MUST(m.are(4)); }
    { Arrays<float> m; OK(cublasSgemmStridedBatched(h, n, n, 2, 2, 3, &two_f, m.a, 2, 6, m.b, 3, 6, &three_f, m.c, 2, 4, 2)); MUST(m.are(8)); }
    { Arrays<double> m; OK(cublasDgemmStridedBatched(h, n, n, 2, 2, 3, &two, m.a, 2, 6, m.b, 3, 6, &three, m.c, 2, 4, 2)); MUST(m.are(8)); }
    { Arrays<__half> m; OK(cublasHgemmStridedBatched(h, n, n, 2, 2, 3, &two_h, m.a, 2, 6, m.b, 3, 6, &three_h, m.c, 2, 4, 2)); MUST(m.are(8)); }
    { Arrays<__half> m; OK(cublasGemmEx(h, n, n, 2, 2, 3, &two_f, m.a, CUDA_R_16F, 2, m.b, CUDA_R_16F, 3, &three_f, m.c, CUDA_R_16F, 2, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT)); MUST(m.are(4)); }
    { Arrays<float> m; OK(cublasGemmStridedBatchedEx(h, n, n, 2, 2, 3, &two_f, m.a, CUDA_R_32F, 2, 6, m.b, CUDA_R_32F, 3, 6, &three_f, m.c, CUDA_R_32F, 2, 4, 2, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT)); MUST(m.are(8)); }
    OK(cublasDestroy(h));
    return x ? 0 : __LINE__;
}
int vectors(const float *x) {
    cublasHandle_t h;
    OK(cublasCreate(&h));
    OK(cublasSetPointerMode(h, CUBLAS_POINTER_MODE_HOST));
    const float f[] = {1, -2, 3, -4}, ones_f[] = {1, 1, 1, 1}, two_f = 2, zero_f = 0;
    const double d[] = {1, -2, 3, -4}, ones[] = {1, 1, 1, 1}, two = 2, zero = 0;
    float *vf, *wf, back_f[4], sum_f;
    double *v, *w, back[4], sum;
    cudaMalloc(&vf, 16), cudaMalloc(&wf, 16), cudaMalloc(&v, 32), cudaMalloc(&w, 32);
    cudaMemcpy(vf, f, 16, cudaMemcpyHostToDevice), cudaMemcpy(wf, ones_f, 16, cudaMemcpyHostToDevice);
    cudaMemcpy(v, d, 32, cudaMemcpyHostToDevice), cudaMemcpy(w, ones, 32, cudaMemcpyHostToDevice);
    OK(cublasSasum(h, 4, vf, 1, &sum_f)); MUST(sum_f == 10);
    OK(cublasDasum(h, 2, v, 2, &sum)); MUST(sum == 4);
    OK(cublasSdot(h, 4, vf, 1, wf, 1, &sum_f)); MUST(sum_f == -2);
    OK(cublasDdot(h, 2, v, 2, w, 1, &sum)); MUST(sum == 4);
    OK(cublasSaxpy(h, 4, &two_f, vf, 1, wf, 1));
    OK(cublasDaxpy(h, 4, &two, v, 1, w, 1));
    cudaMemcpy(back_f, wf, 16, cudaMemcpyDeviceToHost), cudaMemcpy(back, w, 32, cudaMemcpyDeviceToHost);
    for (int i = 0; i < 4; ++i) MUST(back_f[i] == 2 * f[i] + 1 && back[i] == 2 * d[i] + 1);
    OK(cublasSscal(h, 2, &two_f, wf, 2));
    OK(cublasDscal(h, 4, &two, w, 1));
    cudaMemcpy(back_f, wf, 16, cudaMemcpyDeviceToHost), cudaMemcpy(back, w, 32, cudaMemcpyDeviceToHost);
    MUST(back_f[0] == 6 && back_f[1] == -3 && back_f[2] == 14 && back[1] == -6);
    // {1, -2; 3, -4} column by column is [[1, 3], [-2, -4]].
    cudaMemcpy(wf, ones_f, 16, cudaMemcpyHostToDevice), cudaMemcpy(w, ones, 32, cudaMemcpyHostToDevice);
    OK(cublasSgemv(h, CUBLAS_OP_N, 2, 2, &two_f, vf, 2, wf, 1, &zero_f, wf + 2, 1));
    OK(cublasDgemv(h, CUBLAS_OP_T, 2, 2, &two, v, 2, w, 1, &zero, w + 2, 1));
    cudaMemcpy(back_f, wf, 16, cudaMemcpyDeviceToHost), cudaMemcpy(back, w, 32, cudaMemcpyDeviceToHost);
    MUST(back_f[2] == 8 && back_f[3] == -12 && back[2] == -2 && back[3] == -2);
    return x ? 0 : __LINE__;
}
// Known answers of Philox 4x32-10 for a key and a counter of 0: Random123, kat_vectors.
__global__ void known(unsigned *y) {
    curandStatePhilox4_32_10_t one, two;
    curand_init(0, 0, 0, &one), curand_init(0, 0, 2, &two);
    const uint4 four = curand4(&one);
    y[0] = four.x, y[1] = four.y, y[2] = curand(&two), y[3] = four.w;
    curand_init(0, 0, 0, &two), skipahead(3, &two);
    y[4] = curand(&two);
}
int numbers(const float *x) {
    const unsigned want[] = {0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u, 0x9b00dbd8u};
    unsigned *y, back[5], next[2];
    cudaMalloc(&y, 20);
    known<<<1, 1>>>(y);
    cudaMemcpy(back, y, 20, cudaMemcpyDeviceToHost);
    for (int i = 0; i < 5; ++i) MUST(back[i] == want[i]);
    curandGenerator_t g;
    OK(curandCreateGenerator(&g, CURAND_RNG_PSEUDO_PHILOX4_32_10));
    OK(curandSetPseudoRandomGeneratorSeed(g, 0));
    OK(curandGenerate(g, y, 4));
    OK(curandSetGeneratorOffset(g, 1));              // from the beginning, whatever was drawn
    OK(curandGenerate(g, y, 2));
    cudaMemcpy(next, y, 8, cudaMemcpyDeviceToHost);
    MUST(next[0] == want[1] && next[1] == want[2]);
    OK(curandDestroyGenerator(g));
    return x ? 0 : __LINE__;
}
template <class T> static bool spread(const T *x, int n, double mean, double variance) {
    double sum = 0, squares = 0;
    for (int i = 0; i < n; ++i) sum += x[i], squares += double(x[i]) * x[i];
    const double of = sum / n, is = squares / n - of * of;
    return fabs(of - mean) < 6 * sqrt(variance / n) && fabs(is / variance - 1) < 12 / sqrt(double(n));
}
__global__ void drawn(float *y, double *z, int n) {      // 1 + 4 + 1 + 2 + 4 + 1 numbers, and 2
    curandState s;
    curand_init(7, threadIdx.x, 0, &s);
    for (int i = 0; i < n; ++i) {
        const float4 u = curand_uniform4(&s), v = curand_normal4(&s);
        const float2 w = curand_normal2(&s);
        y[i] = curand_uniform(&s), y[n + i] = u.x, y[2 * n + i] = u.w;
        y[3 * n + i] = curand_normal(&s), y[4 * n + i] = v.x, y[5 * n + i] = v.w, y[6 * n + i] = w.y;
        y[7 * n + i] = logf(curand_log_normal(&s, 0.5f, 2.0f));
        z[i] = curand_uniform_double(&s), z[n + i] = curand_normal_double(&s);
    }
}
int distributions(const float *x) {
    const int n = 4000;
    float *y, *back = new float[8 * n];
    double *z, *wide = new double[2 * n];
    cudaMalloc(&y, 8 * n * 4), cudaMalloc(&z, 2 * n * 8);
    drawn<<<1, 1>>>(y, z, n);
    cudaMemcpy(back, y, 8 * n * 4, cudaMemcpyDeviceToHost), cudaMemcpy(wide, z, 2 * n * 8, cudaMemcpyDeviceToHost);
    for (int i = 0; i < 3; ++i) MUST(spread(back + i * n, n, 0.5, 1 / 12.0));
    for (int i = 0; i < 3 * n; ++i) MUST(back[i] > 0 && back[i] <= 1);
    for (int i = 3; i < 7; ++i) MUST(spread(back + i * n, n, 0, 1));
    MUST(spread(back + 7 * n, n, 0.5, 4) && spread(wide, n, 0.5, 1 / 12.0) && spread(wide + n, n, 0, 1));
    curandGenerator_t g;
    OK(curandCreateGeneratorHost(&g, CURAND_RNG_PSEUDO_DEFAULT));
    OK(curandGenerateUniform(g, back, n)); MUST(spread(back, n, 0.5, 1 / 12.0));
    OK(curandGenerateNormal(g, back, n, 3, 2)); MUST(spread(back, n, 3, 4));
    OK(curandGenerateUniformDouble(g, wide, n)); MUST(spread(wide, n, 0.5, 1 / 12.0));
    OK(curandGenerateNormalDouble(g, wide, n, -1, 0.5)); MUST(spread(wide, n, -1, 0.25));
    delete[] back, delete[] wide;
    return x ? 0 : __LINE__;
}
