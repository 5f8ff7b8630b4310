/** The autotuner of moe4j, and the application on top of it. */
module io.moe4j.autotune {
  requires transitive io.moe4j;
  requires com.fasterxml.jackson.databind;
  requires info.picocli;

  uses io.moe4j.spi.BackendProvider;

  opens io.moe4j.cli to
      com.fasterxml.jackson.databind,
      info.picocli;
}
