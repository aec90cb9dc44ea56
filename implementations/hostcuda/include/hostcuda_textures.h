// Textures: arrays and linear memory, fetched by point or linearly.  Reads go through the memory that they are of.
#pragma once

enum cudaTextureAddressMode { cudaAddressModeWrap, cudaAddressModeClamp, cudaAddressModeMirror, cudaAddressModeBorder };
enum cudaTextureFilterMode { cudaFilterModePoint, cudaFilterModeLinear };
enum cudaTextureReadMode { cudaReadModeElementType, cudaReadModeNormalizedFloat };
enum cudaChannelFormatKind { cudaChannelFormatKindSigned, cudaChannelFormatKindUnsigned, cudaChannelFormatKindFloat, cudaChannelFormatKindNone };
enum cudaResourceType { cudaResourceTypeArray, cudaResourceTypeMipmappedArray, cudaResourceTypeLinear, cudaResourceTypePitch2D };
struct cudaChannelFormatDesc { int x, y, z, w; cudaChannelFormatKind f; };
struct cudaExtent { size_t width, height, depth; };
static inline cudaExtent make_cudaExtent(size_t w, size_t h, size_t d) { return {w, h, d}; }
struct cudaArray { char *data; size_t width, height, depth, element; };
typedef cudaArray *cudaArray_t;
struct cudaResourceDesc {
    cudaResourceType resType;
    struct {
        struct { cudaArray_t array; } array;
        struct { void *devPtr; cudaChannelFormatDesc desc; size_t sizeInBytes; } linear;
        struct { void *devPtr; cudaChannelFormatDesc desc; size_t width, height, pitchInBytes; } pitch2D;
    } res;
};
struct cudaTextureDesc {
    cudaTextureAddressMode addressMode[3];
    cudaTextureFilterMode filterMode;
    cudaTextureReadMode readMode;
    int sRGB;
    float borderColor[4];
    int normalizedCoords;
    unsigned maxAnisotropy;
    cudaTextureFilterMode mipmapFilterMode;
    float mipmapLevelBias, minMipmapLevelClamp, maxMipmapLevelClamp;
};
struct hostcuda_texture { const char *data; size_t width, height, depth, pitch, bytes; cudaTextureDesc how; };
typedef const hostcuda_texture *cudaTextureObject_t;
typedef const cudaArray *cudaSurfaceObject_t;

static inline cudaChannelFormatDesc cudaCreateChannelDesc(int x, int y, int z, int w, cudaChannelFormatKind f) { return {x, y, z, w, f}; }
template <class T> static inline cudaChannelFormatDesc cudaCreateChannelDesc() {
    const int bits = 8 * int(sizeof(T));       // of all channels: only the size of an element matters here
    return {bits, 0, 0, 0, std::is_floating_point<T>::value ? cudaChannelFormatKindFloat : cudaChannelFormatKindSigned};
}
static inline cudaError_t cudaMalloc3DArray(cudaArray_t *to, const cudaChannelFormatDesc *d, cudaExtent e, unsigned = 0, HOSTCUDA_LINE) {
    const size_t element = size_t(d->x + d->y + d->z + d->w) / 8, h = e.height ? e.height : 1, depth = e.depth ? e.depth : 1;
    *to = new cudaArray{(char *)hostcuda::allocate(e.width * h * depth * element, {file, line}), e.width, h, depth, element};
    return cudaSuccess;
}
static inline cudaError_t cudaMallocArray(cudaArray_t *to, const cudaChannelFormatDesc *d, size_t w, size_t h = 0, unsigned = 0, HOSTCUDA_LINE) {
    return cudaMalloc3DArray(to, d, {w, h, 0}, 0, file, line);
}
static inline cudaError_t cudaFreeArray(cudaArray_t a, HOSTCUDA_LINE) {
    hostcuda::or_stop(hostcuda::release(a->data, {file, line}));
    delete a;
    return cudaSuccess;
}
static inline cudaError_t cudaMemcpyToArray(cudaArray_t a, size_t x, size_t y, const void *from, size_t bytes, cudaMemcpyKind k, HOSTCUDA_LINE) {
    return cudaMemcpy(a->data + y * a->width * a->element + x, from, bytes, k, file, line);
}
static inline cudaError_t cudaMemcpy2DToArray(cudaArray_t a, size_t x, size_t y, const void *from, size_t pitch, size_t width, size_t height, cudaMemcpyKind k, HOSTCUDA_LINE) {
    return cudaMemcpy2D(a->data + y * a->width * a->element + x, a->width * a->element, from, pitch, width, height, k, file, line);
}
static inline cudaError_t cudaCreateTextureObject(cudaTextureObject_t *to, const cudaResourceDesc *r, const cudaTextureDesc *t, const void *) {
    hostcuda_texture one = {};
    if (r->resType == cudaResourceTypeLinear) {
        const cudaChannelFormatDesc &d = r->res.linear.desc;
        const size_t element = size_t(d.x + d.y + d.z + d.w) / 8;
        one = {(const char *)r->res.linear.devPtr, r->res.linear.sizeInBytes / element, 1, 1, r->res.linear.sizeInBytes, element, *t};
    } else if (r->resType == cudaResourceTypePitch2D) {
        const cudaChannelFormatDesc &d = r->res.pitch2D.desc;
        one = {(const char *)r->res.pitch2D.devPtr, r->res.pitch2D.width, r->res.pitch2D.height, 1, r->res.pitch2D.pitchInBytes, size_t(d.x + d.y + d.z + d.w) / 8, *t};
    } else if (r->resType == cudaResourceTypeArray) {
        const cudaArray &a = *r->res.array.array;
        one = {a.data, a.width, a.height, a.depth, a.width * a.element, a.element, *t};
    } else return cudaErrorInvalidValue;
    *to = new hostcuda_texture(one);
    return cudaSuccess;
}
static inline cudaError_t cudaDestroyTextureObject(cudaTextureObject_t t) { delete t; return cudaSuccess; }

