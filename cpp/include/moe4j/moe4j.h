/*
 * moe4j: FP4 block-scale Mixture-of-Experts layers. The library's only binary interface.
 *
 * Conventions
 *   - Every function returns a moe4j_status, except those that can only answer a constant. After a
 *     status other than MOE4J_OK, moe4j_last_error() has one sentence that names the argument, what
 *     was found and what was expected. The message belongs to the calling thread.
 *   - No function throws, aborts or prints. Null pointers and impossible sizes are refused.
 *   - Handles are opaque. Whoever creates one destroys it, once. Destroying NULL does nothing.
 *   - Tensors are plain pointers to contiguous row-major memory of the device at hand, borrowed for
 *     the duration of the call (on a CUDA device: until the work on the stream has finished).
 *   - `stream` is a cudaStream_t on CUDA devices and must be NULL on the CPU, where calls return
 *     when the work is done.
 *   - Symbols: T tokens, H hidden_size, I intermediate_size, E num_experts, k top_k,
 *     S num_fused_shared_experts, L local_num_experts.
 *
 * Thread safety: a device may be used from any number of threads. A sealed layer is immutable and
 * may be launched from any number of threads at once, each with a workspace of its own.
 */
#ifndef MOE4J_MOE4J_H_
#define MOE4J_MOE4J_H_

#include <stdint.h>

#if defined(MOE4J_BUILDING)
#define MOE4J_API __attribute__((visibility("default")))
#else
#define MOE4J_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/** Changes with every incompatible change of this header; loaders compare it with their own. */
#define MOE4J_ABI_VERSION 1

/** Every allocation of moe4j_allocate() starts at a multiple of this many bytes. */
#define MOE4J_ALIGNMENT 256

enum moe4j_status {
  MOE4J_OK = 0,
  MOE4J_INVALID_ARGUMENT = 1,   /* the message names the argument */
  MOE4J_UNSUPPORTED = 2,        /* valid, but this build or device does not do it */
  MOE4J_OUT_OF_MEMORY = 3,      /* nothing was changed */
  MOE4J_DEVICE_UNAVAILABLE = 4, /* no such device, no driver, or no library for it */
  MOE4J_DEVICE_ERROR = 5,       /* the device reported a failure */
  MOE4J_INTERNAL_ERROR = 6      /* a defect of this library */
};

enum moe4j_device_kind { MOE4J_CPU = 0, MOE4J_CUDA = 1 };

/** Element types. MOE4J_E2M1X2 packs two E2M1 codes a byte, low nibble = even index along K. */
enum moe4j_dtype {
  MOE4J_F32 = 0,
  MOE4J_BF16 = 1,
  MOE4J_I32 = 2,
  MOE4J_I16 = 3,
  MOE4J_U8 = 4,
  MOE4J_E4M3 = 5,
  MOE4J_UE8M0 = 6,
  MOE4J_E2M1X2 = 7
};

/**
 * Formats of weights and of matrix-multiplication inputs. A block format is a matrix of codes
 * [rows, K] and a matrix of block scales [rows, K / block], both row-major ("linear").
 *
 *   format | codes   | scales | block | value of an element
 *   BF16   | BF16    | -      | 1     | the code
 *   NVFP4  | E2M1X2  | E4M3   | 16    | e2m1 * e4m3 * tensor_scale
 *   MXFP4  | E2M1X2  | UE8M0  | 32    | e2m1 * 2^(b - 127)
 *   MXFP8  | E4M3    | UE8M0  | 32    | e4m3 * 2^(b - 127)
 *
 * FP8_PER_TOKEN is for activations that are quantized inside: an E4M3 code for each element and one
 * scale for each token (each row of x and of h), the smallest power of two that lets nothing
 * saturate: 2^ceil(log2(amax / 448)), at least 2^-127. A power of two costs E4M3 no accuracy that
 * amax / 448 would keep, and makes code * scale exact in BF16. Asked for by name, never a default.
 *
 * INT8 is for activations with FP4 weights that are quantized inside; its codes never leave a
 * launch. Blocks of 32: scale = amax / 127, rounded to F32; code = the quotient element / scale,
 * rounded to F32 and then to an integer, ties to even, at most 127 in magnitude; value = code *
 * scale. A scale of zero has zero codes. A block that is not finite becomes NaN. About 1e-2 of
 * relative error in a layer's output, for products that cost half or less on processors with 8-bit
 * dot products. Asked for by name, never a default.
 */
