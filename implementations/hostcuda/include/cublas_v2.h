// cuBLAS on the CPU: products of matrices as plain loops, sums in float (in double for double), term by term.
// Matrices are column by column, as cuBLAS has them; what a call reads and writes is checked as a whole.
#pragma once
#include "cuda_bf16.h"
#include "cuda_fp16.h"

typedef struct cublasContext *cublasHandle_t;
typedef enum { CUBLAS_STATUS_SUCCESS = 0, CUBLAS_STATUS_NOT_INITIALIZED = 1, CUBLAS_STATUS_ALLOC_FAILED = 3, CUBLAS_STATUS_INVALID_VALUE = 7, CUBLAS_STATUS_ARCH_MISMATCH = 8, CUBLAS_STATUS_MAPPING_ERROR = 11, CUBLAS_STATUS_EXECUTION_FAILED = 13, CUBLAS_STATUS_INTERNAL_ERROR = 14, CUBLAS_STATUS_NOT_SUPPORTED = 15, CUBLAS_STATUS_LICENSE_ERROR = 16 } cublasStatus_t;
typedef enum { CUBLAS_OP_N = 0, CUBLAS_OP_T = 1, CUBLAS_OP_C = 2 } cublasOperation_t;
typedef enum { CUBLAS_POINTER_MODE_HOST, CUBLAS_POINTER_MODE_DEVICE } cublasPointerMode_t;
typedef enum { CUBLAS_DEFAULT_MATH = 0, CUBLAS_TENSOR_OP_MATH = 1, CUBLAS_PEDANTIC_MATH = 2, CUBLAS_TF32_TENSOR_OP_MATH = 3 } cublasMath_t;
typedef enum { CUBLAS_COMPUTE_16F = 64, CUBLAS_COMPUTE_16F_PEDANTIC = 65, CUBLAS_COMPUTE_32F = 68, CUBLAS_COMPUTE_32F_PEDANTIC = 69, CUBLAS_COMPUTE_32F_FAST_16F = 74, CUBLAS_COMPUTE_32F_FAST_16BF = 75, CUBLAS_COMPUTE_32F_FAST_TF32 = 77, CUBLAS_COMPUTE_64F = 70 } cublasComputeType_t;
typedef enum { CUBLAS_GEMM_DEFAULT = -1, CUBLAS_GEMM_DEFAULT_TENSOR_OP = 99, CUBLAS_GEMM_DFALT = -1, CUBLAS_GEMM_DFALT_TENSOR_OP = 99 } cublasGemmAlgo_t;
typedef enum { CUDA_R_32F = 0, CUDA_R_64F = 1, CUDA_R_16F = 2, CUDA_R_8I = 3, CUDA_R_32I = 10, CUDA_R_16BF = 14 } cudaDataType_t;
typedef cudaDataType_t cudaDataType;

#define HOSTCUDA_CUBLAS static inline cublasStatus_t
HOSTCUDA_CUBLAS cublasCreate(cublasHandle_t *h) { *h = (cublasHandle_t)1; return CUBLAS_STATUS_SUCCESS; }
#define HOSTCUDA_CUBLAS_NOTHING(name) template <class... A> HOSTCUDA_CUBLAS name(A...) { return CUBLAS_STATUS_SUCCESS; }
HOSTCUDA_CUBLAS_NOTHING(cublasDestroy) HOSTCUDA_CUBLAS_NOTHING(cublasSetMathMode) HOSTCUDA_CUBLAS_NOTHING(cublasSetStream)
HOSTCUDA_CUBLAS_NOTHING(cublasSetPointerMode) HOSTCUDA_CUBLAS_NOTHING(cublasSetWorkspace)
#define cublasCreate_v2 cublasCreate
#define cublasDestroy_v2 cublasDestroy
static inline const char *cublasGetStatusString(cublasStatus_t s) { return s == CUBLAS_STATUS_SUCCESS ? "CUBLAS_STATUS_SUCCESS" : "an error of cuBLAS"; }

