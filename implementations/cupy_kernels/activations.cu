// Activations and their gradients; the exponential is only taken of numbers up to 0.

// A NaN stays one.
template <typename T, typename A, typename I>
__global__ void relu(const T* __restrict__ z, T* __restrict__ y, I count)
{
    for (I at = first<I>(); at < count; at += step<I>())
        y[at] = (A)z[at] <= A(0) ? (T)A(0) : z[at];
}

template <typename T, typename A, typename I>
__global__ void relu_grad(const T* __restrict__ dy, const T* __restrict__ z, T* __restrict__ dz,
                          I count)
{
    for (I at = first<I>(); at < count; at += step<I>())
        dz[at] = (A)z[at] > A(0) ? dy[at] : (T)A(0);
}

template <typename T, typename A, typename I>
__global__ void leaky_relu(const T* __restrict__ z, T* __restrict__ y, A slope, I count)
{
    for (I at = first<I>(); at < count; at += step<I>())
        y[at] = (A)z[at] > A(0) ? z[at] : (T)((A)z[at] * slope);
}

template <typename T, typename A, typename I>
__global__ void leaky_relu_grad(const T* __restrict__ dy, const T* __restrict__ z,
                                T* __restrict__ dz, A slope, I count)
{
    for (I at = first<I>(); at < count; at += step<I>())
        dz[at] = (A)z[at] > A(0) ? dy[at] : (T)((A)dy[at] * slope);
}

// y = 1 / (1 + e^-z)
template <typename T, typename A, typename I>
__global__ void sigmoid(const T* __restrict__ z, T* __restrict__ y, I count)
{
    for (I at = first<I>(); at < count; at += step<I>()) y[at] = (T)logistic((A)z[at]);
}

// dz = dy y (1 - y) = dy e / (1 + e)^2 with e = e^-|z|, which is accurate on both sides.
template <typename T, typename A, typename I>
__global__ void sigmoid_grad(const T* __restrict__ dy, const T* __restrict__ z, T* __restrict__ dz,
                             I count)
{
    for (I at = first<I>(); at < count; at += step<I>()) {
        const A e = decay((A)z[at]);
        dz[at] = (T)((A)dy[at] * (e / ((A(1) + e) * (A(1) + e))));
    }
}

// `tanh` itself is the mathematical function's name.
template <typename T, typename A, typename I>
__global__ void tanh_forward(const T* __restrict__ z, T* __restrict__ y, I count)
{
    for (I at = first<I>(); at < count; at += step<I>())
        y[at] = (T)hyperbolic_tangent((A)z[at]);
}

// dz = dy (1 - y^2)
template <typename T, typename A, typename I>
__global__ void tanh_grad(const T* __restrict__ dy, const T* __restrict__ z, T* __restrict__ dz,
                          I count)
{
    for (I at = first<I>(); at < count; at += step<I>()) {
        const A y = hyperbolic_tangent((A)z[at]);
        dz[at] = (T)((A)dy[at] * (A(1) - y * y));
    }
}
