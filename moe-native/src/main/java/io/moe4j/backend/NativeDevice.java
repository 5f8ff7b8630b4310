package io.moe4j.backend;

import static java.nio.charset.StandardCharsets.UTF_8;

import io.moe4j.DType;
import io.moe4j.Device;
import io.moe4j.DeviceCounters;
import io.moe4j.DeviceInfo;
import io.moe4j.DeviceKind;
import io.moe4j.DeviceOptions;
import io.moe4j.MoeSpec;
import io.moe4j.QuantFormat;
import io.moe4j.RoutingSpec;
import io.moe4j.Tactic;
import io.moe4j.TensorSpec;
import io.moe4j.global.moe4j;
import io.moe4j.nativelib.moe4j_device;
import io.moe4j.nativelib.moe4j_device_counters;
import io.moe4j.nativelib.moe4j_device_info;
import io.moe4j.nativelib.moe4j_layer;
import io.moe4j.nativelib.moe4j_layer_desc;
import io.moe4j.spi.BackendDevice;
import io.moe4j.spi.BackendLayer;
import io.moe4j.spi.BackendStreams;
import io.moe4j.spi.DeviceMemory;
import java.nio.ByteBuffer;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.Pointer;

/** A {@code moe4j_device}. Its owner closes it once, when no call uses it. */
final class NativeDevice implements BackendDevice {
  private final moe4j_device handle;
  private final DeviceInfo info;
  private final ConcurrentMap<Integer, Tactic> tactics = new ConcurrentHashMap<>();

  private NativeDevice(moe4j_device handle) {
    this.handle = handle;
    this.info = readInfo();
  }

  static NativeDevice open(DeviceKind kind, int index, DeviceOptions options) {
    moe4j_device handle = new moe4j_device();
    NativeStatus.check(
        moe4j.moe4j_device_open(
            NativeConstants.of(kind),
            index,
            options.threads(),
            options.maxInstructionSet(),
            handle));
    return new NativeDevice(handle);
  }

  // ---- what it is

  @Override
  public DeviceInfo info() {
    return info;
  }

  private DeviceInfo readInfo() {
    moe4j_device_info struct = new moe4j_device_info(NativeStruct.zeroed(moe4j_device_info.class));
    NativeStatus.check(moe4j.moe4j_device_info_get(handle, struct));
    return new DeviceInfo(
        struct.kind() == moe4j.MOE4J_CPU ? Device.CPU : Device.cuda(struct.index()),
        struct.name().getString(UTF_8),
        struct.compute_units(),
        struct.compute_capability(),
        struct.driver_version(),
        struct.memory_bytes(),
        struct.last_level_cache_bytes(),
        struct.instruction_sets().getString(UTF_8));
  }

  @Override
  public DeviceCounters counters() {
    moe4j_device_counters struct =
        new moe4j_device_counters(NativeStruct.zeroed(moe4j_device_counters.class));
    NativeStatus.check(moe4j.moe4j_device_counters_get(handle, struct));
    return new DeviceCounters(
        struct.live_bytes(),
        struct.live_allocations(),
        struct.live_layers(),
        struct.launches(),
        struct.routing_launches());
  }

  @Override
  public String tacticTableHash() {
    long[] hash = new long[1];
    NativeStatus.check(moe4j.moe4j_tactic_table_hash(handle, hash));
    return String.format("%016x", hash[0]);
  }

  @Override
  public String libraryAbi() {
    return Integer.toString(moe4j.moe4j_abi_version());
  }

  /** The tactic with an id that this device gave out. */
  Tactic tactic(int id) {
    return tactics.computeIfAbsent(
        id,
        unused -> {
          BytePointer name = moe4j.moe4j_tactic_name(handle, id);
          return new Tactic(name.getString(UTF_8), id);
        });
  }

  // ---- memory

  @Override
  public DeviceMemory allocate(long bytes) {
    Pointer pointer = new Pointer();
    NativeStatus.check(moe4j.moe4j_allocate(handle, bytes, pointer));
    return new NativeMemory(handle, pointer.address(), bytes);
  }

  @Override
  public long addressOf(ByteBuffer direct) {
    return Address.of(direct);
  }

  @Override
  public ByteBuffer view(long address, long bytes) {
    return Address.view(address, Math.toIntExact(bytes));
  }

  @Override
  public void copyToDevice(long destination, ByteBuffer source, long stream) {
    HostCopy.read(
        source,
        (host, offset, bytes) ->
            NativeStatus.check(
                moe4j.moe4j_copy_to_device(
                    handle,
                    Address.of(destination + offset),
                    Address.of(host),
                    bytes,
                    Address.of(stream))));
  }

  @Override
  public void copyToHost(ByteBuffer destination, long source, long stream) {
    HostCopy.write(
        destination,
        (host, offset, bytes) ->
            NativeStatus.check(
                moe4j.moe4j_copy_to_host(
                    handle,
                    Address.of(host),
                    Address.of(source + offset),
                    bytes,
                    Address.of(stream))));
  }

