/**
 * Checkpoints on disk: safetensors files read without trust and without copies, and the
 * Mixture-of-Experts layers of known model families in them.
 *
 * <p>{@link io.moe4j.checkpoint.MoeCheckpoint} opens a model's folder and gives layers: spec,
 * weights, router, shared experts. Below it, {@link io.moe4j.checkpoint.ShardedTensors} finds a
 * tensor in whichever file has it, and {@link io.moe4j.checkpoint.SafetensorsFile} maps one file.
 * {@link io.moe4j.checkpoint.SafetensorsWriter} writes such files.
 *
 * <p>To add a way of storing experts, implement {@code ProjectionFormat}; to add a model family,
 * implement {@code MoeBlock}.
 */
package io.moe4j.checkpoint;
