// The convolution and its two gradients as matrix products whose factors are never stored.
//
//   forward      y [m, j] = sum over k of  weight[m, k] * x [j at k]     m filter
//   grad_input   dx[c, j] = sum over k of  weight[k, c] * dy[j at k]     k channel and tap of a sum
//   grad_weight  dw[m, k] = sum over j of  dy[m, j]     * x [j at k]     j image and pixel
//
// "x[j at k]" is the pixel of x under tap k = (c, p, q) of the window of output pixel j = (n, i, l),
// x[n, c, i*SH - PH + p*DH, l*SW - PW + q*DW], or 0 in the padding.  Its address is a sum, a part
// that depends on j only plus a part that depends on k only, and so is the question whether it is
// in the padding: row p of the window is, or column q is.  So both are tables (see `Lane`).
//
// All of them multiply in the same way.  A block of threads owns a tile of BM x BN sums and goes
// through the terms DEPTH at a time: what the next step needs is on its way from global memory into
// registers while the current step multiplies out of shared memory, and one barrier ends the step.
// Each thread holds 8 x 8 sums, so that 16 numbers read from shared memory feed 64 products.
// Terms are added in an order that the shape alone decides: every run gives the same bits.

struct Conv { int N, C, H, W, M, KH, KW, SH, SW, PH, PW, DH, DW, G, OH, OW; };

// Some pixels of the result and the taps that reach them.  The forward pass has one part.  The
// gradient of a convolution of stride 2 has four, by the parity of h and of w: the pixels of a part
// are all reached by the same taps, so that no product with a tap that misses them is computed.
struct Part {
    int block;                // its first block
    int row, steps;           // its first row in taps and packed, and its rows / DEPTH
    int height, width;        // its pixels, (i, l) ...
    int top, left;            // ... which are the result's (top + i*step, left + l*step)
    int taps_h, taps_w;       // its taps, (p, q) ...
    int start_h, start_w;     // ... which take (i, l) to the source's (i*step + start + p*tap, ...)
    int tap_h, tap_w;
};

// A row or a column of the factor that is gathered: x[j at k] is base[j.offset + k.offset], unless
// j.bits and k.bits share a bit.  k has the bit of its row p and that of its column q, and j the
// bits of all rows and columns of its window that are in the padding.
typedef int2 Lane;            // .x offset (of bytes in `convolve`), .y bits: p at p, q at 16 + q
#define NEVER (1 << 15)       // every j has this bit, and so have the k that pad the last step

constexpr int DEPTH = 8;      // terms per step

template <typename T> struct alignas(sizeof(T) == 2 ? 8 : 16) Four { T v[4]; };
template <typename T> struct Sum { typedef float type; };
template <> struct Sum<double> { typedef double type; };

// Blocks that a multiprocessor holds at once: at most 128 registers, or 168 for small tiles, whose
// threads load more each.
__host__ __device__ constexpr int resident(int threads)
{
    return threads == 256 ? 2 : 384 / threads;
}

__device__ inline int clamp(int i, int size) { return i < size ? i : size - 1; }

// Rows and columns, within the tile, of a thread's sums: two groups of 4, 16 rows or 32 columns
// apart.  The 32 threads of a warp, 4 x 8, then read 64 and 128 consecutive bytes at a time.
template <int BN> __device__ inline int first_row() {
    return threadIdx.x / 32 / (BN / 64) * 32 + threadIdx.x % 32 / 8 * 4;
}
template <int BN> __device__ inline int first_column() {
    return threadIdx.x / 32 % (BN / 64) * 64 + threadIdx.x % 8 * 4;
}

// sums += a^T b, for terms FROM to TO of a step.
template <int FROM, int TO, typename A, int AM, int BN>
__device__ __forceinline__ void multiply(const A (&a)[DEPTH][AM], const A (&b)[DEPTH][BN],
                                         int row, int column, A (&sums)[8][8]) {
#pragma unroll
    for (int k = FROM; k < TO; ++k) {
        A left[8], right[8];
#pragma unroll
        for (int i = 0; i < 8; ++i) left[i] = a[k][row + i % 4 + i / 4 * 16];
#pragma unroll
        for (int i = 0; i < 8; ++i) right[i] = b[k][column + i % 4 + i / 4 * 32];
#pragma unroll
        for (int i = 0; i < 8; ++i)
#pragma unroll
            for (int l = 0; l < 8; ++l) sums[i][l] += left[i] * right[l];
    }
}

