package io.moe4j;

/**
 * What an opened device is.
 *
 * @param device its name in this process
 * @param model marketing name, e.g. "NVIDIA H100 80GB HBM3"
 * @param computeUnits worker threads of a CPU, multiprocessors of a GPU
 * @param computeCapability 10 * major + minor of a CUDA device, 0 on a CPU
 * @param driverVersion version of the CUDA driver (13000 is 13.0), 0 on a CPU
 * @param memoryBytes total memory
 * @param lastLevelCacheBytes size of the L3 cache of a CPU, of the L2 cache of a GPU
 * @param instructionSets instruction sets in use, space separated
 */
public record DeviceInfo(
    Device device,
    String model,
    int computeUnits,
    int computeCapability,
    int driverVersion,
    long memoryBytes,
    long lastLevelCacheBytes,
    String instructionSets) {}
