// Attention: softmax(scale query key^T + mask) value, and its gradients.  A block takes a row of the
// result and goes over the other side by tiles of blockDim.x; the forward pass keeps a running
// maximum.  No gradient needs atomics: each row of it is one
// block's, which computes the weights again.

// query [N, Q, L, E], key [N, H, S, E], value [N, H, S, V]; masks [N, Q, L, S], or none.
struct Attention { int N, Q, H, L, S, E, V, causal; };

template <typename T, typename A, typename I>
struct Scores {
    const T *query, *key, *added;
    const bool* seen;
    const Attention& s;
    A scale;

    // Of query row i, an index into [N, Q, L], and key j of S: scale query . key + mask; minus
    // infinity where it is hidden
    __device__ A operator()(I i, int j) const
    {
        if (seen && !seen[i * s.S + j]) return -(A)INFINITY;
        if (s.causal && j > i % s.L) return -(A)INFINITY;
        const T *q = query + i * s.E, *k = key + ((I)head(i) * s.S + j) * s.E;
        A sum = A(0);
        for (int c = 0; c < s.E; ++c) sum += (A)q[c] * (A)k[c];
        return added ? sum * scale + (A)added[i * s.S + j] : sum * scale;
    }
    // The head of the key, an index into [N, H], that a row reads
    __device__ I head(I i) const
    {
        const I q = i / s.L;
        return q / s.Q * s.H + q % s.Q / (s.Q / s.H);
    }
};

template <typename A> __device__ A greater(A a, A b) { return a > b ? a : b; }

// Return to every thread the largest of all threads' numbers; what is no number is passed over.
template <typename A>
__device__ A largest_for_all(A mine)
{
    __shared__ A of_warps[MOST_THREADS / LANES];
    for (int apart = lanes() / 2; apart > 0; apart /= 2)
        mine = greater(__shfl_xor_sync(mask(), mine, apart), mine);
    if (threadIdx.x % LANES == 0) of_warps[threadIdx.x / LANES] = mine;
    __syncthreads();
    A most = of_warps[0];
    for (unsigned warp = 1; warp < blockDim.x / LANES; ++warp) most = greater(of_warps[warp], most);
    __syncthreads();  // before the next numbers take their places
    return most;
}

// The largest score so far, and the sum of e^(score - that), of a row that comes in tiles.
template <typename A>
struct Running {
    A top, normalizer;

    __device__ Running() : top(-(A)INFINITY), normalizer(0) {}
    // Minus infinity is taken off as 0: e^-inf is 0, but inf - inf no number.
    __device__ A shift() const { return top == -(A)INFINITY ? A(0) : top; }
    // Take a tile's score of each thread; return what sums of before are to be multiplied by.  All
    // threads wait for each other before powers are stored, and again before this returns.
    __device__ A next(A score, A& power)
    {
        const A before = top;
        top = greater(largest_for_all(score), top);
        power = exponential(score - shift());
        const A factor = exponential(before - shift());
        normalizer = normalizer * factor + sum_for_all(power);
        return factor;
    }
};

// y[i,c] = sum_j p[i,j] value[j,c]: a block for a row and `blockDim.x` of its features
template <typename T, typename A, typename I>
__global__ void __launch_bounds__(MOST_THREADS)
attention(const T* __restrict__ query, const T* __restrict__ key, const T* __restrict__ value,
          const bool* __restrict__ seen, const T* __restrict__ added, T* __restrict__ y, A scale,
          Attention s, I parts)
{
    __shared__ A powers[MOST_THREADS];
    const Scores<T, A, I> scores{query, key, added, seen, s, scale};
    const I i = blockIdx.x / parts;
    const int c = (int)(blockIdx.x % parts) * blockDim.x + threadIdx.x;
    const T* values = value + scores.head(i) * s.S * s.V;
    Running<A> row;
    A sum = A(0);
    for (int tile = 0; tile < s.S; tile += blockDim.x) {
        const int j = tile + threadIdx.x;
        sum *= row.next(j < s.S ? scores(i, j) : -(A)INFINITY, powers[threadIdx.x]);
        if (c < s.V)
            for (int k = tile; k < min(tile + (int)blockDim.x, s.S); ++k)
                sum += powers[k - tile] * (A)values[(I)k * s.V + c];
    }
    if (c < s.V) y[i * s.V + c] = (T)(row.normalizer == A(0) ? A(0) : sum / row.normalizer);
}

// A weight of query row i and key j, and the gradient by its score.
template <typename T, typename A, typename I>
struct Weights {
    Scores<T, A, I> scores;
    const T *dy, *value;
    A *shifts, *normalizers, *deltas;  // of each row: sum_j p[i,j] dp[i,j] is its delta

    __device__ A weight(I i, int j) const
    {
        if (normalizers[i] == A(0)) return A(0);  // a row that sees nothing
        return exponential(scores(i, j) - shifts[i]) / normalizers[i];
    }
    // dp[i,j] = dy[i] . value[j]
    __device__ A grad_weight(I i, int j) const
    {
        const Attention& s = scores.s;
        const T *row = dy + i * s.V, *of_key = value + (scores.head(i) * s.S + j) * s.V;
        A sum = A(0);
        for (int c = 0; c < s.V; ++c) sum += (A)row[c] * (A)of_key[c];
        return sum;
    }
    __device__ A grad_score(I i, int j) const
    {
        return weight(i, j) * (grad_weight(i, j) - deltas[i]);
    }
};

