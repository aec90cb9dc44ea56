// Kernels that do what no kernel may, for float x[64] and n: one idea each.
//
//   launch: <<<blocks, threads>>> n            told: the kind of finding: words of its text
//
// and `here` is the line that is told.

// launch: <<<2, 64>>> 64
// told: out of bounds: write of 4 bytes, 0 bytes past the end of argument 0
extern "C" __global__ void one_past_the_end(float *x, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i <= n) x[i] = 1;  // here
}

// launch: <<<1, 64>>> 64
// told: out of bounds: read of 4 bytes, 4 bytes before the start of argument 0
extern "C" __global__ void one_before_the_start(float *x, int n) {
    x[threadIdx.x] = 1;
    if (threadIdx.x == 0) x[1] = x[-1];  // here
}

// launch: <<<1, 16>>> 64
// told: out of bounds: array index
extern "C" __global__ void an_index_outside_a_shared_array(float *x, int n) {
    __shared__ float s[8][8];
    s[threadIdx.x][0] = 1;  // here
}

// launch: <<<1, 64>>> 64
// told: data race: of argument 0: thread 0, and no barrier
extern "C" __global__ void added_without_atomics(float *x, int n) {
    x[threadIdx.x % 8] += 1;  // here
}

// launch: <<<2, 32>>> 64
// told: data race: write after write at byte 0 of argument 0: another block
extern "C" __global__ void two_blocks_write_one_element(float *x, int n) {
    if (threadIdx.x == 0) x[0] = blockIdx.x;  // here
}

// launch: <<<4, 1>>> 64
// told: data race: write after read
extern "C" __global__ void reads_what_other_blocks_write(float *x, int n) {
    float s = x[(blockIdx.x + 1) % gridDim.x];
    x[blockIdx.x] = s;  // here
}

// launch: <<<1, 64>>> 64
// told: data race: shared memory
extern "C" __global__ void no_barrier_before_reading(float *x, int n) {
    __shared__ float s[64];
    s[threadIdx.x] = 1;
    s[threadIdx.x ^ 1] += 1;  // here
    x[threadIdx.x] = 0;
}

// launch: <<<1, 64>>> 64
// told: data race: write after read
extern "C" __global__ void no_barrier_before_writing_again(float *x, int n) {
    __shared__ float s[64];
    for (int k = 0; k < 2; ++k) {
        s[threadIdx.x] = k;  // here
        __syncthreads();
        x[threadIdx.x] = s[63 - threadIdx.x];
    }
}

// launch: <<<1, 32>>> 64
// told: data race: read after write
extern "C" __global__ void a_warp_without_syncwarp(float *x, int n) {
    __shared__ float s[32];
    s[threadIdx.x] = 1;
    __ballot_sync(0xffffffffu, 1);
    x[threadIdx.x] = s[31 - threadIdx.x];  // here
}

// launch: <<<1, 64>>> 64
// told: uninitialised shared memory: nobody in this block has written yet
extern "C" __global__ void shared_memory_that_nobody_writes(float *x, int n) {
    __shared__ float s[64];
    if (threadIdx.x < 63) s[threadIdx.x] = 1;
    __syncthreads();
    x[threadIdx.x] = s[threadIdx.x];  // here
}

// launch: <<<2, 64>>> 64
// told: uninitialised shared memory: nobody in this block has written yet
extern "C" __global__ void the_sums_of_the_block_before(float *x, int n) {
    __shared__ float s;
    if (threadIdx.x == 0 && blockIdx.x == 0) s = 1;
    __syncthreads();
    if (threadIdx.x == 0) x[blockIdx.x] = s;  // here
}

// launch: <<<1, 64>>> 64
// told: divergent barrier: 40 of the block's 64 threads
extern "C" __global__ void returns_before_a_barrier(float *x, int n) {
    if (threadIdx.x >= 40) return;
    __syncthreads();  // here
    x[threadIdx.x] = 1;
}

// launch: <<<1, 64>>> 64
// told: divergent barrier: different barriers
extern "C" __global__ void a_barrier_in_each_branch(float *x, int n) {
    if (threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();  // here
    x[threadIdx.x] = 1;
}

// launch: <<<1, 32>>> 64
// told: deadlock: 16 threads wait at a block's barrier, 16 at a warp's
extern "C" __global__ void half_the_block_at_a_barrier(float *x, int n) {
    if (threadIdx.x < 16) __syncthreads();  // here
    else __syncwarp(0xffffffffu);
    x[threadIdx.x] = 1;
}

// launch: <<<1, 1>>> 64
// told: misaligned access: multiple
extern "C" __global__ void a_vector_at_a_float_address(float *x, int n) {
    float4 v = *(const float4 *)(x + 1);  // here
    x[0] = v.x + v.w;
}

// launch: <<<1, 1>>> 300
// told: integer overflow: product overflows
extern "C" __global__ void a_signed_index_of_32_bits(float *x, int n) {
    int t = threadIdx.x + 1, i = t * n * n * n * n;  // here
    x[i % 64 < 0 ? 0 : i % 64] = 1;
}

// launch: <<<1, 1>>> 64
// told: undefined behaviour: division by zero
extern "C" __global__ void a_division_by_zero(float *x, int n) {
    x[0] = n / int(threadIdx.x);  // here
}

// launch: <<<1, 64>>> 64
// told: launch: 64 threads in a block, but __launch_bounds__ allows 32
extern "C" __global__ void __launch_bounds__(32) more_threads_than_the_bounds_allow(float *x, int n) {  // here
    x[threadIdx.x] = 1;
}

// launch: <<<1, 32>>> 64
// told: absent lane: does not name the calling lane 1
extern "C" __global__ void a_mask_without_oneself(float *x, int n) {
    __syncwarp(1u);  // here
    x[threadIdx.x] = 1;
}

// launch: <<<1, 32>>> 64
// told: order: argument 0 differs from element 0 on when threads run in reverse
extern "C" __global__ void who_comes_first(float *x, int n) {
    atomicExch(x, float(threadIdx.x));
}
