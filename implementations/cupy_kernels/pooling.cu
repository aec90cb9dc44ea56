// Max and average pooling.  Gradients are gathered: every pixel adds up what its windows send it, in
// the windows' order, so that nobody writes where another does.

// A pooling of x [N, C, H, W] to y [N, C, OH, OW].
struct Pool { int N, C, H, W, KH, KW, SH, SW, PH, PW, DH, DW, OH, OW; };

// Whether a beats b: it is larger, or the first NaN.
template <typename A> __device__ bool beats(A a, A b) { return a > b || (a != a && b == b); }

// The first window along a side that reaches pixel h, and the last that starts at or before it.
__device__ inline int first_window(int h, int span, int stride, int padding)
{
    const int room = h + padding - span + 1;
    return room > 0 ? (room + stride - 1) / stride : 0;
}
__device__ inline int last_window(int h, int windows, int stride, int padding)
{
    return min((h + padding) / stride, windows - 1);
}

// y[n,c,i,j] = max over the window's pixels; indices: where, as h*W + w.  Every window has a pixel.
template <typename T, typename A, typename I>
__global__ void max_pool2d(const T* __restrict__ x, T* __restrict__ y,
                           long long* __restrict__ indices, Pool s)
{
    const I count = (I)s.N * s.C * s.OH * s.OW;
    for (I at = first<I>(); at < count; at += step<I>()) {
        const int j = (int)(at % s.OW);
        const int i = (int)(at / s.OW % s.OH);
        const T* image = x + at / s.OW / s.OH * s.H * s.W;
        I best = -1;
        for (int p = 0; p < s.KH; ++p) {
            const int h = i * s.SH - s.PH + p * s.DH;
            if (h < 0 || h >= s.H) continue;
            for (int q = 0; q < s.KW; ++q) {
                const int w = j * s.SW - s.PW + q * s.DW;
                if (w < 0 || w >= s.W) continue;
                const I here = (I)h * s.W + w;
                if (best < 0 || beats((A)image[here], (A)image[best])) best = here;
            }
        }
        y[at] = image[best];
        indices[at] = best;
    }
}

// dx[n,c,h,w] = sum of dy[n,c,i,j] over the windows that found their maximum at the pixel.
template <typename T, typename A, typename I>
__global__ void max_pool2d_vjp(const T* __restrict__ dy, const long long* __restrict__ indices,
                               T* __restrict__ dx, Pool s)
{
    const I count = (I)s.N * s.C * s.H * s.W;
    for (I at = first<I>(); at < count; at += step<I>()) {
        const int w = (int)(at % s.W);
        const int h = (int)(at / s.W % s.H);
        const I plane = at / s.W / s.H;
        const int top = first_window(h, (s.KH - 1) * s.DH + 1, s.SH, s.PH);
        const int left = first_window(w, (s.KW - 1) * s.DW + 1, s.SW, s.PW);
        A sum = A(0);
        for (int i = top; i <= last_window(h, s.OH, s.SH, s.PH); ++i)
            for (int j = left; j <= last_window(w, s.OW, s.SW, s.PW); ++j) {
                const I window = (plane * s.OH + i) * s.OW + j;
                if (indices[window] == (long long)h * s.W + w) sum += (A)dy[window];
            }
        dx[at] = (T)sum;
    }
}

// Of each plane's windows, `length` at a time: the least and the largest of their indices.
template <typename T, typename A, typename I>
__global__ void index_ranges(const long long* __restrict__ indices, long long* __restrict__ ranges,
                             I planes, I windows, I length, I parts)
{
    for (I at = first<I>(); at < planes * parts; at += step<I>()) {
        const I start = at % parts * length, end = min(start + length, windows);
        const long long* of_plane = indices + at / parts * windows;
        long long least = of_plane[start], largest = of_plane[start];
        for (I window = start; window < end; ++window) {
            least = min(least, of_plane[window]);
            largest = max(largest, of_plane[window]);
        }
        ranges[2 * at] = least;
        ranges[2 * at + 1] = largest;
    }
}

// The same sum where nobody knows the windows' geometry: only parts whose range holds the pixel are
// searched.
template <typename T, typename A, typename I>
__global__ void max_pool2d_grad_input(const T* __restrict__ dy,
                                      const long long* __restrict__ indices,
                                      const long long* __restrict__ ranges, T* __restrict__ dx,
                                      I planes, I pixels, I windows, I length, I parts)
{
    for (I at = first<I>(); at < planes * pixels; at += step<I>()) {
        const I plane = at / pixels;
        const long long pixel = at % pixels;
        A sum = A(0);
        for (I part = 0; part < parts; ++part) {
            const long long* range = ranges + 2 * (plane * parts + part);
            if (pixel < range[0] || pixel > range[1]) continue;
            const I end = min((part + 1) * length, windows);
            for (I window = part * length; window < end; ++window)
                if (indices[plane * windows + window] == pixel)
                    sum += (A)dy[plane * windows + window];
        }
        dx[at] = (T)sum;
    }
}

// How many pixels count along one side of window i: the padded image's, or the image's alone.
__device__ inline int counted(int i, int kernel, int stride, int padding, int size, int with_pad)
{
    const int start = i * stride - padding, end = min(start + kernel, size + padding);
    return with_pad ? end - start : min(end, size) - max(start, 0);
}
template <typename A> __device__ A divisor(int i, int j, const Pool& s, int with_pad)
{
    return (A)((long long)counted(i, s.KH, s.SH, s.PH, s.H, with_pad) *
               counted(j, s.KW, s.SW, s.PW, s.W, with_pad));
}

// y[n,c,i,j] = the sum over the window's pixels / its divisor.
template <typename T, typename A, typename I>
__global__ void avg_pool2d(const T* __restrict__ x, T* __restrict__ y, Pool s, int with_pad)
{
    const I count = (I)s.N * s.C * s.OH * s.OW;
    for (I at = first<I>(); at < count; at += step<I>()) {
        const int j = (int)(at % s.OW);
        const int i = (int)(at / s.OW % s.OH);
        const T* image = x + at / s.OW / s.OH * s.H * s.W;
        const int top = i * s.SH - s.PH, left = j * s.SW - s.PW;
        A sum = A(0);
        for (int h = max(top, 0); h < min(top + s.KH, s.H); ++h)
            for (int w = max(left, 0); w < min(left + s.KW, s.W); ++w)
                sum += (A)image[(I)h * s.W + w];
        y[at] = (T)(sum / divisor<A>(i, j, s, with_pad));
    }
}

// dx[n,c,h,w] = sum of dy[n,c,i,j] / its divisor over the windows that hold the pixel.
template <typename T, typename A, typename I>
__global__ void avg_pool2d_grad_input(const T* __restrict__ dy, T* __restrict__ dx, Pool s,
                                      int with_pad)
{
    const I count = (I)s.N * s.C * s.H * s.W;
    for (I at = first<I>(); at < count; at += step<I>()) {
        const int w = (int)(at % s.W);
        const int h = (int)(at / s.W % s.H);
        const I plane = at / s.W / s.H;
        const int top = first_window(h, s.KH, s.SH, s.PH);
        const int left = first_window(w, s.KW, s.SW, s.PW);
        A sum = A(0);
        for (int i = top; i <= last_window(h, s.OH, s.SH, s.PH); ++i)
            for (int j = left; j <= last_window(w, s.OW, s.SW, s.PW); ++j)
                sum += (A)dy[(plane * s.OH + i) * s.OW + j] / divisor<A>(i, j, s, with_pad);
        dx[at] = (T)sum;
    }
}
