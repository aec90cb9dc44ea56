// Everything of it that is modelled is in helper_functions.h.
#pragma once
#include "helper_functions.h"
