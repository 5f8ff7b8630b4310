package io.moe4j.autotune.testing;

import io.moe4j.DType;
import io.moe4j.ExpertWeights;
import io.moe4j.HiddenStates;
import io.moe4j.MoeCall;
import io.moe4j.MoeDevice;
import io.moe4j.MoeOutput;
import io.moe4j.MoeSpec;
import io.moe4j.OwnedTensor;
import io.moe4j.QuantFormat;
import io.moe4j.Routing;
import io.moe4j.RoutingMethod;
import io.moe4j.RoutingMode;
import io.moe4j.RoutingSpec;
import io.moe4j.TensorSpec;
import io.moe4j.WeightMatrix;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;

/** Small layers, and calls of them with tensors of their own. */
public final class TestLayers {
  private TestLayers() {}

  /** 16 experts, top-4, as small as the formats allow. */
  public static MoeSpec.Builder spec() {
    return MoeSpec.builder()
        .weightFormat(QuantFormat.NVFP4)
        .hiddenSize(32)
        .intermediateSize(32)
        .numExperts(16)
        .topK(4)
        .routing(RoutingSpec.of(RoutingMethod.RENORMALIZE));
  }

  /** Weights of zeros. */
  public static ExpertWeights weights(MoeSpec spec) {
    WeightMatrix inner = matrix(spec.weightFormat(), spec.intermediateSize(), spec.hiddenSize());
    WeightMatrix outer = matrix(spec.weightFormat(), spec.hiddenSize(), spec.intermediateSize());
    return spec.activation().gated()
        ? ExpertWeights.gated(inner, inner, outer)
        : ExpertWeights.ungated(inner, outer);
  }

  private static WeightMatrix matrix(QuantFormat format, int rows, int columns) {
    ByteBuffer codes = direct((int) format.codesSpec(rows, columns).bytes());
    return format.hasScales()
        ? WeightMatrix.quantized(
            format,
            rows,
            columns,
            codes,
            direct((int) format.scalesSpec(rows, columns).bytes()),
            1f)
        : WeightMatrix.bf16(rows, columns, codes);
  }

  private static ByteBuffer direct(int bytes) {
    return ByteBuffer.allocateDirect(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  /** A call with its tensors, whose contents are the same valid routing for each token. */
  public static final class Call implements AutoCloseable {
    private final MoeDevice device;
    private final List<OwnedTensor> tensors = new ArrayList<>();
    private final MoeCall call;

    /** A call of a layer. */
    public Call(MoeDevice device, MoeSpec spec, RoutingMode mode, long tokens) {
      this.device = device;
      this.call =
          MoeCall.of(
              routing(spec, mode, tokens),
              HiddenStates.bf16(tensor(DType.BF16, tokens, spec.hiddenSize())),
              new MoeOutput.Finalized(tensor(DType.BF16, tokens, spec.hiddenSize())));
    }

    private Routing routing(MoeSpec spec, RoutingMode mode, long tokens) {
      if (mode == RoutingMode.FROM_LOGITS) {
        return new Routing.FromLogits(tensor(DType.F32, tokens, spec.numExperts()));
      }
      OwnedTensor ids = tensor(DType.I32, tokens, spec.topK());
      ByteBuffer contents =
          ByteBuffer.allocate((int) ids.spec().bytes()).order(ByteOrder.LITTLE_ENDIAN);
      int shift = mode == RoutingMode.PACKED ? 16 : 0;
      for (int i = 0; i < ids.spec().elements(); i++) {
        contents.putInt(4 * i, i % spec.topK() << shift);
      }
      ids.copyFrom(contents);
      return mode == RoutingMode.PACKED
          ? new Routing.Packed(ids)
          : new Routing.Unpacked(ids, tensor(DType.F32, tokens, spec.topK()));
    }

    private OwnedTensor tensor(DType dtype, long... shape) {
      OwnedTensor tensor = device.allocate(TensorSpec.of(dtype, shape));
      tensors.add(tensor);
      return tensor;
    }

    /** The call. */
    public MoeCall call() {
      return call;
    }

    @Override
    public void close() {
      tensors.forEach(OwnedTensor::close);
    }
  }
}
