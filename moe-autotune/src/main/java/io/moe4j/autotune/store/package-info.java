/**
 * What outlives a process: the tactic cache, plans and blocklists, and the environments that they
 * belong to. Whatever happens to a file, a finished result stays and nobody reads half of one.
 */
package io.moe4j.autotune.store;
