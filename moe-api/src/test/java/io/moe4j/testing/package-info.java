/**
 * What tests of several modules share: a back end that does no arithmetic, and checkpoints made
 * from nothing.
 */
package io.moe4j.testing;
