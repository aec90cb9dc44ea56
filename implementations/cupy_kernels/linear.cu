// The fully connected layer, x [N, C] by weight [M, C] to y [N, M], as the formulas' loops: one
// thread per element of the result.

// y[n,m] = bias[m] + sum_c x[n,c] weight[m,c]
template <typename T, typename A, typename I>
__global__ void linear(const T* __restrict__ x, const T* __restrict__ weight,
                       const T* __restrict__ bias, T* __restrict__ y, I N, I C, I M)
{
    for (I at = first<I>(); at < N * M; at += step<I>()) {
        const I n = at / M, m = at % M;
        A sum = bias ? (A)bias[m] : A(0);
        for (I c = 0; c < C; ++c) sum += (A)x[n * C + c] * (A)weight[m * C + c];
        y[at] = (T)sum;
    }
}

// dx[n,c] = sum_m dy[n,m] weight[m,c]
template <typename T, typename A, typename I>
__global__ void linear_grad_input(const T* __restrict__ dy, const T* __restrict__ weight,
                                  T* __restrict__ dx, I N, I C, I M)
{
    for (I at = first<I>(); at < N * C; at += step<I>()) {
        const I n = at / C, c = at % C;
        A sum = A(0);
        for (I m = 0; m < M; ++m) sum += (A)dy[n * M + m] * (A)weight[m * C + c];
        dx[at] = (T)sum;
    }
}

// dw[m,c] = sum_n dy[n,m] x[n,c]
template <typename T, typename A, typename I>
__global__ void linear_grad_weight(const T* __restrict__ dy, const T* __restrict__ x,
                                   T* __restrict__ dw, I N, I C, I M)
{
    for (I at = first<I>(); at < M * C; at += step<I>()) {
        const I m = at / C, c = at % C;
        A sum = A(0);
        for (I n = 0; n < N; ++n) sum += (A)dy[n * M + m] * (A)x[n * C + c];
        dw[at] = (T)sum;
    }
}

// db[m] = sum_n dy[n,m]
template <typename T, typename A, typename I>
__global__ void linear_grad_bias(const T* __restrict__ dy, T* __restrict__ db, I N, I M)
{
    for (I m = first<I>(); m < M; m += step<I>()) {
        A sum = A(0);
        for (I n = 0; n < N; ++n) sum += (A)dy[n * M + m];
        db[m] = (T)sum;
    }
}
