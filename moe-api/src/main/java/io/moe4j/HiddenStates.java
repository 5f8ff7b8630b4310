package io.moe4j;

import java.util.Optional;

/**
 * The input of a layer, [T, H].
 *
 * @param format BF16, or NVFP4 or MXFP8, the layer's activation format, for codes that were
 *     quantized before
 * @param codes values or codes
 * @param scales linear block scales [T, H / block]; empty for BF16
 * @param tensorScale NVFP4: the scale that {@code codes} were quantized with; 1 otherwise
 */
public record HiddenStates(
    QuantFormat format, Tensor codes, Optional<Tensor> scales, float tensorScale) {

  /** Refuses nulls, missing or surplus scales, and tensor scales that do not fit the format. */
  public HiddenStates {
    Arguments.notNull("hiddenStates.format", format);
    Arguments.notNull("hiddenStates", codes);
    Arguments.notNull("hiddenStates.scales", scales);
    if (format.hasScales() != scales.isPresent()) {
      throw new InvalidArgumentException(
          "hiddenStates.scales",
          scales.isPresent() ? "scales" : "none",
          (format.hasScales() ? "block scales for " : "none for ") + format);
    }
    if (!(tensorScale > 0) || Float.isInfinite(tensorScale)) {
      throw new InvalidArgumentException(
          "hiddenStates.tensorScale", tensorScale, "a positive finite factor");
    }
    if (format != QuantFormat.NVFP4 && tensorScale != 1f) {
      throw new InvalidArgumentException(
          "hiddenStates.tensorScale", tensorScale, "1 for " + format);
    }
  }

  /** Plain BF16 [T, H]; quantized inside if the layer's activation format says so. */
  public static HiddenStates bf16(Tensor values) {
    return new HiddenStates(QuantFormat.BF16, values, Optional.empty(), 1f);
  }

  /** NVFP4 codes E2M1X2 [T, H/2] with E4M3 scales [T, H/16]. */
  public static HiddenStates nvfp4(Tensor codes, Tensor scales, float tensorScale) {
    return new HiddenStates(
        QuantFormat.NVFP4,
        codes,
        Optional.of(Arguments.notNull("hiddenStates.scales", scales)),
        tensorScale);
  }

  /** MXFP8 codes E4M3 [T, H] with UE8M0 scales [T, H/32]. */
  public static HiddenStates mxfp8(Tensor codes, Tensor scales) {
    return new HiddenStates(
        QuantFormat.MXFP8,
        codes,
        Optional.of(Arguments.notNull("hiddenStates.scales", scales)),
        1f);
  }
}
