package io.moe4j.tests.gpu;

import io.moe4j.MoeCall;
import io.moe4j.MoeDevice;
import io.moe4j.MoeLayer;
import io.moe4j.Routing;
import io.moe4j.Stream;
import io.moe4j.Tactic;
import io.moe4j.Tensor;
import io.moe4j.Workspace;
import io.moe4j.tests.fixtures.DeviceCall;
import io.moe4j.tests.fixtures.LayerDraw;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;

/**
 * Calls of one shape with different tokens and routings, as bytes: what goes into a call's tensors,
 * and what an eager run of a tactic makes of it.
 */
record Variants(List<List<byte[]>> inputs, List<byte[]> outputs) {

  /** Draws calls that differ in their seeds, and runs each with a tactic on the default stream. */
  static Variants draw(MoeLayer layer, LayerDraw draw, Tactic tactic, int count) {
    List<List<byte[]>> inputs = new ArrayList<>();
    List<byte[]> outputs = new ArrayList<>();
    for (int seed = 0; seed < count; seed++) {
      try (DeviceCall call = new DeviceCall(layer.device(), layer.spec(), draw.seed(seed).call());
          Workspace workspace = layer.newWorkspace(call.call().tokens())) {
        inputs.add(tensors(call.call()).stream().map(Variants::download).toList());
        call.poison();
        layer.run(call.call(), tactic, workspace, Stream.DEFAULT);
        outputs.add(call.outputBytes());
      }
    }
    return new Variants(inputs, outputs);
  }

  int count() {
    return outputs.size();
  }

  /** Fills a call's tensors with a variant, in the order of a stream's work. */
  void upload(int variant, DeviceCall call, Stream stream) {
    MoeDevice device = call.call().hiddenStates().codes().device();
    List<Tensor> tensors = tensors(call.call());
    for (int i = 0; i < tensors.size(); i++) {
      device.copyToDevice(tensors.get(i), ByteBuffer.wrap(inputs.get(variant).get(i)), stream);
    }
  }

  private static List<Tensor> tensors(MoeCall call) {
    List<Tensor> tensors = new ArrayList<>();
    tensors.add(call.hiddenStates().codes());
    call.hiddenStates().scales().ifPresent(tensors::add);
    if (call.routing() instanceof Routing.FromLogits routing) {
      tensors.add(routing.logits());
      routing.bias().ifPresent(tensors::add);
    } else if (call.routing() instanceof Routing.Unpacked routing) {
      tensors.add(routing.ids());
      tensors.add(routing.weights());
    } else if (call.routing() instanceof Routing.Packed routing) {
      tensors.add(routing.packed());
    }
    return tensors;
  }

  private static byte[] download(Tensor tensor) {
    byte[] bytes = new byte[(int) tensor.spec().bytes()];
    tensor.copyTo(ByteBuffer.wrap(bytes));
    return bytes;
  }
}
