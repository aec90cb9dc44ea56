// Products of matrices, tile by tile: a block computes TILE x TILE elements of the result, and takes
// a tile of either factor at a time into shared memory.

#define TILE 16

// Where element (i, j) of a factor of one product lies: products are `batch` apart.
struct Factor { long long batch, row, column; };

// y[n,i,j] = sum_k a[n,i,k] b[n,k,j] of N products, y [N, P, Q]; blocks of TILE * TILE threads
template <typename T, typename A, typename I>
__global__ void __launch_bounds__(TILE * TILE)
product(const T* __restrict__ a, const T* __restrict__ b, T* __restrict__ y, Factor of_a,
        Factor of_b, I P, I K, I Q)
{
    __shared__ A left[TILE][TILE], right[TILE][TILE + 1];
    const int row = threadIdx.x / TILE, column = threadIdx.x % TILE;
    const I across = (Q + TILE - 1) / TILE, down = (P + TILE - 1) / TILE;
    const I i = blockIdx.x / across % down * TILE + row, j = blockIdx.x % across * TILE + column;
    const long long n = blockIdx.x / across / down;
    A sum = A(0);
    for (I start = 0; start < K; start += TILE) {
        const bool in_a = i < P && start + column < K, in_b = start + row < K && j < Q;
        left[row][column] =
            in_a ? (A)a[n * of_a.batch + i * of_a.row + (start + column) * of_a.column] : A(0);
        right[row][column] =
            in_b ? (A)b[n * of_b.batch + (start + row) * of_b.row + j * of_b.column] : A(0);
        __syncthreads();
        for (int k = 0; k < min((I)TILE, K - start); ++k) sum += left[row][k] * right[k][column];
        __syncthreads();
    }
    if (i < P && j < Q) y[(n * P + i) * Q + j] = (T)sum;
}
