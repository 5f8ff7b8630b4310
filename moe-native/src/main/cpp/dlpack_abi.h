/*
 * The part of DLPack's stable ABI that tensors cross between libraries with: what dlpack.h calls
 * DLManagedTensor, the same from its first version to 1.x. Names and order of the fields are the
 * standard's. For the bindings alone: C and C++ programs include dlpack.h itself.
 */
#ifndef MOE4J_DLPACK_ABI_H_
#define MOE4J_DLPACK_ABI_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Where the data is. */
typedef struct DLDevice {
  int32_t device_type; /* 1: host, 2: CUDA, 3: pinned host, 13: managed CUDA */
  int32_t device_id;   /* ordinal among devices of the type */
} DLDevice;

/** Type of the elements. */
typedef struct DLDataType {
  uint8_t code; /* 0: signed, 1: unsigned, 2: IEEE float, 4: bfloat, from 7 on: narrow floats */
  uint8_t bits;
  uint16_t lanes; /* values of an element, e.g. 2 for a byte of two FP4 values */
} DLDataType;

/** A tensor that somebody else keeps alive. */
typedef struct DLTensor {
  void* data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t* shape;       /* [ndim] */
  int64_t* strides;     /* [ndim] in elements, or NULL: row-major and contiguous */
  uint64_t byte_offset; /* from data to the first element */
} DLTensor;

/** A tensor with the means to let go of it. */
typedef struct DLManagedTensor {
  DLTensor dl_tensor;
  void* manager_ctx;
  void (*deleter)(struct DLManagedTensor* self); /* called once by whoever has it last; or NULL */
} DLManagedTensor;

/** Lets go of a tensor. */
static inline void moe4j_dlpack_delete(DLManagedTensor* self) {
  if (self->deleter != NULL) self->deleter(self);
}

#ifdef __cplusplus
}
#endif

#endif /* MOE4J_DLPACK_ABI_H_ */
