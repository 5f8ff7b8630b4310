package io.moe4j.autotune.store;

import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;

/**
 * Files that are there completely or not at all, whoever is killed when. Safe from any thread and
 * process.
 */
class DurableFiles {
  /** Ends the names of files that are being written; a killed writer leaves one behind. */
  static final String TEMPORARY = ".tmp";

  /**
   * Writes a file in one step: readers see the old contents or the new. Until then it has a name
   * that nobody else gives; ids of processes are the same in other containers and after a restart.
   */
  void replace(Path file, byte[] contents) throws IOException {
    Path directory = file.toAbsolutePath().getParent();
    Files.createDirectories(directory);
    Path temporary =
        directory.resolve("." + file.getFileName() + "." + UUID.randomUUID() + TEMPORARY);
    try {
      writeSynced(temporary, contents);
      Files.move(
          temporary, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    } catch (IOException e) {
      Files.deleteIfExists(temporary);
      throw e;
    }
    syncDirectory(directory);
  }

  /**
   * Writes a new file's bytes down to the disk. No channel, which an interrupted thread closes: one
   * that was interrupted while it tuned keeps what it knows.
   */
  void writeSynced(Path file, byte[] contents) throws IOException {
    try (FileOutputStream stream = new FileOutputStream(file.toFile())) {
      stream.write(contents);
      stream.getFD().sync();
    }
  }

  /** Makes a rename survive a power cut. Not all file systems can; the rename itself stands. */
  private static void syncDirectory(Path directory) {
    try (FileChannel channel = FileChannel.open(directory, StandardOpenOption.READ)) {
      channel.force(true);
    } catch (IOException ignored) {
      return;
    }
  }

  /** The files of a folder whose names end so; none where there is no folder. */
  List<Path> list(Path directory, String suffix) throws IOException {
    List<Path> files = new ArrayList<>();
    try (DirectoryStream<Path> stream = Files.newDirectoryStream(directory)) {
      for (Path path : stream) {
        if (path.getFileName().toString().endsWith(suffix)) {
          files.add(path);
        }
      }
    } catch (NoSuchFileException e) {
      return List.of();
    }
    files.sort(null);
    return files;
  }
}
