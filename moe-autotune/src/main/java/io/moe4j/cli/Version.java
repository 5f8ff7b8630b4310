package io.moe4j.cli;

import picocli.CommandLine.IVersionProvider;

/** The application's version, as its jar's manifest has it. */
final class Version implements IVersionProvider {

  /** "development" where the classes are not in a jar. */
  static String current() {
    String version = Version.class.getPackage().getImplementationVersion();
    return version == null ? "development" : version;
  }

  @Override
  public String[] getVersion() {
    return new String[] {"moe4j " + current()};
  }
}
