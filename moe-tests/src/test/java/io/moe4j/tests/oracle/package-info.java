/**
 * The judge of everything else: a float64 Mixture-of-Experts layer, written from the definitions of
 * the number formats, routing methods and activations alone. It uses moe-api's enums and records as
 * vocabulary and none of its code: formats are decoded and encoded here a second time.
 */
package io.moe4j.tests.oracle;
