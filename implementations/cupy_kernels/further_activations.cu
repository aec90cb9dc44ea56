// Further activations, each a function of one number, and their slopes; exponentials are only
// taken of numbers up to 0.

// y = f(z), element by element; f is computed in A, and its result rounded once.
template <typename A, typename T, typename I, typename F>
__device__ void pointwise(const T* z, T* y, I count, F f)
{
    for (I at = first<I>(); at < count; at += step<I>()) y[at] = (T)f((A)z[at]);
}

// dz = dy f'(z)
template <typename A, typename T, typename I, typename F>
__device__ void pointwise_grad(const T* dy, const T* z, T* dz, I count, F slope)
{
    for (I at = first<I>(); at < count; at += step<I>())
        dz[at] = (T)((A)dy[at] * slope((A)z[at]));
}

// dz = dy where `passes` is true of z, else `other` of dy and z: no NaN of dy is multiplied by 0.
template <typename A, typename T, typename I, typename P, typename F>
__device__ void gated_grad(const T* dy, const T* z, T* dz, I count, P passes, F other)
{
    for (I at = first<I>(); at < count; at += step<I>())
        dz[at] = passes((A)z[at]) ? dy[at] : (T)other((A)dy[at], (A)z[at]);
}

template <typename A> __device__ A clamped(A z, A least, A most)
{
    return z <= least ? least : z >= most ? most : z;  // what is no number stays none
}

#define SQRT_HALF 0.70710678118654752440
#define SQRT_2_OVER_PI 0.79788456080286535588
#define ONE_OVER_SQRT_2_PI 0.39894228040143267794
#define CUBE 0.044715

// y = z (1 + erf(z / sqrt(2))) / 2
template <typename T, typename A, typename I>
__global__ void gelu(const T* __restrict__ z, T* __restrict__ y, I count)
{
    pointwise<A>(z, y, count, [](A z) {
        return z * (A(1) + error_function(z * A(SQRT_HALF))) / A(2);
    });
}

template <typename T, typename A, typename I>
__global__ void gelu_grad(const T* __restrict__ dy, const T* __restrict__ z, T* __restrict__ dz,
                          I count)
{
    pointwise_grad<A>(dy, z, dz, count, [](A z) {
        const A density = exponential(-(z * z) / A(2)) * A(ONE_OVER_SQRT_2_PI);
        return (A(1) + error_function(z * A(SQRT_HALF))) / A(2) + z * density;
    });
}

// y = z (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3))) / 2
template <typename T, typename A, typename I>
__global__ void gelu_tanh(const T* __restrict__ z, T* __restrict__ y, I count)
{
    pointwise<A>(z, y, count, [](A z) {
        const A inner = A(SQRT_2_OVER_PI) * (z + A(CUBE) * (z * z * z));
        return z * (A(1) + hyperbolic_tangent(inner)) / A(2);
    });
}

// Where tanh is 1 or -1, its slope is 0, and what it is multiplied by may be infinite.
template <typename T, typename A, typename I>
__global__ void gelu_tanh_grad(const T* __restrict__ dy, const T* __restrict__ z,
                               T* __restrict__ dz, I count)
{
    pointwise_grad<A>(dy, z, dz, count, [](A z) {
        const A square = z * z;
        const A t = hyperbolic_tangent(A(SQRT_2_OVER_PI) * (z + A(CUBE) * (square * z)));
        if (t == A(1) || t == A(-1)) return (A(1) + t) / A(2);
        const A slope = A(SQRT_2_OVER_PI) * (A(1) + A(3 * CUBE) * square);
        return (A(1) + t) / A(2) + z * (A(1) - t * t) / A(2) * slope;
    });
}

template <typename T, typename A, typename I>
__global__ void silu(const T* __restrict__ z, T* __restrict__ y, I count)
{
    pointwise<A>(z, y, count, [](A z) { return z * logistic(z); });
}

template <typename T, typename A, typename I>
__global__ void silu_grad(const T* __restrict__ dy, const T* __restrict__ z, T* __restrict__ dz,
                          I count)
{
    pointwise_grad<A>(dy, z, dz, count, [](A z) {
        const A s = logistic(z);
        return s * (A(1) + z * (A(1) - s));
    });
}

