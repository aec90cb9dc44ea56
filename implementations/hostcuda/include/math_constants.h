// Everything of it that is modelled is in hostcuda.h.
#pragma once
#include "hostcuda.h"
#define CUDART_INF_F INFINITY
#define CUDART_NAN_F NAN
#define CUDART_INF HUGE_VAL
#define CUDART_NAN double(NAN)
