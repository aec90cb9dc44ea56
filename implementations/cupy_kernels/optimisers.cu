// Steps of optimisers, element by element; what they return are new arrays.

// g = gradient + weight_decay parameter; b = momentum buffer + (1 - dampening) g, or g without one
template <typename T, typename A, typename I>
__global__ void sgd_momentum_step(const T* __restrict__ parameter, const T* __restrict__ gradient,
                                  const T* __restrict__ buffer, T* __restrict__ stepped,
                                  T* __restrict__ new_buffer, A rate, A momentum, A dampening,
                                  A decay, int nesterov, I count)
{
    for (I at = first<I>(); at < count; at += step<I>()) {
        A g = (A)gradient[at];
        if (decay != A(0)) g += decay * (A)parameter[at];
        const A b = buffer ? momentum * (A)buffer[at] + (A(1) - dampening) * g : g;
        const A update = nesterov ? g + momentum * b : b;
        stepped[at] = (T)((A)parameter[at] - rate * update);
        new_buffer[at] = (T)b;
    }
}

// The factors of a step of Adam; `rate` is over 1 - beta1^step, and `root` is sqrt(1 - beta2^step).
struct Adam { double rate, beta1, left1, beta2, left2, eps, root; };

// m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2; by how much the parameter moves
template <typename A>
__device__ A adam_update(A g, A& m, A& v, const Adam& s)
{
    m = A(s.beta1) * m + A(s.left1) * g;
    v = A(s.beta2) * v + A(s.left2) * (g * g);
    return A(s.rate) * (m / (square_root(v) / A(s.root) + A(s.eps)));
}

// Decayed weights are part of the gradient, or, decoupled, taken off the parameter.
template <typename T, typename A, typename I>
__global__ void adam_step(const T* __restrict__ parameter, const T* __restrict__ gradient,
                          const T* __restrict__ exp_avg, const T* __restrict__ exp_avg_sq,
                          T* __restrict__ stepped, T* __restrict__ new_avg,
                          T* __restrict__ new_avg_sq, Adam factors, A decay, A kept, I count)
{
    for (I at = first<I>(); at < count; at += step<I>()) {
        A m = (A)exp_avg[at], v = (A)exp_avg_sq[at], g = (A)gradient[at];
        if (decay != A(0)) g += decay * (A)parameter[at];
        const A update = adam_update(g, m, v, factors);
        stepped[at] = (T)(kept * (A)parameter[at] - update);
        new_avg[at] = (T)m;
        new_avg_sq[at] = (T)v;
    }
}
