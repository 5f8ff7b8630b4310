/** What a call costs besides its arithmetic. */
package io.moe4j.tests.jmh;
