// Activations that take two arrays: glu, whose gate is the right half of its columns, and prelu,
// whose slope on the negative side is a number per channel.

// y[n,k] = z[n,k] s(z[n,k+K]) of z [N, 2 K], s the logistic function
template <typename T, typename A, typename I>
__global__ void glu(const T* __restrict__ z, T* __restrict__ y, I rows, I half)
{
    for (I at = first<I>(); at < rows * half; at += step<I>()) {
        const T* row = z + at / half * 2 * half;
        y[at] = (T)((A)row[at % half] * logistic((A)row[at % half + half]));
    }
}

// dz[n,k] = dy s and dz[n,k+K] = dy left s (1 - s)
template <typename T, typename A, typename I>
__global__ void glu_grad(const T* __restrict__ dy, const T* __restrict__ z, T* __restrict__ dz,
                         I rows, I half)
{
    for (I at = first<I>(); at < rows * half; at += step<I>()) {
        const I left = at / half * 2 * half + at % half;
        const A s = logistic((A)z[left + half]);
        dz[left] = (T)((A)dy[at] * s);
        dz[left + half] = (T)((A)dy[at] * (A)z[left] * (s * (A(1) - s)));
    }
}

// y = x where x > 0, else weight[c] x, of x [N, C, pixels]; with dy for `from`, the gradient by x.
template <typename T, typename A, typename I>
__global__ void prelu(const T* __restrict__ from, const T* __restrict__ x,
                      const T* __restrict__ weight, T* __restrict__ y, I count, I channels,
                      I pixels)
{
    for (I at = first<I>(); at < count; at += step<I>()) {
        const A slope = (A)weight[at / pixels % channels];
        y[at] = (A)x[at] > A(0) ? from[at] : (T)((A)from[at] * slope);
    }
}

// dw[c] = sum of dy x over what is not positive, a block per channel
template <typename T, typename A, typename I>
__global__ void __launch_bounds__(MOST_THREADS)
prelu_grad_weight(const T* __restrict__ dy, const T* __restrict__ x, T* __restrict__ dw, I images,
                  I channels, I pixels)
{
    A sum = A(0);
    for (I term = threadIdx.x; term < images * pixels; term += blockDim.x) {
        const I at = (term / pixels * channels + blockIdx.x) * pixels + term % pixels;
        if (!((A)x[at] > A(0))) sum += (A)dy[at] * (A)x[at];
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) dw[blockIdx.x] = (T)sum;
}
