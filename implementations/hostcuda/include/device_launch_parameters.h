// Everything of it that is modelled is in hostcuda.h.
#pragma once
#include "hostcuda.h"
