package io.moe4j.checkpoint;

/** What a family calls the three projections of an expert that have tensors of their own. */
record ProjectionNames(String gate, String up, String down) {
  /** What most families call them. */
  static final ProjectionNames USUAL = new ProjectionNames("gate_proj", "up_proj", "down_proj");
}
