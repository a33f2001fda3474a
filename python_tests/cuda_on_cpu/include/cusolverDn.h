// The routines of cuSOLVER that csrc/cuda calls; see cusolver.cpp.
#pragma once

#include <cublas_v2.h>

using cusolverDnHandle_t = struct EmulatedSolver*;
enum cusolverStatus_t { CUSOLVER_STATUS_SUCCESS = 0, CUSOLVER_STATUS_INVALID_VALUE = 3 };
cusolverStatus_t cusolverGetProperty(libraryPropertyType type, int* value);
