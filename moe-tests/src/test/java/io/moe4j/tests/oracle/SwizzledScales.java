package io.moe4j.tests.oracle;

/**
 * The 128x4 layout of block scales: rows are padded to 128 and columns to 4; a tile of 128x4 takes
 * 512 bytes, tiles are row-major; element (r, c) of a tile is its byte (r % 32) * 16 + (r / 32) * 4
 * + c.
 */
public final class SwizzledScales {
  private SwizzledScales() {}

  /** Bytes with padding. */
  public static int bytes(int rows, int columns) {
    return tiles(rows, 128) * tiles(columns, 4) * 512;
  }

  /** Linear [rows, columns] bytes in the swizzled layout, padding zero. */
  public static byte[] swizzle(int rows, int columns, byte[] linear) {
    byte[] swizzled = new byte[bytes(rows, columns)];
    for (int row = 0; row < rows; row++) {
      for (int column = 0; column < columns; column++) {
        swizzled[offset(row, column, tiles(columns, 4))] = linear[row * columns + column];
      }
    }
    return swizzled;
  }

  private static int offset(int row, int column, int tileColumns) {
    int tile = row / 128 * tileColumns + column / 4;
    int r = row % 128;
    return tile * 512 + r % 32 * 16 + r / 32 * 4 + column % 4;
  }

  private static int tiles(int extent, int tile) {
    return (extent + tile - 1) / tile;
  }
}
