/** One layer, many threads, many runs: the same bits, and no byte more. */
package io.moe4j.tests.sharing;
