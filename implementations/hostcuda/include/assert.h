// A failed assertion ends the launch, not Python.  No #pragma once: C's header has none either.
#ifdef HOSTCUDA_LATER       // C++'s headers come first: they use names that CUDA defines
#include_next <assert.h>
#else
#include "hostcuda.h"
#undef assert
#ifdef NDEBUG
#define assert(...) ((void)0)
#else
#define assert(...) ((__VA_ARGS__) ? (void)0 : hostcuda::fails("assert(" #__VA_ARGS__ ")", {__FILE__, __LINE__}))
#endif
#endif
