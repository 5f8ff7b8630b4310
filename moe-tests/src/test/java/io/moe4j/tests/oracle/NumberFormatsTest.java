package io.moe4j.tests.oracle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The oracle's number formats against values computed by hand. */
class NumberFormatsTest {

  @Test
  void fp4HasEightMagnitudesAndASign() {
    double[] expected = {0, .5, 1, 1.5, 2, 3, 4, 6, -0., -.5, -1, -1.5, -2, -3, -4, -6};
    for (int code = 0; code < 16; code++) {
      assertEquals(expected[code], E2m1.decode(code));
    }
  }

  @ParameterizedTest
  @CsvSource({
    "0.25, 0",
    "0.26, 1",
    "0.75, 2",
    "1.25, 2",
    "1.75, 4",
    "2.5, 4",
    "2.51, 5",
    "3.5, 6",
    "5, 6",
    "5.1, 7",
    "6, 7",
    "100, 7",
    "-5, 14",
    "-100, 15"
  })
  void fp4RoundsToNearestTiesToEvenCodeAndSaturates(double value, int code) {
    assertEquals(code, E2m1.encode(value));
  }

  @ParameterizedTest
  @CsvSource({
    "0x00, 0",
    "0x01, 0.001953125",
    "0x07, 0.013671875",
    "0x08, 0.015625",
    "0x38, 1",
    "0x39, 1.125",
    "0x7E, 448",
    "0xB8, -1",
    "0xFE, -448"
  })
  void fp8CodesHaveTheseValues(String code, double value) {
    assertEquals(value, E4m3.decode(Integer.decode(code)));
  }

  @Test
  void fp8HasTwoNans() {
    assertTrue(Double.isNaN(E4m3.decode(0x7F)));
    assertTrue(Double.isNaN(E4m3.decode(0xFF)));
  }

  @ParameterizedTest
  @CsvSource({
    "0.0009765625, 0x00",
    "0.0009766, 0x01",
    "1.0625, 0x38",
    "1.1875, 0x3A",
    "448, 0x7E",
    "1e6, 0x7E",
    "-1e6, 0xFE",
    "-1, 0xB8"
  })
  void fp8RoundsToNearestTiesToEvenCodeAndSaturates(double value, String code) {
    assertEquals(Integer.decode(code), E4m3.encode(value));
  }

  @Test
  void everyFiniteCodeSurvivesARoundTrip() {
    for (int code = 0; code < 256; code++) {
      double value = E4m3.decode(code);
      if (!Double.isNaN(value) && value != 0) {
        assertEquals(code, E4m3.encode(value));
      }
    }
  }

  @Test
  void blockScalesArePowersOfTwo() {
    assertEquals(1, Ue8m0.decode(127));
    assertEquals(Math.pow(2, -127), Ue8m0.decode(0));
    assertTrue(Double.isNaN(Ue8m0.decode(255)));
    assertEquals(127, Ue8m0.encodeUp(1));
    assertEquals(128, Ue8m0.encodeUp(1.0001));
    assertEquals(0, Ue8m0.encodeUp(0));
  }

  @ParameterizedTest
  @CsvSource({"1, 0x3F80", "1.00390625, 0x3F80", "1.01171875, 0x3F82", "-2.5, 0xC020", "0, 0x0000"})
  void bfloat16RoundsToNearestTiesToEven(double value, String bits) {
    assertEquals(Integer.decode(bits), Bf16.encode(value) & 0xFFFF);
  }
}
