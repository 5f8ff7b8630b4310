package io.moe4j.autotune;

import io.moe4j.MoeCall;
import io.moe4j.autotune.profile.CallKind;
import java.util.concurrent.atomic.AtomicReferenceArray;

/**
 * The remembered tactics of all layers that are equal but for their weights. Forgotten as a whole
 * when a tuning is added or a tactic blocked: who was looking one up meanwhile remembers it in the
 * forgotten tables.
 */
final class LayerSelections {
  private volatile AtomicReferenceArray<SelectionTable> tables = newTables();

  private static AtomicReferenceArray<SelectionTable> newTables() {
    return new AtomicReferenceArray<>(CallKind.COUNT);
  }

  /** The tables of this moment: what is read before a look-up must be written to after it. */
  AtomicReferenceArray<SelectionTable> tables() {
    return tables;
  }

  /** What is remembered for a call, or null. */
  static SelectionTable.Entry get(
      AtomicReferenceArray<SelectionTable> tables, MoeCall call, long tokens) {
    SelectionTable table = tables.get(CallKind.indexOf(call));
    return table == null ? null : table.get(tokens);
  }

  /** Remembers an answer for a call. */
  static void put(
      AtomicReferenceArray<SelectionTable> tables,
      MoeCall call,
      long tokens,
      SelectionTable.Entry entry) {
    int kind = CallKind.indexOf(call);
    SelectionTable table = tables.get(kind);
    if (table == null) {
      tables.compareAndSet(kind, null, new SelectionTable());
      table = tables.get(kind);
    }
    table.put(tokens, entry);
  }

  void forget() {
    tables = newTables();
  }
}