namespace hostcuda {
// Where a coordinate is read, by the address mode; -1 is the border, which is 0.
inline long texel(long i, size_t n, cudaTextureAddressMode mode) {
    const long size = long(n);
    if (i >= 0 && i < size) return i;
    if (mode == cudaAddressModeBorder) return -1;
    if (mode == cudaAddressModeWrap) return (i % size + size) % size;
    if (mode == cudaAddressModeMirror) { const long twice = (i % (2 * size) + 2 * size) % (2 * size); return twice < size ? twice : 2 * size - 1 - twice; }
    return i < 0 ? 0 : size - 1;
}
__attribute__((no_sanitize_thread)) inline hostcuda_texture described(cudaTextureObject_t t) { return *t; }
template <class T> __attribute__((always_inline)) inline T texel_at(const hostcuda_texture &t, long x, long y, long z) {
    const long i = texel(x, t.width, t.how.addressMode[0]), j = texel(y, t.height, t.how.addressMode[1]), k = texel(z, t.depth, t.how.addressMode[2]);
    if (i < 0 || j < 0 || k < 0) return T{};
    return *(const T *)(t.data + (size_t(k) * t.height + size_t(j)) * t.pitch + size_t(i) * t.bytes);
}
// Weights have 8 bits of fraction, as the guide says of the hardware.
inline float weight(float x) { return std::nearbyint((x - std::floor(x)) * 256.0f) / 256.0f; }
template <class T> __attribute__((always_inline)) inline T fetched(cudaTextureObject_t object, float x, float y, float z) {
    hostcuda_texture t = described(object);
    if (!t.how.normalizedCoords)        // CUDA's guide: wrap and mirror are clamp then
        for (cudaTextureAddressMode &mode : t.how.addressMode)
            if (mode == cudaAddressModeWrap || mode == cudaAddressModeMirror) mode = cudaAddressModeClamp;
    if (t.how.normalizedCoords) x *= float(t.width), y *= float(t.height), z *= float(t.depth);
    if constexpr (std::is_same<T, float>::value) {
        if (t.how.filterMode == cudaFilterModeLinear) {
            const bool deep = t.depth > 1, high = t.height > 1;
            x -= 0.5f, y -= high ? 0.5f : 0.0f, z -= deep ? 0.5f : 0.0f;
            const float a = weight(x), b = high ? weight(y) : 0, c = deep ? weight(z) : 0;
            const long i = long(std::floor(x)), j = long(std::floor(y)), k = long(std::floor(z));
            float sum = 0;
            for (int n = 0; n < 8; ++n) {
                const float w = (n & 1 ? a : 1 - a) * (n & 2 ? b : 1 - b) * (n & 4 ? c : 1 - c);
                if (w != 0) sum += w * texel_at<float>(t, i + (n & 1), j + (n >> 1 & 1), k + (n >> 2));
            }
            return sum;
        }
    }
    return texel_at<T>(t, long(std::floor(x)), long(std::floor(y)), long(std::floor(z)));
}
}  // namespace hostcuda
template <class T> __attribute__((always_inline)) static inline T tex1Dfetch(cudaTextureObject_t object, int i) {
    const hostcuda_texture t = hostcuda::described(object);
    return i < 0 || size_t(i) >= t.width ? T{} : *(const T *)(t.data + size_t(i) * t.bytes);
}
template <class T> __attribute__((always_inline)) static inline T tex1D(cudaTextureObject_t t, float x) { return hostcuda::fetched<T>(t, x, 0, 0); }
template <class T> __attribute__((always_inline)) static inline T tex2D(cudaTextureObject_t t, float x, float y) { return hostcuda::fetched<T>(t, x, y, 0); }
template <class T> __attribute__((always_inline)) static inline T tex3D(cudaTextureObject_t t, float x, float y, float z) { return hostcuda::fetched<T>(t, x, y, z); }
