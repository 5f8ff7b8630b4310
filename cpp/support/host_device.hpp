// Lets one header serve host compilers and nvcc.
#pragma once

#if defined(__CUDACC__)
#define MOE4J_HOST_DEVICE __host__ __device__
#else
#define MOE4J_HOST_DEVICE
#endif