// packed[g, k, r] = weight[g, origin[k] + r*stride]: one row of filters (forward) or of channels
// (gradient) per term, with zeros up to whole tiles, so that the main loop reads without a test.
template <typename T>
__global__ void pack(const T* __restrict__ weight, T* __restrict__ packed,
                     const int* __restrict__ origin, int groups, int group, int terms, int rows,
                     int width, int stride) {
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    const int r = (int)(i % width), k0 = (int)(i / width % (terms / DEPTH)) * DEPTH;
    const int g = (int)(i / width / (terms / DEPTH));
    if (g >= groups) return;
    for (int k = k0; k < k0 + DEPTH; ++k) {
        const bool real = r < rows && origin[k] >= 0;
        packed[((long long)g * terms + k) * width + r] =
            real ? weight[(long long)g * group + origin[k] + (long long)r * stride] : T(0);
    }
}

// The forward pass, and with `gradient` the same walk from dy back to dx.  With splits, each sums
// its share of the terms into its own copy of the result.
template <typename T, int BM, int BN>
__global__ void __launch_bounds__(BM * BN / 64, resident(BM * BN / 64))
convolve(const T* __restrict__ source, const T* __restrict__ packed, const T* __restrict__ bias,
         T* __restrict__ result, const Lane* __restrict__ taps, const Part* __restrict__ parts,
         Conv p, int gradient, int n_parts, int splits, int terms, int width) {
    typedef typename Sum<T>::type A;
    constexpr int THREADS = BM * BN / 64, QUADS = 2 * BM / THREADS, LOADS = DEPTH * BN / THREADS;
    static_assert(THREADS % BN == 0, "a thread loads one column");
    __shared__ __align__(16) A a[2][DEPTH][BM];
    __shared__ __align__(16) A b[2][DEPTH][BN];
    __shared__ __align__(16) Lane lanes[2][DEPTH];
    const int channels = gradient ? p.M : p.C, height = gradient ? p.OH : p.H;
    const int line = gradient ? p.OW : p.W, step_h = gradient ? 1 : p.SH;
    const int step_w = gradient ? 1 : p.SW, rows = (gradient ? p.C : p.M) / p.G;
    const int tid = threadIdx.x;

    // The block's tile, in shared memory: what is not needed in the main loop takes no registers
    // there.  Blocks of different rows and equal pixels follow each other: what they read of the
    // source is then still in the cache.
    __shared__ Part part;
    __shared__ int m0, j0, split, g;
    if (tid == 0) {
        int at = 0;
        while (at + 1 < n_parts && (int)blockIdx.x >= parts[at + 1].block) ++at;
        part = parts[at];
        const int tiles_m = (rows + BM - 1) / BM;
        const int tiles_j = (p.N * part.height * part.width + BN - 1) / BN;
        int rest = blockIdx.x - part.block;
        m0 = rest % tiles_m * BM;
        rest /= tiles_m;
        j0 = rest % tiles_j * BN;
        rest /= tiles_j;
        split = rest % splits;
        g = rest / splits;
    }
    __syncthreads();
    const int begin = (int)((long long)part.steps * split / splits);
    const int end = (int)((long long)part.steps * (split + 1) / splits);

    // What this thread loads: a column j of the gathered factor, LOADS terms of it, and QUADS times
    // four rows of the packed one.  Consecutive threads load consecutive pixels.  Columns beyond
    // the last repeat it; their sums are not stored.
    const int column = tid % BN, term = tid / BN * LOADS;
    int bad = NEVER;
    const char* pixel;
    {
        const int area = part.height * part.width;
        const int j = clamp(j0 + column, p.N * area), n = j / area;
        const int h = j / part.width % part.height * step_h + part.start_h;
        const int w = j % part.width * step_w + part.start_w;
        for (int i = 0; i < part.taps_h; ++i)
            if ((unsigned)(h + i * part.tap_h) >= (unsigned)height) bad |= 1 << i;
        for (int i = 0; i < part.taps_w; ++i)
            if ((unsigned)(w + i * part.tap_w) >= (unsigned)line) bad |= 1 << (16 + i);
        const long long plane = (long long)n * channels + g * (channels / p.G);
        pixel = (const char*)(source + plane * height * line + h * line + w);
    }
    int ahead = part.row + begin * DEPTH + tid % DEPTH;
    constexpr int LINES = THREADS / (BM / 4);        // of the packed factor, that a quad each loads
    const int filter = tid % (BM / 4) * 4, first = tid / (BM / 4);
    const T* filters = packed + m0 + filter
                     + ((long long)g * terms + part.row + begin * DEPTH + first) * width;

    Four<T> quads[QUADS];
    T values[LOADS];
    Lane lane;
    auto look = [&]() { lane = taps[ahead]; ahead += DEPTH; };
    auto fetch = [&](int slot) {
#pragma unroll
        for (int i = 0; i < QUADS; ++i)
            quads[i] = *(const Four<T>*)(filters + (long long)i * LINES * width);
        filters += (long long)DEPTH * width;
#pragma unroll
        for (int i = 0; i < LOADS; ++i) {
            const Lane k = lanes[slot][term + i];
            values[i] = k.y & bad ? T(0) : *(const T*)(pixel + k.x);
        }
    };
    auto stash = [&](int slot) {
#pragma unroll
        for (int i = 0; i < QUADS; ++i)
#pragma unroll
            for (int l = 0; l < 4; ++l)
                a[slot][first + i * LINES][filter + l] = quads[i].v[l];
#pragma unroll
        for (int i = 0; i < LOADS; ++i) b[slot][term + i][column] = values[i];
    };

    const int row = first_row<BN>(), col = first_column<BN>();
    A sums[8][8];
#pragma unroll
    for (int i = 0; i < 8; ++i)
#pragma unroll
        for (int l = 0; l < 8; ++l) sums[i][l] = 0;

    if (begin < end) {
        if (tid < DEPTH) { look(); lanes[0][tid] = lane; look(); lanes[1][tid] = lane; }
        __syncthreads();
        fetch(0);
        stash(0);
        __syncthreads();
        int slot = 0;
        for (int left = end - begin; left > 0; --left) {
            if (tid < DEPTH) look();                 // of the step after the next
            fetch(slot ^ 1);                         // the next; the last is followed by padding
            multiply<0, DEPTH>(a[slot], b[slot], row, col, sums);
            if (tid < DEPTH) lanes[slot][tid] = lane;
            slot ^= 1;
            stash(slot);
            __syncthreads();
        }
    }

    // Four neighbouring pixels are stored at once where they are neighbours in the result, too.
    const int stored_h = gradient ? p.H : p.OH, stored_w = gradient ? p.W : p.OW;
    const int apart_h = gradient ? p.SH : 1, apart_w = gradient ? p.SW : 1;
    const int area = part.height * part.width, pixels = p.N * area;
    const long long plane = (long long)stored_h * stored_w;
    const bool four = area == plane && area % 4 == 0 && (size_t)result % 16 == 0;
    T* const to = result + split * (p.N * rows * p.G * plane);
#pragma unroll
    for (int l = 0; l < 8; ++l) {
        const int j = j0 + col + l % 4 + l / 4 * 32;
        if (j >= pixels || (four && l % 4)) continue;
        const int n = j / area, i = j / part.width % part.height, w = j % part.width;
        T* y = to + (long long)n * rows * p.G * plane;
        y += (long long)(part.top + i * apart_h) * stored_w + part.left + w * apart_w;
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            const int m = m0 + row + i % 4 + i / 4 * 16;
            if (m >= rows) continue;
            const A offset = bias ? (A)bias[g * rows + m] : A(0);
            if (four) {
                Four<T> stored;
#pragma unroll
                for (int e = 0; e < 4; ++e) stored.v[e] = (T)(sums[i][l / 4 * 4 + e] + offset);
                *(Four<T>*)(y + (g * rows + m) * plane) = stored;
            } else {
                y[(g * rows + m) * plane] = (T)(sums[i][l] + offset);
            }
        }
    }
}

