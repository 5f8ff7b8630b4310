/**
 * The application: {@code java -jar moe4j.jar COMMAND}. One class a command; {@link
 * io.moe4j.cli.Main} lists them. A command gathers what it has to say in a record and gives it to
 * {@code OutputOptions}, which prints it for people or, with {@code --json}, for machines.
 *
 * <p>Exit status: 0 done, 1 failed, 2 used wrongly. A failure is one line on standard error.
 */
package io.moe4j.cli;
