package io.moe4j;

/**
 * Live resources and work of one opened device, counted by the back end.
 *
 * @param liveBytes device memory of tensors, workspaces and prepared weights, not yet freed
 * @param liveAllocations buffers not yet freed
 * @param liveLayers layers not yet closed
 * @param launches launches since the device was opened; captured ones once, whatever their replays
 * @param routingLaunches launches that ran a routing method, i.e. {@link Routing.FromLogits}
 */
public record DeviceCounters(
    long liveBytes, long liveAllocations, long liveLayers, long launches, long routingLaunches) {}
