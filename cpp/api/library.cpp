// Versions and the last error.
#include "api/last_error.hpp"
#include "moe4j/moe4j.h"

int32_t moe4j_abi_version(void) { return MOE4J_ABI_VERSION; }

const char* moe4j_version(void) { return MOE4J_VERSION; }

const char* moe4j_last_error(void) { return moe4j::last_error(); }