enum moe4j_format {
  MOE4J_FORMAT_BF16 = 0,
  MOE4J_FORMAT_NVFP4 = 1,
  MOE4J_FORMAT_MXFP4 = 2,
  MOE4J_FORMAT_MXFP8 = 3,
  MOE4J_FORMAT_FP8_PER_TOKEN = 4,
  MOE4J_FORMAT_INT8 = 5
};

/** How experts are selected from logits and weighted. Ties go to the lower expert id. */
enum moe4j_routing_method {
  MOE4J_ROUTING_DEFAULT = 0,           /* softmax, top-k, weight p */
  MOE4J_ROUTING_RENORMALIZE = 1,       /* top-k of logits, softmax over the chosen */
  MOE4J_ROUTING_DEEPSEEK_V3 = 2,       /* sigmoid + bias, groups, renormalized, scaled */
  MOE4J_ROUTING_LLAMA4 = 3,            /* top-1 of logits, weight sigmoid */
  MOE4J_ROUTING_RENORMALIZE_NAIVE = 4, /* softmax, top-k, renormalized if norm_topk_prob */
  MOE4J_ROUTING_TOP_K = 5,             /* top-k of logits, weight the logit */
  MOE4J_ROUTING_SIGMOID_RENORM = 6,    /* sigmoid, top-k, renormalized if norm_topk_prob */
  MOE4J_ROUTING_MINIMAX2 = 7,          /* sigmoid + bias selects, renormalized sigmoid, scaled */
  MOE4J_ROUTING_SIGMOID = 8,           /* sigmoid, top-k, weight sigmoid */
  MOE4J_ROUTING_TOP_K_SIGMOID = 9      /* top-k of logits, weight sigmoid */
};

/** Where a launch takes its routing from. */
enum moe4j_routing_mode {
  MOE4J_FROM_LOGITS = 0, /* routing_logits [T, E]; the layer's routing method runs */
  MOE4J_PACKED = 1,      /* topk_packed I32 [T, k] = expert_id << 16 | bf16 bits of the weight */
  MOE4J_UNPACKED = 2     /* topk_ids I32 [T, k] and topk_weights BF16 or F32 [T, k] */
};

/**
 * Activation between the two matrix multiplications; g and u are a gate and an up output.
 * Gated: SwiGLU g*sigmoid(alpha*g)*(u + beta) after g <- min(g, limit), u <- clamp(u, +-limit);
 * GeGLU gelu_erf(g)*u (same clamps); SiTU beta*tanh(u/beta) * alpha*tanh(g/alpha)*sigmoid(g).
 * Not gated (no up projection): ReLU2 relu(g)^2; Identity g.
 */
enum moe4j_activation {
  MOE4J_SWIGLU = 0,
  MOE4J_GEGLU = 1,
  MOE4J_RELU2 = 2,
  MOE4J_IDENTITY = 3,
  MOE4J_SITU = 4
};

typedef struct moe4j_device moe4j_device;
typedef struct moe4j_layer moe4j_layer;

