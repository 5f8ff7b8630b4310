/**
 * The autotuner: measures the tactics of a layer where it runs and remembers which one is best for
 * how many tokens. {@link io.moe4j.autotune.Autotuner} is the way in.
 *
 * <p>Below it, {@code profile} says what is tuned, {@code search} finds the best tactic for one
 * bucket, {@code store} keeps results, and {@code isolation} tries tactics in another process. Each
 * depends on those before it alone.
 */
package io.moe4j.autotune;
