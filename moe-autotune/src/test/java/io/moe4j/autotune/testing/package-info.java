/** A GPU that does not exist, whose tactics cost what a test says on a clock that a test moves. */
package io.moe4j.autotune.testing;
