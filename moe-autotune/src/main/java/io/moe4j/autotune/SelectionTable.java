package io.moe4j.autotune;

import io.moe4j.Tactic;
import io.moe4j.spi.TokenTable;

/**
 * Remembers the tactic of each token count that was asked for. Two threads that miss together write
 * the same.
 */
final class SelectionTable extends TokenTable<SelectionTable.Entry> {

  /** A remembered tactic, and whether a tuning covers its token count. */
  record Entry(Tactic tactic, boolean covered) {}
}
