package io.moe4j.autotune;

import io.moe4j.MoeCall;
import io.moe4j.MoeLayer;
import io.moe4j.Tactic;
import io.moe4j.TacticSelector;
import io.moe4j.autotune.profile.CallKind;
import java.util.concurrent.atomic.AtomicReferenceArray;

/**
 * Chooses the tactic of each launch of one layer. A shape that was asked for before takes a few
 * reads: no lock, no allocation, no look-up in a map. Safe from any thread.
 */
final class LayerTactics implements TacticSelector {
  private final Autotuner tuner;
  private final MoeLayer layer;
  private final LayerSelections selections;

  LayerTactics(Autotuner tuner, MoeLayer layer, LayerSelections selections) {
    this.tuner = tuner;
    this.layer = layer;
    this.selections = selections;
  }

  @Override
  public Tactic select(MoeCall call) {
    TuningScope scope = tuner.scopes().current();
    if (scope != null) {
      return tuner.selectInScope(scope, layer, CallKind.of(call), tokens(call));
    }
    long tokens = tokens(call);
    AtomicReferenceArray<SelectionTable> tables = selections.tables();
    SelectionTable.Entry entry = LayerSelections.get(tables, call, tokens);
    if (entry == null) {
      Selection selection = tuner.select(layer, CallKind.of(call), tokens);
      entry = new SelectionTable.Entry(selection.candidate().tactic(), selection.covered());
      LayerSelections.put(tables, call, tokens, entry);
    }
    if (!entry.covered()) {
      tuner.countMiss(layer, call);
    }
    return entry.tactic();
  }

  /** A call without tokens does nothing, with any tactic. */
  private static long tokens(MoeCall call) {
    return Math.max(call.tokens(), 1);
  }
}
