/**
 * What a back end implements, and what a selector of tactics may use. Applications use {@link
 * io.moe4j.MoeDevice} and {@link io.moe4j.MoeLayer} instead.
 */
package io.moe4j.spi;
