package io.moe4j;

/**
 * A tensor over somebody else's storage; made by {@link MoeDevice#borrow}. It never frees. What it
 * borrows from must stay alive as long as launches use it.
 */
public final class BorrowedTensor extends Tensor {
  private final long address;

  private final boolean writable;

  /** Kept so that a buffer's memory stays reachable; null for bare addresses. */
  @SuppressWarnings({"unused", "FieldCanBeLocal"})
  private final Object lender;

  BorrowedTensor(TensorSpec spec, MoeDevice device, long address, boolean writable, Object lender) {
    super(spec, device);
    this.address = address;
    this.writable = writable;
    this.lender = lender;
  }

  @Override
  public long address() {
    return address;
  }

  @Override
  boolean writable() {
    return writable;
  }

  @Override
  void acquire() {}

  @Override
  void release() {}
}
