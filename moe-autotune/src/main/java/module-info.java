/** The autotuner of moe4j, and the application on top of it. */
module io.moe4j.autotune {
  requires transitive io.moe4j;
  requires com.fasterxml.jackson.core;
  requires com.fasterxml.jackson.databind;
  requires static info.picocli;
  requires jdk.jfr;

  exports io.moe4j.autotune;
  exports io.moe4j.autotune.isolation;
  exports io.moe4j.autotune.profile;
  exports io.moe4j.autotune.search;
  exports io.moe4j.autotune.store;

  opens io.moe4j.cli to
      com.fasterxml.jackson.databind,
      info.picocli;

  uses io.moe4j.spi.BackendProvider;
}
