/** The tuner on real devices, and as part of the packaged application. */
package io.moe4j.tests.tuning;
