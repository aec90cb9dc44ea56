// Everything of it that is modelled is in cooperative_groups.h.
#pragma once
#include "../cooperative_groups.h"
