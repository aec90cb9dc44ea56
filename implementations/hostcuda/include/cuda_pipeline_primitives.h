// Everything of it that is modelled is in hostcuda_async.h.
#pragma once
#include "hostcuda.h"