/** What a device is. */
typedef struct moe4j_device_info {
  int32_t kind;               /* moe4j_device_kind */
  int32_t index;              /* ordinal among devices of its kind */
  int32_t compute_units;      /* threads of the worker pool, or multiprocessors */
  int32_t compute_capability; /* CUDA: 10 * major + minor; CPU: 0 */
  int32_t driver_version;     /* CUDA driver as cudaDriverGetVersion reports it; CPU: 0 */
  int64_t memory_bytes;       /* total memory of the device */
  int64_t last_level_cache_bytes;
  char name[128];             /* marketing name */
  char instruction_sets[256]; /* space separated, e.g. "avx2 avx512 avx512_bf16" or "sm_90a" */
} moe4j_device_info;

/** Live resources and launches of one device since it was opened. */
typedef struct moe4j_device_counters {
  int64_t live_bytes;       /* moe4j_allocate() and prepared weights, not yet freed */
  int64_t live_allocations; /* buffers of moe4j_allocate(), not yet freed */
  int64_t live_layers;
  int64_t launches;         /* completed calls of moe4j_launch() */
  int64_t routing_launches; /* of those, launches that ran a routing method (MOE4J_FROM_LOGITS) */
} moe4j_device_counters;

/** Everything about a layer that its weights do not say. Sizes count elements. */
typedef struct moe4j_layer_desc {
  int32_t weight_format;            /* BF16, NVFP4 or MXFP4 */
  int32_t activation_format;        /* of x and of the intermediate h as the matrix units see them:
                                       BF16 (exact products), NVFP4, MXFP8, FP8_PER_TOKEN or,
                                       on CPUs, INT8 */
  int32_t hidden_size;              /* H, a multiple of both formats' blocks, up to 2^24 */
  int32_t intermediate_size;        /* I, a multiple of both formats' blocks, up to 2^24 */
  int32_t num_experts;              /* E, routed experts of the whole layer, 1..1024 */
  int32_t top_k;                    /* k, 1..min(E, 32) */
  int32_t local_expert_offset;      /* expert parallelism: this device holds experts */
  int32_t local_num_experts;        /* [offset, offset + L); others contribute nothing */
  int32_t num_fused_shared_experts; /* S: experts E..E+S-1, weight 1 for every token; DeepSeekV3
                                       routing only, not together with expert parallelism; 0..32 */
  int32_t activation;               /* moe4j_activation */
  int32_t routing_method;           /* moe4j_routing_method */
  int32_t n_group;                  /* DeepSeekV3: groups, divides E; otherwise 0 or 1 */
  int32_t topk_group;               /* DeepSeekV3: groups kept; otherwise 0 or 1 */
  int32_t norm_topk_prob;           /* boolean; RenormalizeNaive and SigmoidRenorm */
  float routed_scaling_factor;      /* DeepSeekV3 and MiniMax2; 1 otherwise */
} moe4j_layer_desc;

/**
 * One projection of one expert, [rows, K], in memory of the host. The strides allow interleaved
 * rows (gpt-oss ships gate and up rows alternating).
 */
typedef struct moe4j_matrix {
  const void* codes;        /* row r starts at codes + r * row_stride */
  int64_t row_stride;       /* bytes */
  const void* scales;       /* NULL for BF16 */
  int64_t scale_row_stride; /* bytes */
  float tensor_scale;       /* a multiplier; 1 where the format has none */
  int32_t bias_dtype;       /* BF16 or F32 */
  const void* bias;         /* [rows] or NULL */
  int64_t bias_stride;      /* elements between the biases of adjacent rows */
} moe4j_matrix;

/** All that belongs to one local expert. Copied by moe4j_layer_set_expert(). */
typedef struct moe4j_expert_weights {
  moe4j_matrix gate;        /* [I, H]; the only GEMM1 projection of activations without a gate */
  moe4j_matrix up;          /* [I, H]; zeroed for activations without a gate */
  moe4j_matrix down;        /* [H, I] */
  float input_scale;        /* activation_format NVFP4: tensor scale of x; otherwise ignored */
  float intermediate_scale; /* activation_format NVFP4: tensor scale of h; otherwise ignored */
  float alpha;              /* SwiGLU, SiTU; 1 by default; SiTU: positive, up to 2^64 */
  float beta;               /* SwiGLU: 0 by default; SiTU: 1 by default, positive, up to 2^64 */
  float limit;              /* SwiGLU, GeGLU clamp; +infinity for none */
} moe4j_expert_weights;