// What the gradients need of each row, a block per row: they have the same arguments up to `s`.
template <typename T, typename A, typename I>
__global__ void __launch_bounds__(MOST_THREADS)
attention_rows(const T* __restrict__ dy, const T* __restrict__ query, const T* __restrict__ key,
               const T* __restrict__ value, const bool* __restrict__ seen,
               const T* __restrict__ added, A* __restrict__ shifts, A* __restrict__ normalizers,
               A* __restrict__ deltas, A scale, Attention s)
{
    const Weights<T, A, I> of{{query, key, added, seen, s, scale}, dy, value};
    const I i = blockIdx.x;
    Running<A> row;
    A delta = A(0), power;
    for (int tile = 0; tile < s.S; tile += blockDim.x) {
        const int j = tile + threadIdx.x;
        delta *= row.next(j < s.S ? of.scores(i, j) : -(A)INFINITY, power);
        if (j < s.S) delta += power * of.grad_weight(i, j);
    }
    delta = sum_for_all(delta);
    if (threadIdx.x) return;
    shifts[i] = row.shift();
    normalizers[i] = row.normalizer;
    deltas[i] = row.normalizer == A(0) ? A(0) : delta / row.normalizer;
}

// dquery[i,c] = scale sum_j ds[i,j] key[j,c]: a block for a row and blockDim.x of its features
template <typename T, typename A, typename I>
__global__ void __launch_bounds__(MOST_THREADS)
attention_grad_query(const T* __restrict__ dy, const T* __restrict__ query,
                     const T* __restrict__ key, const T* __restrict__ value,
                     const bool* __restrict__ seen, const T* __restrict__ added, A* shifts,
                     A* normalizers, A* deltas, A scale, Attention s, T* __restrict__ dquery,
                     I parts)
{
    __shared__ A ds[MOST_THREADS];
    const Weights<T, A, I> of{{query, key, added, seen, s, scale}, dy, value,
                              shifts, normalizers, deltas};
    const I i = blockIdx.x / parts;
    const int c = (int)(blockIdx.x % parts) * blockDim.x + threadIdx.x;
    const T* keys = key + of.scores.head(i) * s.S * s.E;
    A sum = A(0);
    for (int tile = 0; tile < s.S; tile += blockDim.x) {
        const int j = tile + threadIdx.x;
        if (j < s.S) ds[threadIdx.x] = of.grad_score(i, j);
        __syncthreads();
        if (c < s.E)
            for (int k = tile; k < min(tile + (int)blockDim.x, s.S); ++k)
                sum += ds[k - tile] * (A)keys[(I)k * s.E + c];
        __syncthreads();
    }
    if (c < s.E) dquery[i * s.E + c] = (T)(sum * scale);
}

// dkey[j,c] = scale sum_i ds[i,j] query[i,c], or, of_value, dvalue[j,c] = sum_i p[i,j] dy[i,c]: a
// block for a row of a key's head, whose query heads are side by side, and blockDim.x features
template <typename T, typename A, typename I>
__global__ void __launch_bounds__(MOST_THREADS)
attention_grad_keys(const T* __restrict__ dy, const T* __restrict__ query,
                    const T* __restrict__ key, const T* __restrict__ value,
                    const bool* __restrict__ seen, const T* __restrict__ added, A* shifts,
                    A* normalizers, A* deltas, A scale, Attention s, T* __restrict__ dkeys,
                    I parts, int of_value)
{
    __shared__ A factors[MOST_THREADS];
    const Weights<T, A, I> of{{query, key, added, seen, s, scale}, dy, value,
                              shifts, normalizers, deltas};
    const I row = blockIdx.x / parts, rows = (I)(s.Q / s.H) * s.L, start = row / s.S * rows;
    const int j = (int)(row % s.S), features = of_value ? s.V : s.E;
    const int c = (int)(blockIdx.x % parts) * blockDim.x + threadIdx.x;
    const T* from = of_value ? dy : query;
    A sum = A(0);
    for (I tile = start; tile < start + rows; tile += blockDim.x) {
        const I i = tile + threadIdx.x, end = min(tile + (I)blockDim.x, start + rows);
        if (i < end) factors[threadIdx.x] = of_value ? of.weight(i, j) : of.grad_score(i, j);
        __syncthreads();
        if (c < features)
            for (I k = tile; k < end; ++k)
                sum += factors[k - tile] * (A)from[k * features + c];
        __syncthreads();
    }
    if (c < features) dkeys[row * features + c] = (T)(of_value ? sum : sum * scale);
}

// dmask[i,j] = ds[i,j]
template <typename T, typename A, typename I>
__global__ void attention_grad_mask(const T* __restrict__ dy, const T* __restrict__ query,
                                    const T* __restrict__ key, const T* __restrict__ value,
                                    const bool* __restrict__ seen, const T* __restrict__ added,
                                    A* shifts, A* normalizers, A* deltas, A scale, Attention s,
                                    T* __restrict__ dmask, I count)
{
    const Weights<T, A, I> of{{query, key, added, seen, s, scale}, dy, value,
                              shifts, normalizers, deltas};
    for (I at = first<I>(); at < count; at += step<I>())
        dmask[at] = (T)of.grad_score(at / s.S, (int)(at % s.S));
}
