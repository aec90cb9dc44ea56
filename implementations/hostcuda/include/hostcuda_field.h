// Numbers of a prime field where a text says float or double: sums, differences, products and quotients.
//
// There is nothing to compare them by and no function of them: what needs that does not compile, and the
// compiler's words say where.  Memory is laid out as float's is.
#pragma once

namespace hostcuda {

struct Element {
    uint32_t residue;
    Element() = default;
    template <class I, class = std::enable_if_t<std::is_integral<I>::value>>
    constexpr Element(I n) : residue(of(n < 0, n < 0 ? 0 - (unsigned long long)n : (unsigned long long)n)) {}
    static constexpr Element from(uint32_t residue) { Element e = 0; e.residue = residue; return e; }
    constexpr Element operator-() const { return from(residue ? uint32_t(HOSTCUDA_PRIME - residue) : 0); }
    constexpr Element operator+() const { return *this; }
    constexpr Element &operator+=(Element b) { return *this = sum(*this, b); }
    constexpr Element &operator-=(Element b) { return *this = sum(*this, -b); }
    constexpr Element &operator*=(Element b) { return *this = product(*this, b); }
    constexpr Element &operator/=(Element b) { return *this = product(*this, inverse(b)); }
    friend constexpr Element operator+(Element a, Element b) { return a += b; }
    friend constexpr Element operator-(Element a, Element b) { return a -= b; }
    friend constexpr Element operator*(Element a, Element b) { return a *= b; }
    friend constexpr Element operator/(Element a, Element b) { return a /= b; }

private:
    static constexpr uint32_t of(bool negative, unsigned long long size) {
        const uint32_t r = uint32_t(size % HOSTCUDA_PRIME);
        return negative && r ? uint32_t(HOSTCUDA_PRIME - r) : r;
    }
    static constexpr Element sum(Element a, Element b) { return from(uint32_t((uint64_t(a.residue) + b.residue) % HOSTCUDA_PRIME)); }
    static constexpr Element product(Element a, Element b) { return from(uint32_t(uint64_t(a.residue) * b.residue % HOSTCUDA_PRIME)); }
    static constexpr Element inverse(Element a) {       // a to the power of prime - 2; of 0 it is 0
        Element result = 1;
        for (uint64_t n = HOSTCUDA_PRIME - 2; n; n >>= 1, a = product(a, a))
            if (n & 1) result = product(result, a);
        return result;
    }
};
template <> struct Exact<Element> : std::true_type {};

}  // namespace hostcuda

HOSTCUDA_VECTOR(hostcuda::Element, hostcuda_element)

#define HOSTCUDA_ON_ELEMENTS(name, of) \
    static inline hostcuda::Element name(hostcuda::Element a, hostcuda::Element b) { return of; }
HOSTCUDA_ON_ELEMENTS(__fadd_rn, a + b) HOSTCUDA_ON_ELEMENTS(__fsub_rn, a - b) HOSTCUDA_ON_ELEMENTS(__fmul_rn, a * b)
HOSTCUDA_ON_ELEMENTS(__fdiv_rn, a / b) HOSTCUDA_ON_ELEMENTS(__fdividef, a / b) HOSTCUDA_ON_ELEMENTS(fdividef, a / b)
HOSTCUDA_ON_ELEMENTS(__dadd_rn, a + b) HOSTCUDA_ON_ELEMENTS(__dsub_rn, a - b) HOSTCUDA_ON_ELEMENTS(__dmul_rn, a * b)
HOSTCUDA_ON_ELEMENTS(__ddiv_rn, a / b)
#define HOSTCUDA_FUSED(name) \
    static inline hostcuda::Element name(hostcuda::Element a, hostcuda::Element b, hostcuda::Element c) { return a * b + c; }
HOSTCUDA_FUSED(fmaf) HOSTCUDA_FUSED(fma) HOSTCUDA_FUSED(__fmaf_rn) HOSTCUDA_FUSED(__fma_rn)
static inline hostcuda::Element __frcp_rn(hostcuda::Element x) { return 1 / x; }
static inline hostcuda::Element __drcp_rn(hostcuda::Element x) { return 1 / x; }

static inline cudaError_t cudaEventElapsedTime(hostcuda::Element *ms, cudaEvent_t, cudaEvent_t) { *ms = 0; return cudaSuccess; }

// From here on the text's own numbers are these.
#define float hostcuda::Element
#define double hostcuda::Element
#define float2 hostcuda_element2
#define float3 hostcuda_element3
#define float4 hostcuda_element4
#define make_float2 make_hostcuda_element2
#define make_float3 make_hostcuda_element3
#define make_float4 make_hostcuda_element4
