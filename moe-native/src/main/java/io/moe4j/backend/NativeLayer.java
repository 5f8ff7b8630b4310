package io.moe4j.backend;

import io.moe4j.ExpertWeights;
import io.moe4j.MoeCall;
import io.moe4j.Tactic;
import io.moe4j.WeightMatrix;
import io.moe4j.global.moe4j;
import io.moe4j.nativelib.moe4j_expert_weights;
import io.moe4j.nativelib.moe4j_layer;
import io.moe4j.nativelib.moe4j_matrix;
import io.moe4j.spi.BackendLayer;
import io.moe4j.spi.LaunchArguments;
import java.lang.ref.Reference;
import java.util.ArrayList;
import java.util.List;

/** A {@code moe4j_layer}. Its owner closes it once, after the last call. */
final class NativeLayer implements BackendLayer {
  private final NativeDevice device;
  private final moe4j_layer handle;

  NativeLayer(NativeDevice device, moe4j_layer handle) {
    this.device = device;
    this.handle = handle;
  }

  @Override
  public void setExpert(int heldExpert, ExpertWeights weights) {
    moe4j_expert_weights struct =
        new moe4j_expert_weights(NativeStruct.zeroed(moe4j_expert_weights.class));
    fill(struct.gate(), weights.gate());
    weights.up().ifPresent(up -> fill(struct.up(), up));
    fill(struct.down(), weights.down());
    struct
        .input_scale(weights.inputScale())
        .intermediate_scale(weights.intermediateScale())
        .alpha(weights.alpha())
        .beta(weights.beta())
        ._limit(weights.limit());
    try {
      NativeStatus.check(moe4j.moe4j_layer_set_expert(handle, heldExpert, struct));
    } finally {
      // The struct has addresses of the weights' buffers, which must not be collected under it.
      Reference.reachabilityFence(weights);
    }
  }

  private static void fill(moe4j_matrix struct, WeightMatrix matrix) {
    struct
        .codes(Address.of(Address.of(matrix.codes())))
        .row_stride(matrix.rowStride())
        .scale_row_stride(matrix.scaleRowStride())
        .tensor_scale(matrix.tensorScale());
    matrix.scales().ifPresent(scales -> struct.scales(Address.of(Address.of(scales))));
    matrix
        .bias()
        .ifPresent(
            bias ->
                struct
                    .bias_dtype(NativeConstants.of(bias.dtype()))
                    .bias(Address.of(Address.of(bias.values())))
                    .bias_stride(bias.stride()));
  }

  @Override
  public void seal() {
    NativeStatus.check(moe4j.moe4j_layer_seal(handle));
  }

  @Override
  public long preparedBytes() {
    long[] bytes = new long[1];
    NativeStatus.check(moe4j.moe4j_layer_bytes(handle, bytes));
    return bytes[0];
  }

  @Override
  public List<Tactic> tactics(long tokens) {
    int[] count = new int[1];
    NativeStatus.check(moe4j.moe4j_layer_tactics(handle, tokens, new int[0], 0, count));
    int[] ids = new int[count[0]];
    NativeStatus.check(moe4j.moe4j_layer_tactics(handle, tokens, ids, ids.length, count));
    List<Tactic> tactics = new ArrayList<>(ids.length);
    for (int id : ids) {
      tactics.add(device.tactic(id));
    }
    return List.copyOf(tactics);
  }

  @Override
  public long workspaceBytes(Tactic tactic, long tokens) {
    long[] bytes = new long[1];
    NativeStatus.check(moe4j.moe4j_workspace_bytes(handle, tactic.id(), tokens, bytes));
    return bytes[0];
  }

  @Override
  public LaunchArguments newLaunchArguments() {
    return new NativeLaunchArguments();
  }

  @Override
  public void launch(
      LaunchArguments arguments,
      MoeCall call,
      Tactic tactic,
      long workspace,
      long workspaceBytes,
      long stream) {
    try {
      NativeStatus.check(
          moe4j.moe4j_launch(
              handle,
              ((NativeLaunchArguments) arguments)
                  .fill(call, tactic, workspace, workspaceBytes, stream)));
    } finally {
      // The struct has the addresses of the call's tensors, some of them borrowed from buffers.
      Reference.reachabilityFence(call);
    }
  }

  @Override
  public void close() {
    moe4j.moe4j_layer_destroy(handle);
  }
}
