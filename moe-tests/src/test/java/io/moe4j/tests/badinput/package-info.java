/**
 * Wrong calls, wrong files and wrong command lines against the real back end: each is refused with
 * an exception that names the argument, and nothing is lost.
 */
package io.moe4j.tests.badinput;
