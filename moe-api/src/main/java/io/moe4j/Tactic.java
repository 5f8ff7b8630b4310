package io.moe4j;

/**
 * One way to run a layer. The name is its identity, in caches, plans and logs.
 *
 * @param name stable name of the kernel configuration, e.g. "cpu.avx2.t8.r64"
 * @param id the back end's number for it in this process; never stored
 */
public record Tactic(String name, int id) {
  /** Refuses a null name. */
  public Tactic {
    Arguments.notNull("name", name);
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof Tactic that && name.equals(that.name);
  }

  @Override
  public int hashCode() {
    return name.hashCode();
  }

  @Override
  public String toString() {
    return name;
  }
}
