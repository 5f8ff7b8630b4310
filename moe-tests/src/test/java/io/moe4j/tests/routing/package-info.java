/**
 * Precomputed routing takes its own path, and nothing without storage reaches a launch: the defect
 * of FlashInfer's pull request 2916 cannot be written here.
 */
package io.moe4j.tests.routing;
