/**
 * Columns and SQL functions of Apache Spark that candle4j's models fill: answers, vectors and
 * scores. The models run in the executors, one copy each, without a server and without Python.
 */
@NullMarked
package io.candle4j.spark;

import org.jspecify.annotations.NullMarked;
