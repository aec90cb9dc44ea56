// Rows and elements that indices name, and the sums of what indices send to the same place.  There
// are no atomics: what goes to a place is found in a sorted list of (place, source), so that each
// sum is added up by one thread, in the sources' order.

// y[o,k,i] = x[o,index[k],i] of x [outer, length, inner]
template <typename T, typename A, typename I>
__global__ void entries(const T* __restrict__ x, const long long* __restrict__ index,
                        T* __restrict__ y, I count, I chosen, I length, I inner)
{
    for (I at = first<I>(); at < count; at += step<I>()) {
        const I entry = (I)index[at / inner % chosen];
        y[at] = x[(at / inner / chosen * length + entry) * inner + at % inner];
    }
}

// Up to four axes of an index, those of the array that it points into, and which axis it is along.
struct Along { int I0, I1, I2, I3, S0, S1, S2, S3, axis; };

// Where in the array element `at` of the index points
template <typename I> __device__ I place_of(I at, I index, const Along& s)
{
    const I c3 = s.axis == 3 ? index : at % s.I3;
    const I c2 = s.axis == 2 ? index : at / s.I3 % s.I2;
    const I c1 = s.axis == 1 ? index : at / s.I3 / s.I2 % s.I1;
    const I c0 = s.axis == 0 ? index : at / s.I3 / s.I2 / s.I1;
    return ((c0 * s.S1 + c1) * s.S2 + c2) * s.S3 + c3;
}

// y = x where index says so along an axis
template <typename T, typename A, typename I>
__global__ void gather(const T* __restrict__ x, const long long* __restrict__ index,
                       T* __restrict__ y, I count, Along s)
{
    for (I at = first<I>(); at < count; at += step<I>()) y[at] = x[place_of(at, (I)index[at], s)];
}

// keys[k] = place * count + k: their order is that of the places, and of the sources at each.
template <typename T, typename A, typename I>
__global__ void keys_of_entries(const long long* __restrict__ index, long long* __restrict__ keys,
                                I count)
{
    for (I at = first<I>(); at < count; at += step<I>()) keys[at] = index[at] * count + at;
}

template <typename T, typename A, typename I>
__global__ void keys_of_places(const long long* __restrict__ index, long long* __restrict__ keys,
                               I count, Along s)
{
    for (I at = first<I>(); at < count; at += step<I>())
        keys[at] = (long long)place_of(at, (I)index[at], s) * count + at;
}

// The first of sorted keys that is not below `key`
template <typename I> __device__ I lower_bound(const long long* keys, I count, long long key)
{
    I from = 0, to = count;
    while (from < to) {
        const I middle = from + (to - from) / 2;
        if (keys[middle] < key)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

// y[o,p,i] = base[o,p,i] + the sum of values[o,k,i] over the k that go to place p; 0 at the padding
template <typename T, typename A, typename I>
__global__ void sums_at(const T* __restrict__ values, const long long* __restrict__ keys,
                        const T* __restrict__ base, T* __restrict__ y, I count, I places, I inner,
                        I sources, I padding)
{
    for (I at = first<I>(); at < count; at += step<I>()) {
        const I i = at % inner, place = at / inner % places, o = at / inner / places;
        const long long end = ((long long)place + 1) * sources;
        A sum = A(0);
        I key = lower_bound(keys, sources, (long long)place * sources);
        for (; place != padding && key < sources && keys[key] < end; ++key) {
            const I k = (I)(keys[key] % sources);
            sum += (A)values[(o * sources + k) * inner + i];
        }
        y[at] = (T)(base ? (A)base[at] + sum : sum);
    }
}