namespace hostcuda {
template <class T> struct SumOf { typedef float type; };
template <> struct SumOf<double> { typedef double type; };
// The elements of a matrix of `rows` rows and `columns` columns, `step` apart, as one piece of memory.
template <class T> inline void whole_matrix(const T *p, long rows, long columns, long step, bool write, const char *what, Site site) {
    if (rows > 0 && columns > 0) or_stop(!fits(p, size_t((columns - 1) * step + rows) * sizeof(T), write, what, site));
}
template <class T, class U, class S>
cublasStatus_t gemm(const char *name, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k, S alpha, const T *a, int lda, const T *b, int ldb, S beta, U *c, int ldc, Site site) {
    typedef typename SumOf<T>::type Sum;
    const int rows_a = ta == CUBLAS_OP_N ? m : k, rows_b = tb == CUBLAS_OP_N ? k : n;
    if (m < 0 || n < 0 || k < 0 || lda < (rows_a > 1 ? rows_a : 1) || ldb < (rows_b > 1 ? rows_b : 1) || ldc < (m > 1 ? m : 1)) return CUBLAS_STATUS_INVALID_VALUE;
    whole_matrix(a, rows_a, ta == CUBLAS_OP_N ? k : m, lda, false, name, site);
    whole_matrix(b, rows_b, tb == CUBLAS_OP_N ? n : k, ldb, false, name, site);
    whole_matrix(c, m, n, ldc, true, name, site);
    for (int j = 0; j < n; ++j)
        for (int i = 0; i < m; ++i) {
            Sum sum = 0;
            for (int t = 0; t < k; ++t)
                sum += Sum(ta == CUBLAS_OP_N ? a[i + long(t) * lda] : a[t + long(i) * lda]) * Sum(tb == CUBLAS_OP_N ? b[t + long(j) * ldb] : b[j + long(t) * ldb]);
            U &to = c[i + long(j) * ldc];
            to = U(Sum(alpha) * sum + (beta != S(0) ? Sum(beta) * Sum(to) : Sum(0)));
        }
    return CUBLAS_STATUS_SUCCESS;
}
template <class T>
cublasStatus_t gemv(const char *name, cublasOperation_t t, int m, int n, T alpha, const T *a, int lda, const T *x, int incx, T beta, T *y, int incy, Site site) {
    const int rows = t == CUBLAS_OP_N ? m : n, terms = t == CUBLAS_OP_N ? n : m;
    if (m < 0 || n < 0 || lda < (m > 1 ? m : 1) || incx < 1 || incy < 1) return CUBLAS_STATUS_INVALID_VALUE;
    whole_matrix(a, m, n, lda, false, name, site);
    whole_matrix(x, 1, terms, incx, false, name, site);
    whole_matrix(y, 1, rows, incy, true, name, site);
    for (int i = 0; i < rows; ++i) {
        T sum = 0;
        for (int k = 0; k < terms; ++k) sum += (t == CUBLAS_OP_N ? a[i + long(k) * lda] : a[k + long(i) * lda]) * x[long(k) * incx];
        T &to = y[long(i) * incy];
        to = alpha * sum + (beta != T(0) ? beta * to : T(0));
    }
    return CUBLAS_STATUS_SUCCESS;
}
}  // namespace hostcuda

#define HOSTCUDA_GEMM(L, T) \
    HOSTCUDA_CUBLAS cublas##L##gemm(cublasHandle_t, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k, const T *alpha, const T *a, int lda, const T *b, int ldb, const T *beta, T *c, int ldc, HOSTCUDA_LINE) { \
        return hostcuda::gemm("cublas" #L "gemm", ta, tb, m, n, k, *alpha, a, lda, b, ldb, *beta, c, ldc, {file, line}); \
    } \
    HOSTCUDA_CUBLAS cublas##L##gemmStridedBatched(cublasHandle_t, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k, const T *alpha, const T *a, int lda, long long sa, const T *b, int ldb, long long sb, const T *beta, T *c, int ldc, long long sc, int batch, HOSTCUDA_LINE) { \
        for (int i = 0; i < batch; ++i) { \
            const cublasStatus_t s = hostcuda::gemm("cublas" #L "gemmStridedBatched", ta, tb, m, n, k, *alpha, a + i * sa, lda, b + i * sb, ldb, *beta, c + i * sc, ldc, {file, line}); \
            if (s != CUBLAS_STATUS_SUCCESS) return s; \
        } \
        return CUBLAS_STATUS_SUCCESS; \
    }
