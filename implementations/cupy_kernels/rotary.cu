// Rotary embedding: pairs of features are turned by the angle of their step.

// x [N, H, steps, E], tables [M, D]: feature e of step t is turned with its partner by row t + offset;
// features from 2 D on stay.  With sign -1, back.
template <typename T, typename A, typename I>
__global__ void rotary_embedding(const T* __restrict__ x, const T* __restrict__ cos,
                                 const T* __restrict__ sin, T* __restrict__ y, A sign,
                                 int interleaved, I count, I steps, I E, I D, I offset)
{
    for (I at = first<I>(); at < count; at += step<I>()) {
        const I e = at % E, t = at / E % steps;
        if (e >= 2 * D) {
            y[at] = x[at];
            continue;
        }
        const bool second = interleaved ? e % 2 : e >= D;
        const I pair = interleaved ? e / 2 : e % D, apart = interleaved ? 1 : D;
        const A c = (A)cos[(t + offset) * D + pair], s = sign * (A)sin[(t + offset) * D + pair];
        y[at] = (T)(second ? (A)x[at] * c + (A)x[at - apart] * s
                           : (A)x[at] * c - (A)x[at + apart] * s);
    }
}