// y = z where z > 0, else alpha (e^z - 1)
template <typename T, typename A, typename I>
__global__ void elu(const T* __restrict__ z, T* __restrict__ y, A alpha, I count)
{
    pointwise<A>(z, y, count, [=](A z) { return z > A(0) ? z : alpha * exponential_less_one(z); });
}

template <typename T, typename A, typename I>
__global__ void elu_grad(const T* __restrict__ dy, const T* __restrict__ z, T* __restrict__ dz,
                         A alpha, I count)
{
    gated_grad<A>(dy, z, dz, count, [](A z) { return z > A(0); },
                  [=](A dy, A z) { return dy * (alpha * exponential(z)); });
}

// y = z where beta z > threshold, else log(1 + e^(beta z)) / beta
template <typename T, typename A, typename I>
__global__ void softplus(const T* __restrict__ z, T* __restrict__ y, A beta, A threshold, I count)
{
    pointwise<A>(z, y, count, [=](A z) {
        return beta * z > threshold ? z : log_of_one_plus_exp(beta * z) / beta;
    });
}

template <typename T, typename A, typename I>
__global__ void softplus_grad(const T* __restrict__ dy, const T* __restrict__ z,
                              T* __restrict__ dz, A beta, A threshold, I count)
{
    gated_grad<A>(dy, z, dz, count, [=](A z) { return beta * z > threshold; },
                  [=](A dy, A z) { return dy * logistic(beta * z); });
}

// y = z tanh(log(1 + e^z))
template <typename T, typename A, typename I>
__global__ void mish(const T* __restrict__ z, T* __restrict__ y, I count)
{
    pointwise<A>(z, y, count,
                 [](A z) { return z * hyperbolic_tangent(log_of_one_plus_exp(z)); });
}

template <typename T, typename A, typename I>
__global__ void mish_grad(const T* __restrict__ dy, const T* __restrict__ z, T* __restrict__ dz,
                          I count)
{
    pointwise_grad<A>(dy, z, dz, count, [](A z) {
        const A t = hyperbolic_tangent(log_of_one_plus_exp(z));
        return t + z * ((A(1) - t * t) * logistic(z));
    });
}

// y = -log(1 + e^-z)
template <typename T, typename A, typename I>
__global__ void logsigmoid(const T* __restrict__ z, T* __restrict__ y, I count)
{
    pointwise<A>(z, y, count, [](A z) { return -log_of_one_plus_exp(-z); });
}

template <typename T, typename A, typename I>
__global__ void logsigmoid_grad(const T* __restrict__ dy, const T* __restrict__ z,
                                T* __restrict__ dz, I count)
{
    pointwise_grad<A>(dy, z, dz, count, [](A z) { return logistic(-z); });
}

template <typename T, typename A, typename I>
__global__ void hardtanh(const T* __restrict__ z, T* __restrict__ y, A least, A most, I count)
{
    pointwise<A>(z, y, count, [=](A z) { return clamped(z, least, most); });
}

// dz = dy / divisor between two numbers, else 0
template <typename T, typename A, typename I>
__global__ void hardtanh_grad(const T* __restrict__ dy, const T* __restrict__ z,
                              T* __restrict__ dz, A least, A most, A divisor, I count)
{
    for (I at = first<I>(); at < count; at += step<I>())
        dz[at] = (T)((A)z[at] > least && (A)z[at] < most ? (A)dy[at] / divisor : A(0));
}

// y = (z + 3) / 6, cut off at 0 and 1
template <typename T, typename A, typename I>
__global__ void hardsigmoid(const T* __restrict__ z, T* __restrict__ y, I count)
{
    pointwise<A>(z, y, count, [](A z) { return clamped(z + A(3), A(0), A(6)) / A(6); });
}

// y = z h / 6, h = z + 3 cut off at 0 and 6
template <typename T, typename A, typename I>
__global__ void hardswish(const T* __restrict__ z, T* __restrict__ y, I count)
{
    pointwise<A>(z, y, count, [](A z) { return z * clamped(z + A(3), A(0), A(6)) / A(6); });
}

template <typename T, typename A, typename I>
__global__ void hardswish_grad(const T* __restrict__ dy, const T* __restrict__ z,
                               T* __restrict__ dz, I count)
{
    gated_grad<A>(dy, z, dz, count, [](A z) { return z >= A(3); }, [](A dy, A z) {
        return z <= A(-3) ? A(0) : dy * ((A(2) * z + A(3)) / A(6));
    });
}
