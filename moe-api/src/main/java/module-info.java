/** The vocabulary of moe4j: tensors, layers, routing, checkpoints and the back-end SPI. */
module io.moe4j {
  requires transitive com.google.common;
  requires com.fasterxml.jackson.core;
  requires com.fasterxml.jackson.databind;

  exports io.moe4j;
  exports io.moe4j.checkpoint;
  exports io.moe4j.spi;

  uses io.moe4j.spi.BackendProvider;
}