// The gradient of the weights: the terms are the pixels j, so that consecutive threads load
// consecutive terms.  With splits, each sums its share of the pixels into its own copy of dw.
template <typename T, int BM, int BN>
__global__ void __launch_bounds__(BM * BN / 64, resident(BM * BN / 64))
grad_weight(const T* __restrict__ dy, const T* __restrict__ x, T* __restrict__ dw,
            const Lane* __restrict__ taps, const Lane* __restrict__ pixels, Conv p, int splits) {
    typedef typename Sum<T>::type A;
    constexpr int THREADS = BM * BN / 64, GROUPS = THREADS / DEPTH;
    constexpr int ROWS = BM / GROUPS, COLUMNS = BN / GROUPS, HALF = DEPTH / 2;
    __shared__ __align__(16) A a[2][DEPTH][BM + 4];  // + 4: a warp writes 8 terms to 8 x 4 banks
    __shared__ __align__(16) A b[2][DEPTH][BN + 4];
    const int tid = threadIdx.x, term = tid % DEPTH, line = tid / DEPTH;
    const int area = p.OH * p.OW, rows = p.M / p.G, depth = p.C / p.G;
    const int columns = depth * p.KH * p.KW;
    const int tiles_m = (rows + BM - 1) / BM, tiles_k = (columns + BN - 1) / BN;
    __shared__ int m0, k0, split, g;
    if (tid == 0) {
        int rest = blockIdx.x;
        m0 = rest % tiles_m * BM;
        rest /= tiles_m;
        k0 = rest % tiles_k * BN;
        rest /= tiles_k;
        split = rest % splits;
        g = rest / splits;
    }
    __syncthreads();
    const int all = p.N * area, steps = (all + DEPTH - 1) / DEPTH;
    const int begin = (int)((long long)steps * split / splits);
    const int end = (int)((long long)steps * (split + 1) / splits);

    // Columns beyond the last repeat it, and rows are zeros; their sums are not stored.
    __shared__ __align__(16) Lane tap[BN];
    for (int i = tid; i < BN; i += THREADS) tap[i] = taps[clamp(k0 + i, columns)];
    __syncthreads();
    const int j = begin * DEPTH + term;
    int at = j % area;
    int last = rows - m0 - line;
    int slope = (j / area * p.M + g * rows + m0 + line) * area + at;
    int image = (j / area * p.C + g * depth) * p.H * p.W;
    Lane pixel = pixels[at];
    // Half a step's products hide the loads of dy, the other half those of x.
    auto load_slopes = [&](int step, T (&left)[ROWS]) {
        if (step * DEPTH + term >= all) { last = 0; pixel.y = -1; }
#pragma unroll
        for (int i = 0; i < ROWS; ++i)
            left[i] = i * GROUPS < last ? dy[slope + i * GROUPS * area] : T(0);
        slope += DEPTH;
    };
    auto load_pixels = [&](T (&right)[COLUMNS]) {
        const int here = image + pixel.x;
#pragma unroll
        for (int i = 0; i < COLUMNS; ++i) {
            const Lane k = tap[line + i * GROUPS];
            right[i] = pixel.y & k.y ? T(0) : x[here + k.x];
        }
        at += DEPTH;
        if (at >= area) {                            // the next image: area is DEPTH or more
            at -= area;
            slope += (p.M - 1) * area;
            image += p.C * p.H * p.W;
        }
        pixel = pixels[at];
    };
    auto stash_slopes = [&](int slot, const T (&left)[ROWS]) {
#pragma unroll
        for (int i = 0; i < ROWS; ++i) a[slot][term][line + i * GROUPS] = left[i];
    };
    auto stash_pixels = [&](int slot, const T (&right)[COLUMNS]) {
#pragma unroll
        for (int i = 0; i < COLUMNS; ++i) b[slot][term][line + i * GROUPS] = right[i];
    };

    const int row = first_row<BN>(), col = first_column<BN>();
    A sums[8][8];
#pragma unroll
    for (int i = 0; i < 8; ++i)
#pragma unroll
        for (int l = 0; l < 8; ++l) sums[i][l] = 0;

    {
        T left[ROWS], right[COLUMNS];
        load_slopes(begin, left);
        stash_slopes(0, left);
        load_pixels(right);
        stash_pixels(0, right);
        __syncthreads();
    }
    int slot = 0;
    for (int step = begin; step < end; ++step) {
        T left[ROWS], right[COLUMNS];
        load_slopes(step + 1, left);
        multiply<0, HALF>(a[slot], b[slot], row, col, sums);
        stash_slopes(slot ^ 1, left);
        load_pixels(right);
        multiply<HALF, DEPTH>(a[slot], b[slot], row, col, sums);
        slot ^= 1;
        stash_pixels(slot, right);
        __syncthreads();
    }

    T* const to = dw + (long long)split * p.M * columns;
    const bool four = columns % 4 == 0 && (size_t)dw % 16 == 0;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        const int m = m0 + row + i % 4 + i / 4 * 16;
        if (m >= rows) continue;
#pragma unroll
        for (int l = 0; l < 8; ++l) {
            const int k = k0 + col + l % 4 + l / 4 * 32;
            if (k >= columns || (four && l % 4)) continue;
            T* const out = to + (long long)(g * rows + m) * columns + k;
            if (four) {
                Four<T> stored;
#pragma unroll
                for (int e = 0; e < 4; ++e) stored.v[e] = (T)sums[i][l / 4 * 4 + e];
                *(Four<T>*)out = stored;
            } else {
                *out = (T)sums[i][l];
            }
        }
    }
}

// result = the sum of its copies, in their order, plus bias[i / plane % channels].
template <typename T>
__global__ void add_up(const T* __restrict__ copies, const T* __restrict__ bias,
                       T* __restrict__ result, long long size, int splits, int plane,
                       int channels) {
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size) return;
    typename Sum<T>::type sum = 0;
#pragma unroll 4
    for (int s = 0; s < splits; ++s) sum += copies[s * size + i];
    if (bias) sum += bias[i / plane % channels];
    result[i] = (T)sum;
}