/**
 * One call of the operation. Unused pointers are NULL: a tensor that the call would not read or
 * write is refused. What is written overlaps nothing else. Tensors start at multiples of their
 * element's size.
 */
typedef struct moe4j_launch_args {
  int64_t tokens; /* T, up to 2^31 - 1; 0 is allowed and does nothing */

  int32_t routing_mode;         /* moe4j_routing_mode */
  int32_t routing_logits_dtype; /* F32 or BF16 */
  const void* routing_logits;   /* [T, E] */
  const float* routing_bias;    /* F32 [E] or NULL; DeepSeekV3 and MiniMax2 */
  const int32_t* topk_packed;   /* [T, k] */
  const int32_t* topk_ids;      /* [T, k] */
  const void* topk_weights;     /* [T, k] */
  int32_t topk_weights_dtype;   /* BF16 or F32 */

  int32_t hidden_states_format;     /* BF16 (quantized here if activation_format says so), or the
                                       layer's activation_format, NVFP4 or MXFP8: codes as they
                                       are */
  const void* hidden_states;        /* [T, H]; on CUDA at a multiple of 16 bytes */
  const void* hidden_states_scale;  /* block scales [T, H / block], linear; NULL for BF16 */
  float hidden_states_tensor_scale; /* NVFP4 codes: their tensor scale; otherwise 1 */
  int32_t output_dtype;             /* BF16 or F32 */
  const float* per_token_scale;     /* [T] or NULL: multiplies x's row before bias and activation */
  const void* gemm1_lora_delta;     /* BF16 [T, k, 2I] (gate then up; [T, k, I] without a gate) or
                                       NULL: added to GEMM1's outputs before the activation */

  void* output;                /* [T, H] of output_dtype; NULL if do_finalize is 0 */
  const float* addend;         /* F32 [T, H] or NULL: added before the one rounding of the output */
  int16_t* routing_replay_out; /* [T, k] chosen expert ids, or NULL */
  int32_t* topk_ids_out;       /* [T, k] or NULL */
  float* topk_weights_out;     /* [T, k] or NULL */

  /* do_finalize = 0: the caller combines, T * (k + S) < 2^31. Row p of permuted_output is GEMM2's
     output (bias included, not weighted) for one (token, slot); rows are ordered by expert, then
     token, without gaps. expanded_to_permuted[t * (k + S) + slot] is p, or -1 where the expert is
     not local. */
  int32_t do_finalize;
  int32_t tactic;                /* id from moe4j_layer_tactics() */
  void* permuted_output;         /* BF16 [T * (k + S), H]; on CUDA at a multiple of 16 bytes */
  float* expert_weights;         /* F32 [T, k + S] */
  int32_t* expanded_to_permuted; /* I32 [T * (k + S)] */

  void* workspace; /* at least moe4j_workspace_bytes(), aligned to MOE4J_ALIGNMENT */
  int64_t workspace_bytes;
  void* stream;
} moe4j_launch_args;

/* ---- library -------------------------------------------------------------------------------- */

/** MOE4J_ABI_VERSION of the loaded library. */
MOE4J_API int32_t moe4j_abi_version(void);

/** The library's version, e.g. "0.1.0". A constant. */
MOE4J_API const char* moe4j_version(void);

/** What went wrong in this thread's last failed call; "" if none did. Valid until its next call. */
MOE4J_API const char* moe4j_last_error(void);

/* ---- devices -------------------------------------------------------------------------------- */

/**
 * How many devices of a kind can be opened. Asking for CUDA loads libmoe4j_cuda.so from the folder
 * of this library; where there is none, no driver or no GPU, the count is 0, the status is MOE4J_OK
 * and moe4j_last_error() says why.
 */
