// bfloat16 for kernels on the CPU.
#pragma once
#include "hostcuda_halves.h"
typedef hostcuda::Narrow<8> __nv_bfloat16;
typedef __nv_bfloat16 nv_bfloat16;
HOSTCUDA_HALVES(__nv_bfloat16, __nv_bfloat162, bfloat16)
typedef __nv_bfloat162 nv_bfloat162;
static inline __nv_bfloat162 __halves2bfloat162(__nv_bfloat16 a, __nv_bfloat16 b) { return {a, b}; }
static inline __nv_bfloat162 __bfloat162bfloat162(__nv_bfloat16 h) { return {h, h}; }
