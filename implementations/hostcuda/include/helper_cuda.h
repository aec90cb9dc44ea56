// The names that NVIDIA's samples check calls by.
#pragma once
#include "hostcuda.h"
#define checkCudaErrors(call) hostcuda_checked((call), {__FILE__, __LINE__})
#define getLastCudaError(text) hostcuda_checked(cudaGetLastError(), {__FILE__, __LINE__})
static inline void hostcuda_checked(cudaError_t status, hostcuda::Site site) {
    if (status != cudaSuccess) hostcuda::fails(cudaGetErrorString(status), site);
}
static inline int findCudaDevice(int, const char **) { return 0; }
