// The convolution and its gradients as the formulas' loops.
//
// n image, m output channel, c input channel (of the group where it indexes the weight), i,j output
// pixel, h,w input pixel, p,q tap.  A transposed convolution is this with the roles exchanged.

// A convolution of x [N, C, H, W] by weight [M, C/G, KH, KW] to y [N, M, OH, OW].
struct Conv { int N, C, H, W, M, KH, KW, SH, SW, PH, PW, DH, DW, G, OH, OW; };

// y[n,m,i,j] = bias[m] + sum_{c,p,q} x[n,c,h,w] weight[m,c,p,q],
//     h = i*SH - PH + p*DH,  w = j*SW - PW + q*DW;  padding adds no term.
template <typename T, typename A, typename I>
__global__ void conv2d(const T* __restrict__ x, const T* __restrict__ weight,
                       const T* __restrict__ bias, T* __restrict__ y, Conv s)
{
    const int depth = s.C / s.G, filters = s.M / s.G;
    const I count = (I)s.N * s.M * s.OH * s.OW;
    for (I at = first<I>(); at < count; at += step<I>()) {
        const int j = (int)(at % s.OW);
        const int i = (int)(at / s.OW % s.OH);
        const int m = (int)(at / s.OW / s.OH % s.M);
        const I n = at / s.OW / s.OH / s.M;
        const int from = m / filters * depth;  // the group's first input channel
        A sum = bias ? (A)bias[m] : A(0);
        for (int c = 0; c < depth; ++c)
            for (int p = 0; p < s.KH; ++p) {
                const int h = i * s.SH - s.PH + p * s.DH;
                if (h < 0 || h >= s.H) continue;
                for (int q = 0; q < s.KW; ++q) {
                    const int w = j * s.SW - s.PW + q * s.DW;
                    if (w < 0 || w >= s.W) continue;
                    sum += (A)x[((n * s.C + from + c) * s.H + h) * s.W + w] *
                           (A)weight[(((I)m * depth + c) * s.KH + p) * s.KW + q];
                }
            }
        y[at] = (T)sum;
    }
}

// dx[n,c,h,w] = bias[c] + sum_{m,p,q} dy[n,m,i,j] weight[m,c,p,q] over the outputs that saw
// the pixel:  i*SH = h + PH - p*DH,  j*SW = w + PW - q*DW.  Only a transposed convolution has a bias.
template <typename T, typename A, typename I>
__global__ void conv2d_grad_input(const T* __restrict__ dy, const T* __restrict__ weight,
                                  const T* __restrict__ bias, T* __restrict__ dx, Conv s)
{
    const int depth = s.C / s.G, filters = s.M / s.G;
    const I count = (I)s.N * s.C * s.H * s.W;
    for (I at = first<I>(); at < count; at += step<I>()) {
        const int w = (int)(at % s.W);
        const int h = (int)(at / s.W % s.H);
        const int channel = (int)(at / s.W / s.H % s.C);
        const I n = at / s.W / s.H / s.C;
        const int c = channel % depth, from = channel / depth * filters;
        A sum = bias ? (A)bias[channel] : A(0);
        for (int p = 0; p < s.KH; ++p) {
            const int down = h + s.PH - p * s.DH, i = down / s.SH;
            if (down < 0 || down % s.SH || i >= s.OH) continue;
            for (int q = 0; q < s.KW; ++q) {
                const int across = w + s.PW - q * s.DW, j = across / s.SW;
                if (across < 0 || across % s.SW || j >= s.OW) continue;
                for (int m = from; m < from + filters; ++m)
                    sum += (A)dy[((n * s.M + m) * s.OH + i) * s.OW + j] *
                           (A)weight[(((I)m * depth + c) * s.KH + p) * s.KW + q];
            }
        }
        dx[at] = (T)sum;
    }
}

// dw[m,c,p,q] = sum_{n,i,j} dy[n,m,i,j] x[n,c,h,w]: one block per element.
template <typename T, typename A, typename I>
__global__ void __launch_bounds__(MOST_THREADS)
conv2d_grad_weight(const T* __restrict__ dy, const T* __restrict__ x, T* __restrict__ dw, Conv s)
{
    const int depth = s.C / s.G, filters = s.M / s.G;
    const I at = blockIdx.x;
    const int q = (int)(at % s.KW);
    const int p = (int)(at / s.KW % s.KH);
    const int c = (int)(at / s.KW / s.KH % depth);
    const int m = (int)(at / s.KW / s.KH / depth);
    const int channel = m / filters * depth + c;
    const I terms = (I)s.N * s.OH * s.OW;
    A sum = A(0);
    for (I term = threadIdx.x; term < terms; term += blockDim.x) {
        const int j = (int)(term % s.OW);
        const int i = (int)(term / s.OW % s.OH);
        const I n = term / s.OW / s.OH;
        const int h = i * s.SH - s.PH + p * s.DH, w = j * s.SW - s.PW + q * s.DW;
        if (h < 0 || h >= s.H || w < 0 || w >= s.W) continue;
        sum += (A)dy[((n * s.M + m) * s.OH + i) * s.OW + j] *
               (A)x[((n * s.C + channel) * s.H + h) * s.W + w];
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) dw[at] = (T)sum;
}

// db[m] = sum_{n,i,j} dy[n,m,i,j]: one block per channel.
template <typename T, typename A, typename I>
__global__ void __launch_bounds__(MOST_THREADS)
channel_sums(const T* __restrict__ dy, T* __restrict__ db, I images, I channels, I pixels)
{
    const I m = blockIdx.x;
    A sum = A(0);
    for (I term = threadIdx.x; term < images * pixels; term += blockDim.x)
        sum += (A)dy[(term / pixels * channels + m) * pixels + term % pixels];
    sum = block_sum(sum);
    if (threadIdx.x == 0) db[m] = (T)sum;
}

// y[n,m,i,j] += bias[m], where y came from a gradient: the transposed convolution.
template <typename T, typename A, typename I>
__global__ void add_bias(T* __restrict__ y, const T* __restrict__ bias, I count, I channels,
                         I pixels)
{
    for (I at = first<I>(); at < count; at += step<I>())
        y[at] = (T)((A)y[at] + (A)bias[at / pixels % channels]);
}
