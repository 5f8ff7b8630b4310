package io.moe4j.tests.gpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.moe4j.BorrowedTensor;
import io.moe4j.CudaEvent;
import io.moe4j.CudaStream;
import io.moe4j.DType;
import io.moe4j.HiddenStates;
import io.moe4j.InvalidArgumentException;
import io.moe4j.MoeCall;
import io.moe4j.MoeDevice;
import io.moe4j.MoeLayer;
import io.moe4j.MoeOutput;
import io.moe4j.RoutingMode;
import io.moe4j.Stream;
import io.moe4j.Tensor;
import io.moe4j.TensorSpec;
import io.moe4j.Workspace;
import io.moe4j.tests.fixtures.DeviceCall;
import io.moe4j.tests.fixtures.Judge;
import io.moe4j.tests.fixtures.LayerDraw;
import io.moe4j.tests.fixtures.TestCall;
import io.moe4j.tests.fixtures.TestDevice;
import io.moe4j.tests.fixtures.TestLayer;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.cuda.cudart.CUctx_st;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.cuda.global.cudart;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** A layer runs on memory and on a stream that another user of CUDA made, and leaves them alone. */
@OnCuda
class BorrowedMemoryTest {
  private static final LayerDraw DRAW =
      LayerDraw.PLAIN.tokens(9).experts(8, 3).mode(RoutingMode.UNPACKED);

  private final List<Pointer> allocations = new ArrayList<>();

  /** The tests' own calls of the CUDA runtime take the one that comes with moe4j. */
  @BeforeAll
  static void loadRuntime() {
    try (MoeDevice device = TestDevice.open()) {
      device.newStream().close();
    }
  }

  @AfterEach
  void free() {
    allocations.forEach(pointer -> assertEquals(0, cudart.cudaFree(pointer)));
  }

  @Test
  void aServersOwnBuffersAndStreamAreUsedInPlace() {
    TestLayer numbers = DRAW.layer();
    TestCall callNumbers = DRAW.call();
    try (MoeDevice device = TestDevice.open();
        MoeLayer layer = device.prepare(numbers.spec(), numbers);
        DeviceCall own = new DeviceCall(device, numbers.spec(), callNumbers);
        Workspace workspace = layer.newWorkspace(9)) {
      CUstream_st server = new CUstream_st();
      assertEquals(0, cudart.cudaStreamCreateWithFlags(server, cudart.cudaStreamNonBlocking));
      Stream stream = server::address;
      long allocated = device.counters().liveBytes();

      Tensor hidden = borrowCopy(device, own.call().hiddenStates().codes());
      Tensor output = borrow(device, ((MoeOutput.Finalized) own.call().output()).output().spec());
      MoeCall call =
          MoeCall.of(
                  own.call().routing(), HiddenStates.bf16(hidden), new MoeOutput.Finalized(output))
              .withTopk(own.call().topkIds().orElseThrow(), own.call().topkWeights().orElseThrow())
              .withRoutingReplay(own.call().routingReplay().orElseThrow());
      // The server's stream does not wait for the copy between buffers of the device.
      device.synchronize(Stream.DEFAULT);
      layer.run(call, workspace, stream);
      assertEquals(0, cudart.cudaStreamSynchronize(server));

      new Judge(numbers, callNumbers).check(call, "on borrowed memory");
      assertEquals(allocated, device.counters().liveBytes());
      assertEquals(0, cudart.cudaStreamDestroy(server));
    }
  }

  /** Whatever it runs on the device: it has chosen none, and shall not find one chosen. */
  @Test
  void aThreadWithoutAContextStaysWithout() throws InterruptedException {
    List<Throwable> failures = new ArrayList<>();
    Thread thread =
        new Thread(
            () -> {
              assertNoContext();
              try (MoeDevice device = TestDevice.open();
                  CudaStream stream = device.newStream();
                  CudaEvent event = device.newEvent()) {
                assertNoContext();
                event.record(stream);
                stream.waitFor(event);
                event.synchronize();
                assertTrue(event.isComplete());
                assertNoContext();
                assertThrows(InvalidArgumentException.class, () -> stream.capture(() -> {}));
                assertNoContext();
              }
              assertNoContext();
            });
    thread.setUncaughtExceptionHandler((of, failure) -> failures.add(failure));
    thread.start();
    thread.join();
    assertEquals(List.of(), failures);
  }

  private static void assertNoContext() {
    CUctx_st context = new CUctx_st();
    assertEquals(0, cudart.cuCtxGetCurrent(context));
    assertEquals(0, context.address());
  }

  private Tensor borrowCopy(MoeDevice device, Tensor source) {
    Tensor copy = borrow(device, source.spec());
    assertEquals(
        0,
        cudart.cudaMemcpy(
            pointer(copy),
            pointer(source),
            source.spec().bytes(),
            cudart.cudaMemcpyDeviceToDevice));
    return copy;
  }

  private Tensor borrow(MoeDevice device, TensorSpec spec) {
    Pointer memory = new Pointer();
    assertEquals(0, cudart.cudaMalloc(memory, spec.bytes()));
    allocations.add(memory);
    assertEquals(DType.BF16, spec.dtype());
    return assertInstanceOf(BorrowedTensor.class, device.borrow(spec, memory.address()));
  }

  private static Pointer pointer(Tensor tensor) {
    return new BytePointer(new Address(tensor.address()));
  }

  private static final class Address extends Pointer {
    Address(long address) {
      this.address = address;
    }
  }
}