#define HOSTCUDA_BLAS(L, T) \
    HOSTCUDA_CUBLAS cublas##L##gemv(cublasHandle_t, cublasOperation_t t, int m, int n, const T *alpha, const T *a, int lda, const T *x, int incx, const T *beta, T *y, int incy, HOSTCUDA_LINE) { \
        return hostcuda::gemv("cublas" #L "gemv", t, m, n, *alpha, a, lda, x, incx, *beta, y, incy, {file, line}); \
    } \
    HOSTCUDA_CUBLAS cublas##L##axpy(cublasHandle_t, int n, const T *alpha, const T *x, int incx, T *y, int incy, HOSTCUDA_LINE) { \
        hostcuda::whole_matrix(x, 1, n, incx, false, "cublas" #L "axpy", {file, line}); \
        hostcuda::whole_matrix(y, 1, n, incy, true, "cublas" #L "axpy", {file, line}); \
        for (int i = 0; i < n; ++i) y[long(i) * incy] += *alpha * x[long(i) * incx]; \
        return CUBLAS_STATUS_SUCCESS; \
    } \
    HOSTCUDA_CUBLAS cublas##L##scal(cublasHandle_t, int n, const T *alpha, T *x, int incx, HOSTCUDA_LINE) { \
        hostcuda::whole_matrix(x, 1, n, incx, true, "cublas" #L "scal", {file, line}); \
        for (int i = 0; i < n; ++i) x[long(i) * incx] *= *alpha; \
        return CUBLAS_STATUS_SUCCESS; \
    } \
    HOSTCUDA_CUBLAS cublas##L##dot(cublasHandle_t, int n, const T *x, int incx, const T *y, int incy, T *result, HOSTCUDA_LINE) { \
        hostcuda::whole_matrix(x, 1, n, incx, false, "cublas" #L "dot", {file, line}); \
        hostcuda::whole_matrix(y, 1, n, incy, false, "cublas" #L "dot", {file, line}); \
        T sum = 0; \
        for (int i = 0; i < n; ++i) sum += x[long(i) * incx] * y[long(i) * incy]; \
        *result = sum; \
        return CUBLAS_STATUS_SUCCESS; \
    } \
    HOSTCUDA_CUBLAS cublas##L##asum(cublasHandle_t, int n, const T *x, int incx, T *result, HOSTCUDA_LINE) { \
        hostcuda::whole_matrix(x, 1, n, incx, false, "cublas" #L "asum", {file, line}); \
        T sum = 0; \
        for (int i = 0; i < n; ++i) sum += std::fabs(x[long(i) * incx]); \
        *result = sum; \
        return CUBLAS_STATUS_SUCCESS; \
    }
HOSTCUDA_GEMM(S, float) HOSTCUDA_GEMM(D, double) HOSTCUDA_GEMM(H, __half) HOSTCUDA_BLAS(S, float) HOSTCUDA_BLAS(D, double)

// Of the types that a call names; sums are float, or double for double.
HOSTCUDA_CUBLAS hostcuda_gemm_of(cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k, double alpha, const void *a, cudaDataType_t of_a, int lda, const void *b, cudaDataType_t of_b, int ldb, double beta, void *c, cudaDataType_t of_c, int ldc, hostcuda::Site site) {
    using hostcuda::gemm;
    const char *name = "cublasGemmEx";
    if (of_a != of_b) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (of_a == CUDA_R_64F && of_c == CUDA_R_64F) return gemm(name, ta, tb, m, n, k, alpha, (const double *)a, lda, (const double *)b, ldb, beta, (double *)c, ldc, site);
    const float al = float(alpha), be = float(beta);
    if (of_a == CUDA_R_32F && of_c == CUDA_R_32F) return gemm(name, ta, tb, m, n, k, al, (const float *)a, lda, (const float *)b, ldb, be, (float *)c, ldc, site);
    if (of_a == CUDA_R_16F && of_c == CUDA_R_16F) return gemm(name, ta, tb, m, n, k, al, (const __half *)a, lda, (const __half *)b, ldb, be, (__half *)c, ldc, site);
    if (of_a == CUDA_R_16F && of_c == CUDA_R_32F) return gemm(name, ta, tb, m, n, k, al, (const __half *)a, lda, (const __half *)b, ldb, be, (float *)c, ldc, site);
    if (of_a == CUDA_R_16BF && of_c == CUDA_R_16BF) return gemm(name, ta, tb, m, n, k, al, (const __nv_bfloat16 *)a, lda, (const __nv_bfloat16 *)b, ldb, be, (__nv_bfloat16 *)c, ldc, site);
    if (of_a == CUDA_R_16BF && of_c == CUDA_R_32F) return gemm(name, ta, tb, m, n, k, al, (const __nv_bfloat16 *)a, lda, (const __nv_bfloat16 *)b, ldb, be, (float *)c, ldc, site);
    return CUBLAS_STATUS_NOT_SUPPORTED;
}
// What alpha and beta point to is of the type that sums are computed in; older calls name that type as a data type.
static inline double hostcuda_scale(const void *p, int computed) {
    if (computed == CUBLAS_COMPUTE_64F || computed == CUDA_R_64F) return *(const double *)p;
    if (computed == CUBLAS_COMPUTE_16F || computed == CUBLAS_COMPUTE_16F_PEDANTIC || computed == CUDA_R_16F) return float(*(const __half *)p);
    return *(const float *)p;
}
template <class G, class C> HOSTCUDA_CUBLAS cublasGemmEx(cublasHandle_t, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k, const void *alpha, const void *a, cudaDataType_t of_a, int lda, const void *b, cudaDataType_t of_b, int ldb, const void *beta, void *c, cudaDataType_t of_c, int ldc, C computed, G, HOSTCUDA_LINE) {
    return hostcuda_gemm_of(ta, tb, m, n, k, hostcuda_scale(alpha, int(computed)), a, of_a, lda, b, of_b, ldb, hostcuda_scale(beta, int(computed)), c, of_c, ldc, {file, line});
}
static inline size_t hostcuda_bytes(cudaDataType_t of) { return of == CUDA_R_64F ? 8 : of == CUDA_R_32F || of == CUDA_R_32I ? 4 : of == CUDA_R_8I ? 1 : 2; }
template <class G, class C> HOSTCUDA_CUBLAS cublasGemmStridedBatchedEx(cublasHandle_t, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k, const void *alpha, const void *a, cudaDataType_t of_a, int lda, long long sa, const void *b, cudaDataType_t of_b, int ldb, long long sb, const void *beta, void *c, cudaDataType_t of_c, int ldc, long long sc, int batch, C computed, G, HOSTCUDA_LINE) {
    for (long long i = 0; i < batch; ++i) {
        const cublasStatus_t s = hostcuda_gemm_of(ta, tb, m, n, k, hostcuda_scale(alpha, int(computed)), (const char *)a + i * sa * (long long)hostcuda_bytes(of_a), of_a, lda, (const char *)b + i * sb * (long long)hostcuda_bytes(of_b), of_b, ldb, hostcuda_scale(beta, int(computed)), (char *)c + i * sc * (long long)hostcuda_bytes(of_c), of_c, ldc, {file, line});
        if (s != CUBLAS_STATUS_SUCCESS) return s;
    }
    return CUBLAS_STATUS_SUCCESS;
}
