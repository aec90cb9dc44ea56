#pragma once
#include <cstdio>
#include <cstdlib>
#define CHECK(call)                                                                          \
    do {                                                                                     \
        cudaError_t status = call;                                                           \
        if (status != cudaSuccess) {                                                         \
            fprintf(stderr, "%s:%d %s\n", __FILE__, __LINE__, cudaGetErrorString(status)); \
            exit(EXIT_FAILURE);                                                              \
        }                                                                                    \
    } while (0)
