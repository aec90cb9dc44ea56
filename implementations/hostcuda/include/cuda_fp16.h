// float16 for kernels on the CPU: every operation in float, every result rounded.
#pragma once
#include "hostcuda.h"
typedef hostcuda::Narrow<5> __half;
typedef __half half;
struct alignas(4) __half2 { __half x, y; };
typedef __half2 half2;
static inline float __half2float(__half h) { return h; }
static inline __half __float2half(float f) { return f; }
static inline __half __float2half_rn(float f) { return f; }
static inline __half __double2half(double d) { return d; }
static inline __half2 __halves2half2(__half a, __half b) { return {a, b}; }
static inline float __low2float(__half2 h) { return h.x; }
static inline float __high2float(__half2 h) { return h.y; }
static inline float2 __half22float2(__half2 h) { return {h.x, h.y}; }
static inline __half2 __floats2half2_rn(float a, float b) { return {a, b}; }
static inline __half2 __float22half2_rn(float2 f) { return {f.x, f.y}; }
static inline __half __hadd(__half a, __half b) { return a + b; }
static inline __half __hsub(__half a, __half b) { return a - b; }
static inline __half __hmul(__half a, __half b) { return a * b; }
static inline __half __hfma(__half a, __half b, __half c) { return double(float(a)) * double(float(b)) + double(float(c)); }
static inline bool __hisnan(__half h) { return float(h) != float(h); }
static inline unsigned short __half_as_ushort(__half h) { return h.bits; }
static inline __half __ushort_as_half(unsigned short bits) { __half h; h.bits = bits; return h; }
