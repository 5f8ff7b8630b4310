/**
 * What is tuned: keys, token buckets, the shapes of a profile and the real tensors it is timed
 * with. Depends on nothing else of the tuner.
 */
package io.moe4j.autotune.profile;