MOE4J_API int32_t moe4j_device_count(int32_t kind, int32_t* count);

/**
 * Opens a device. `num_threads` bounds the worker threads of a CPU device, the calling thread
 * included, however many callers share it; 0 means all processors this process may use. It is
 * ignored by CUDA devices. `max_instruction_set` limits what a CPU device uses ("portable", "avx2",
 * "avx512", ... ; NULL or "" for the best there is).
 */
MOE4J_API int32_t moe4j_device_open(int32_t kind, int32_t index, int32_t num_threads,
                                    const char* max_instruction_set, moe4j_device** device);

/** Closes a device. Refused with MOE4J_INVALID_ARGUMENT while layers or allocations are live. */
MOE4J_API int32_t moe4j_device_close(moe4j_device* device);

MOE4J_API int32_t moe4j_device_info_get(const moe4j_device* device, moe4j_device_info* info);

MOE4J_API int32_t moe4j_device_counters_get(const moe4j_device* device,
                                            moe4j_device_counters* counters);

/* ---- memory --------------------------------------------------------------------------------- */

/**
 * Uninitialized memory of the device, aligned to MOE4J_ALIGNMENT. 0 bytes give a unique pointer.
 */
MOE4J_API int32_t moe4j_allocate(moe4j_device* device, int64_t bytes, void** pointer);

/** Frees what moe4j_allocate() of the same device gave. NULL does nothing. */
MOE4J_API int32_t moe4j_free(moe4j_device* device, void* pointer);

/** Copies host memory into device memory, on a CUDA device in the order of `stream`. On return the
 *  source may be changed or freed, unless it is pinned: that is read when the stream reaches it. A
 *  stream that is being captured is refused: a graph would read the source at each replay. */
MOE4J_API int32_t moe4j_copy_to_device(moe4j_device* device, void* destination, const void* source,
                                       int64_t bytes, void* stream);

/** Copies device memory to the host and waits until it is there. A stream that is being captured is
 *  refused. */
MOE4J_API int32_t moe4j_copy_to_host(moe4j_device* device, void* destination, const void* source,
                                     int64_t bytes, void* stream);

/** Waits for all work on `stream`. Returns at once on the CPU. */
MOE4J_API int32_t moe4j_synchronize(moe4j_device* device, void* stream);

/* ---- layers --------------------------------------------------------------------------------- */

/**
 * Creates an empty layer. Then set each of its L + S local experts and seal it. Setting experts of
 * one layer from several threads is allowed.
 */
MOE4J_API int32_t moe4j_layer_create(moe4j_device* device, const moe4j_layer_desc* desc,
                                     moe4j_layer** layer);

/**
 * Checks and repacks one expert's weights into the layer's own layout; the source is not needed
 * afterwards. Scales that are NaN, and tensor scales that are not finite, are refused.
 * An expert that had been set before is then unchanged (CPU) or missing (CUDA): set it again.
 * `local_expert` counts from 0: expert local_expert_offset + local_expert, the S shared experts
 * last.
 */
MOE4J_API int32_t moe4j_layer_set_expert(moe4j_layer* layer, int32_t local_expert,
                                         const moe4j_expert_weights* weights);

/** Makes the layer launchable. Refused while an expert is missing. */
MOE4J_API int32_t moe4j_layer_seal(moe4j_layer* layer);

/** Frees the layer and its prepared weights. No launch may be under way. */
MOE4J_API void moe4j_layer_destroy(moe4j_layer* layer);

/** Bytes of the prepared weights, padding included. */
MOE4J_API int32_t moe4j_layer_bytes(const moe4j_layer* layer, int64_t* bytes);

/* ---- tactics -------------------------------------------------------------------------------- */

/**
 * The tactics that can run a sealed layer at this token count, at most `capacity` of them written
 * to `ids`, all of them counted. The first is the default. Other counts may have other
 * tactics, and refuse these. Ids index the device's table: another process knows names alone.
 */
