// What NVIDIA's samples take from their helpers: a timer, and the options of a command line, of which there are none.
#pragma once
#include "helper_cuda.h"
#include <cstring>
#include <string>
struct StopWatchInterface { int unused; };
static inline bool sdkCreateTimer(StopWatchInterface **t) { *t = new StopWatchInterface{}; return true; }
static inline bool sdkDeleteTimer(StopWatchInterface **t) { delete *t; *t = nullptr; return true; }
static inline bool sdkStartTimer(StopWatchInterface **) { return true; }
static inline bool sdkStopTimer(StopWatchInterface **) { return true; }
static inline bool sdkResetTimer(StopWatchInterface **) { return true; }
static inline float sdkGetTimerValue(StopWatchInterface **) { return 1; }
static inline float sdkGetAverageTimerValue(StopWatchInterface **) { return 1; }
static inline bool checkCmdLineFlag(int, const char **, const char *) { return false; }
static inline int getCmdLineArgumentInt(int, const char **, const char *) { return 0; }
static inline bool getCmdLineArgumentString(int, const char **, const char *, char **) { return false; }
static inline char *sdkFindFilePath(const char *, const char *) { return nullptr; }
#ifndef EXIT_WAIVED
#define EXIT_WAIVED 2
#endif
