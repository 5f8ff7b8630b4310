/**
 * The CPU and CUDA back ends of moe4j over the JavaCPP bindings of {@code moe4j.h}. Found by {@link
 * java.util.ServiceLoader}: applications need {@link io.moe4j.MoeDevice} alone.
 *
 * <p>Memory: device memory, layers and devices are freed by whoever holds them through {@code
 * io.moe4j}, never by JavaCPP. Structs that cross the border live in direct buffers of the JVM, so
 * that JavaCPP's limits on its own allocations, which count every mapped checkpoint and prepared
 * weight of the process, do not apply to them.
 */
package io.moe4j.backend;