MOE4J_API int32_t moe4j_layer_tactics(const moe4j_layer* layer, int64_t tokens, int32_t* ids,
                                      int32_t capacity, int32_t* count);

/** The stable name of a tactic of this device, e.g. "cpu.avx2.t8.r64"; NULL if there is none. */
MOE4J_API const char* moe4j_tactic_name(const moe4j_device* device, int32_t tactic);

/** A hash of the names and versions of all kernels of the device: changes when tunings expire. */
MOE4J_API int32_t moe4j_tactic_table_hash(const moe4j_device* device, uint64_t* hash);

/* ---- the operation -------------------------------------------------------------------------- */

/** Workspace that a launch of this sealed layer of up to `tokens` tokens with this tactic needs. */
MOE4J_API int32_t moe4j_workspace_bytes(const moe4j_layer* layer, int32_t tactic, int64_t tokens,
                                        int64_t* bytes);

/**
 * Runs the layer. Never waits for a CUDA device, and gives the same bits for the same arguments.
 * Allocates nothing but, on CUDA, a graph when a stream gets kernels in this order for the first
 * time: 0.1 ms and some 130 KB. The device keeps up to 64 of them. On the CPU, NaN logits, expert
 * ids out of [0, E) and experts chosen twice by one token are refused; on CUDA such slots
 * contribute nothing.
 */
MOE4J_API int32_t moe4j_launch(const moe4j_layer* layer, const moe4j_launch_args* args);

/* ---- formats and routing helpers ------------------------------------------------------------ */

/**
 * Quantizes [rows, K] of F32 or BF16 to a block format. NVFP4: block scale = E4M3(amax / 6 /
 * tensor_scale). MXFP4 and MXFP8: the smallest power of two that does not saturate. Rounding is to
 * nearest, ties to even, saturating. Inputs that are not finite are refused on the CPU.
 */
MOE4J_API int32_t moe4j_quantize(moe4j_device* device, int32_t format, int64_t rows, int64_t k,
                                 int32_t source_dtype, const void* source, float tensor_scale,
                                 void* codes, void* scales, void* stream);

/** The inverse of moe4j_quantize(), to F32. */
MOE4J_API int32_t moe4j_dequantize(moe4j_device* device, int32_t format, int64_t rows, int64_t k,
                                   const void* codes, const void* scales, float tensor_scale,
                                   float* destination, void* stream);

/**
 * Bytes of `rows` x `columns` block scales in the swizzled 128x4 layout, padding included; -1 if a
 * count is negative or the size does not fit.
 */
MOE4J_API int64_t moe4j_swizzled_scale_bytes(int64_t rows, int64_t columns);

/** Linear [rows, columns] block scales to the swizzled 128x4 layout; padding is zeroed. */
MOE4J_API int32_t moe4j_swizzle_scales(moe4j_device* device, int64_t rows, int64_t columns,
                                       const void* linear, void* swizzled, void* stream);

/** The inverse of moe4j_swizzle_scales(). */
MOE4J_API int32_t moe4j_unswizzle_scales(moe4j_device* device, int64_t rows, int64_t columns,
                                         const void* swizzled, void* linear, void* stream);

/**
 * The router's dense projection: logits[T, E] = hidden_states[T, H] . weight[E, H]^T + bias[E].
 * hidden_states, weight and bias are F32 or BF16, logits F32. The CPU accumulates in F64.
 */
MOE4J_API int32_t moe4j_router_logits(moe4j_device* device, int64_t tokens, int64_t hidden_size,
                                      int64_t num_experts, int32_t hidden_dtype,
                                      const void* hidden_states, int32_t weight_dtype,
                                      const void* weight, int32_t bias_dtype, const void* bias,
                                      float* logits, void* stream);

#ifdef __cplusplus
}
#endif

#endif /* MOE4J_MOE4J_H_ */
