// What is done with gradients: the mean over a batch, and one step of gradient descent.

// mean[at] = sum_n gradient[n,at] / images
template <typename T, typename A, typename I>
__global__ void batch_mean(const T* __restrict__ gradient, T* __restrict__ mean, I images, I count)
{
    for (I at = first<I>(); at < count; at += step<I>()) {
        A sum = A(0);
        for (I n = 0; n < images; ++n) sum += (A)gradient[n * count + at];
        mean[at] = (T)(sum / (A)images);
    }
}

template <typename T, typename A, typename I>
__global__ void sgd_step(const T* __restrict__ parameter, const T* __restrict__ gradient,
                         T* __restrict__ stepped, A learning_rate, I count)
{
    for (I at = first<I>(); at < count; at += step<I>())
        stepped[at] = (T)((A)parameter[at] - learning_rate * (A)gradient[at]);
}
