/** What is in the packaged jars. */
package io.moe4j.tests.packaging;
