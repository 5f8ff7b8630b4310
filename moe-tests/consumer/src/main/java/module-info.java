/** A user's module, which knows moe4j by its artifacts alone. */
module com.example.consumer {
  requires io.moe4j;
  requires io.moe4j.autotune;
}
