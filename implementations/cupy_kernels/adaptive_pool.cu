// Average pooling to a given size: window i of OH begins at pixel i H / OH, rounded down, and ends
// before (i + 1) H / OH, rounded up.  The gradient is gathered, in the windows' order.

// A pooling of x [N, C, H, W] to y [N, C, OH, OW]; planes = N C.
struct Adaptive { int H, W, OH, OW; };

__device__ inline int start_of(int i, int pixels, int windows)
{
    return (int)((long long)i * pixels / windows);
}
__device__ inline int end_of(int i, int pixels, int windows)
{
    return (int)(((long long)(i + 1) * pixels + windows - 1) / windows);
}

template <typename A> __device__ A pixels_of(int i, int j, const Adaptive& s)
{
    return (A)((long long)(end_of(i, s.H, s.OH) - start_of(i, s.H, s.OH)) *
               (end_of(j, s.W, s.OW) - start_of(j, s.W, s.OW)));
}

// y[n,c,i,j] = the sum over the window's pixels / how many there are
template <typename T, typename A, typename I>
__global__ void adaptive_avg_pool2d(const T* __restrict__ x, T* __restrict__ y, I planes,
                                    Adaptive s)
{
    for (I at = first<I>(); at < planes * s.OH * s.OW; at += step<I>()) {
        const int j = (int)(at % s.OW), i = (int)(at / s.OW % s.OH);
        const T* image = x + at / s.OW / s.OH * s.H * s.W;
        A sum = A(0);
        for (int h = start_of(i, s.H, s.OH); h < end_of(i, s.H, s.OH); ++h)
            for (int w = start_of(j, s.W, s.OW); w < end_of(j, s.W, s.OW); ++w)
                sum += (A)image[(I)h * s.W + w];
        y[at] = (T)(sum / pixels_of<A>(i, j, s));
    }
}

// dx[n,c,h,w] = sum of dy[n,c,i,j] / its divisor over the windows that hold the pixel.  The first
// of them is the window that ends after h, and the last starts at or before it.
template <typename T, typename A, typename I>
__global__ void adaptive_avg_pool2d_grad_input(const T* __restrict__ dy, T* __restrict__ dx,
                                               I planes, Adaptive s)
{
    for (I at = first<I>(); at < planes * s.H * s.W; at += step<I>()) {
        const int w = (int)(at % s.W), h = (int)(at / s.W % s.H);
        const T* windows = dy + at / s.W / s.H * s.OH * s.OW;
        A sum = A(0);
        for (int i = start_of(h, s.OH, s.H); i < end_of(h, s.OH, s.H); ++i)
            for (int j = start_of(w, s.OW, s.W); j < end_of(w, s.OW, s.W); ++j)
                sum += (A)windows[(I)i * s.OW + j] / pixels_of<A>(i, j, s);
        dx[at] = (T)sum;
    }
}