  @Override
  public void synchronize(long stream) {
    NativeStatus.check(moe4j.moe4j_synchronize(handle, Address.of(stream)));
  }

  @Override
  public DeviceMemory importDlpack(TensorSpec spec, long managedTensor) {
    return DlpackMemory.take(info.device(), spec, managedTensor);
  }

  @Override
  public long exportDlpack(TensorSpec spec, long address, Runnable release) {
    return DlpackExport.make(info.device(), spec, address, release);
  }

  @Override
  public Optional<BackendStreams> streams() {
    if (info.device().kind() != DeviceKind.CUDA) {
      return Optional.empty();
    }
    NativeLibrary.loadCudaRuntime();
    return Optional.of(new CudaStreams(info.device().index()));
  }

  // ---- layers

  @Override
  public BackendLayer createLayer(MoeSpec spec) {
    moe4j_layer_desc desc = describe(spec);
    moe4j_layer layer = new moe4j_layer();
    NativeStatus.check(moe4j.moe4j_layer_create(handle, desc, layer));
    return new NativeLayer(this, layer);
  }

  private static moe4j_layer_desc describe(MoeSpec spec) {
    RoutingSpec routing = spec.routing();
    return new moe4j_layer_desc(NativeStruct.zeroed(moe4j_layer_desc.class))
        .weight_format(NativeConstants.of(spec.weightFormat()))
        .activation_format(NativeConstants.of(spec.activationFormat()))
        .hidden_size(spec.hiddenSize())
        .intermediate_size(spec.intermediateSize())
        .num_experts(spec.numExperts())
        .top_k(spec.topK())
        .local_expert_offset(spec.expertParallel().localExpertOffset())
        .local_num_experts(spec.expertParallel().localNumExperts())
        .num_fused_shared_experts(spec.numFusedSharedExperts())
        .activation(NativeConstants.of(spec.activation()))
        .routing_method(NativeConstants.of(routing.method()))
        .n_group(routing.numGroups())
        .topk_group(routing.topkGroups())
        .norm_topk_prob(routing.normTopkProb() ? 1 : 0)
        .routed_scaling_factor(routing.scalingFactor());
  }

  // ---- formats and routers

  @Override
  public void quantize(
      QuantFormat format,
      long rows,
      long k,
      DType sourceDtype,
      long source,
      float tensorScale,
      long codes,
      long scales,
      long stream) {
    NativeStatus.check(
        moe4j.moe4j_quantize(
            handle,
            NativeConstants.of(format),
            rows,
            k,
            NativeConstants.of(sourceDtype),
            Address.of(source),
            tensorScale,
            Address.of(codes),
            Address.of(scales),
            Address.of(stream)));
  }

  @Override
  public void dequantize(
      QuantFormat format,
      long rows,
      long k,
      long codes,
      long scales,
      float tensorScale,
      long destination,
      long stream) {
    NativeStatus.check(
        moe4j.moe4j_dequantize(
            handle,
            NativeConstants.of(format),
            rows,
            k,
            Address.of(codes),
            Address.of(scales),
            tensorScale,
            new FloatPointer(Address.of(destination)),
            Address.of(stream)));
  }

  @Override
  public long swizzledScaleBytes(long rows, long columns) {
    return moe4j.moe4j_swizzled_scale_bytes(rows, columns);
  }

  @Override
  public void swizzleScales(long rows, long columns, long linear, long swizzled, long stream) {
    NativeStatus.check(
        moe4j.moe4j_swizzle_scales(
            handle, rows, columns, Address.of(linear), Address.of(swizzled), Address.of(stream)));
  }

  @Override
  public void unswizzleScales(long rows, long columns, long swizzled, long linear, long stream) {
    NativeStatus.check(
        moe4j.moe4j_unswizzle_scales(
            handle, rows, columns, Address.of(swizzled), Address.of(linear), Address.of(stream)));
  }

  @Override
  public void routerLogits(
      long tokens,
      long hiddenSize,
      long numExperts,
      DType hiddenDtype,
      long hiddenStates,
      DType weightDtype,
      long weight,
      DType biasDtype,
      long bias,
      long logits,
      long stream) {
    NativeStatus.check(
        moe4j.moe4j_router_logits(
            handle,
            tokens,
            hiddenSize,
            numExperts,
            NativeConstants.of(hiddenDtype),
            Address.of(hiddenStates),
            NativeConstants.of(weightDtype),
            Address.of(weight),
            NativeConstants.of(biasDtype),
            Address.of(bias),
            new FloatPointer(Address.of(logits)),
            Address.of(stream)));
  }

  @Override
  public void close() {
    NativeStatus.check(moe4j.moe4j_device_close(handle));
  }
}
