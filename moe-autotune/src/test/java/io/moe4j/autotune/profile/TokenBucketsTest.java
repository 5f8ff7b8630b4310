package io.moe4j.autotune.profile;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;

import com.google.common.collect.ImmutableList;
import com.google.common.primitives.ImmutableLongArray;
import io.moe4j.InvalidArgumentException;
import io.moe4j.MoeLayer;
import io.moe4j.autotune.profile.TokenBuckets.Rounding;
import java.time.Duration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class TokenBucketsTest {
  private static final TokenBuckets LIST = TokenBuckets.of(500, 100, 1000, 200, 100);

  @Test
  void powersOfTwoEndWithTheMaximum() {
    assertEquals(
        ImmutableLongArray.of(1, 2, 4, 8, 16, 32, 64), TokenBuckets.powersOfTwo(64).values());
    assertEquals(
        ImmutableLongArray.of(1, 2, 4, 8, 16, 32, 64, 100), TokenBuckets.powersOfTwo(100).values());
    assertEquals(ImmutableLongArray.of(1), TokenBuckets.powersOfTwo(1).values());
  }

  @Test
  void hybridGoesThroughItsFourPhases() {
    assertEquals(
        ImmutableLongArray.of(
            1, 2, 4, 8, 16, 32, 64, 128, 256, //
            512, 768, 1024, 1280, 1536, 1792, 2048, //
            2560, 3072, 3584, 4096, //
            8192, 16384, 20000),
        TokenBuckets.hybrid(20000).values());
    assertEquals(
        ImmutableLongArray.of(1, 2, 4, 8, 16, 32, 64, 128, 256, 300),
        TokenBuckets.hybrid(300).values());
    assertEquals(Rounding.CEILING, TokenBuckets.hybrid(300).rounding());
  }

  /** A tactic for up to 256 tokens may be the best of 256, and would be refused for 257. */
  @Test
  void generatedBucketsAreNoSmallerThanWhatTheyServe() {
    for (TokenBuckets buckets :
        ImmutableList.of(TokenBuckets.powersOfTwo(5000), TokenBuckets.hybrid(5000))) {
      for (long tokens = 1; tokens <= 5000; tokens++) {
        long bucket = buckets.bucketOf(tokens);
        assertEquals(true, bucket >= tokens, bucket + " serves " + tokens);
      }
    }
  }

  @Test
  void aListIsSortedAndHasNoDuplicates() {
    assertEquals(ImmutableLongArray.of(100, 200, 500, 1000), LIST.values());
  }

  @ParameterizedTest
  @CsvSource({"1,100", "100,100", "199,100", "200,200", "350,200", "999,500", "5000,1000"})
  void floorTakesTheBucketBelowAndClamps(long tokens, long bucket) {
    assertEquals(bucket, LIST.bucketOf(tokens));
  }

  @ParameterizedTest
  @CsvSource({"1,100", "100,100", "101,200", "350,500", "501,1000", "5000,1000"})
  void ceilingTakesTheBucketAboveAndClamps(long tokens, long bucket) {
    assertEquals(bucket, LIST.withRounding(Rounding.CEILING).bucketOf(tokens));
  }

  @Test
  void servedRangesAgreeWithTheMapping() {
    for (Rounding rounding : Rounding.values()) {
      TokenBuckets buckets = TokenBuckets.hybrid(5000).withRounding(rounding);
      for (long tokens = 1; tokens <= 5000; tokens++) {
        TokenRange served = buckets.served(buckets.bucketOf(tokens));
        assertEquals(true, served.contains(tokens), tokens + " in " + served);
      }
    }
  }

  @Test
  void aBucketServesNothingBeyondTheLastOne() {
    assertEquals(new TokenRange(1000, 1000), LIST.served(1000));
    assertEquals(new TokenRange(1, 100), LIST.withRounding(Rounding.CEILING).served(100));
    assertThrows(InvalidArgumentException.class, () -> LIST.served(101));
  }

  @ParameterizedTest
  @ValueSource(strings = {"pow2:8192", "hybrid:8192", "1,16,100", "1,16,100:up", "hybrid:64:down"})
  void textFormsAreReadBack(String text) {
    TokenBuckets buckets = TokenBuckets.parse(text);
    assertEquals(buckets, TokenBuckets.parse(buckets.toString()));
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "pow2:", "0", "-1", "1,,2", "hybrid:x", "1;2", "pow2:0"})
  void otherTextIsRefused(String text) {
    assertThrows(InvalidArgumentException.class, () -> TokenBuckets.parse(text));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "pow2:9223372036854775807",
        "hybrid:9223372036854775807",
        "pow2:16777217",
        "1,20000000"
      })
  void moreTokensThanALayerTakesAreRefused(String text) {
    assertTimeoutPreemptively(
        Duration.ofSeconds(10),
        () -> assertThrows(InvalidArgumentException.class, () -> TokenBuckets.parse(text)));
  }

  @Test
  void asManyTokensAsALayerTakesAreTaken() {
    assertEquals(25, TokenBuckets.powersOfTwo(MoeLayer.MAX_TOKENS).values().length());
  }

  @Test
  void noBucketsAreRefused() {
    assertThrows(InvalidArgumentException.class, TokenBuckets::of);
  }
}
