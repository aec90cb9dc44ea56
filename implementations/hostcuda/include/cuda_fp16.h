// float16 for kernels on the CPU.
#pragma once
#include "hostcuda_halves.h"
typedef hostcuda::Narrow<5> __half;
typedef __half half;
HOSTCUDA_HALVES(__half, __half2, half)
typedef __half2 half2;
static inline __half2 __halves2half2(__half a, __half b) { return {a, b}; }
static inline __half2 __half2half2(__half h) { return {h, h}; }
