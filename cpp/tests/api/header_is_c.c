/* Compiles only while moe4j.h is a C header. */
#include "moe4j/moe4j.h"

int32_t moe4j_test_abi_version_from_c(void);

int32_t moe4j_test_abi_version_from_c(void) { return moe4j_abi_version(); }
