package io.candle4j.cli;

import io.candle4j.EmbedResult;
import io.candle4j.Embedding;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** Where vectors go: lines of JSON, or an array of numpy's. A file appears when it is whole. */
abstract class VectorOutput implements AutoCloseable {
  /** Takes the vector of a text, or what went wrong with it. */
  abstract void write(long index, EmbedResult result);

  /** Ends the output: nothing went wrong. */
  void finish() {}

  @Override
  public void close() {}

  /** Lines on standard output. */
  static VectorOutput lines(Sink out) {
    return new VectorOutput() {
      @Override
      void write(long index, EmbedResult result) {
        out.println(Json.line(object(index, result)));
      }
    };
  }

  /** A file: an array where its name ends in {@code .npy}, else lines. */
  static VectorOutput file(Path file) {
    return file.toString().endsWith(".npy") ? new OfArray(file) : new OfLines(file);
  }

  /** A line's object. */
  static Map<String, Object> object(long index, EmbedResult result) {
    return switch (result) {
      case EmbedResult.Completed(Embedding embedding) -> {
        Map<String, Object> object =
            Json.object(
                "index", index, "embedding", numbers(embedding), "tokens", embedding.tokens());
        if (embedding.leftOut() > 0) {
          object.put("left_out", embedding.leftOut());
        }
        yield object;
      }
      case EmbedResult.Failed(RuntimeException cause) ->
          Json.object("index", index, "error", Failures.message(cause));
    };
  }

  /** The numbers of a vector, as JSON has them. */
  static List<Float> numbers(Embedding embedding) {
    float[] vector = embedding.vector();
    List<Float> numbers = new ArrayList<>(vector.length);
    for (float number : vector) {
      numbers.add(number);
    }
    return numbers;
  }

  /** A file that is written beside its place. */
  private abstract static class OfFile extends VectorOutput {
    private final Path file;
    private final Path part;
    final FileChannel channel;

    OfFile(Path file) {
      this.file = file;
      this.part = file.resolveSibling(file.getFileName() + ".part");
      try {
        channel =
            FileChannel.open(
                part,
                StandardOpenOption.CREATE,
                StandardOpenOption.TRUNCATE_EXISTING,
                StandardOpenOption.WRITE);
      } catch (IOException e) {
        throw InputFile.failure("--out", file, "cannot be written: " + e.getMessage(), e);
      }
    }

    void put(ByteBuffer bytes) {
      try {
        while (bytes.hasRemaining()) {
          channel.write(bytes);
        }
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    @Override
    void finish() {
      try {
        channel.close();
        Files.move(part, file, StandardCopyOption.REPLACE_EXISTING);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    @Override
    public void close() {
      try {
        channel.close();
        Files.deleteIfExists(part);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
  }

  private static final class OfLines extends OfFile {
    OfLines(Path file) {
      super(file);
    }

    @Override
    void write(long index, EmbedResult result) {
      String line = Json.line(object(index, result)) + "\n";
      put(ByteBuffer.wrap(line.getBytes(StandardCharsets.UTF_8)));
    }
  }

  /** An array of numbers in 32 bits, a row a text; those of texts without a vector are NaN. */
  private static final class OfArray extends OfFile {
    /** Room for the header, whose numbers are known at the end. */
    private static final int HEADER = 128;

    private long rows;
    private long missing;
    private int columns;

    OfArray(Path file) {
      super(file);
      put(ByteBuffer.allocate(HEADER));
    }

    @Override
    void write(long index, EmbedResult result) {
      rows++;
      switch (result) {
        case EmbedResult.Completed(Embedding embedding) -> {
          float[] vector = embedding.vector();
          if (columns == 0) {
            columns = vector.length;
            // Rows of NaN whose width was not known yet.
            for (long i = 0; i < missing; i++) {
              row(nothing());
            }
          }
          row(vector);
        }
        case EmbedResult.Failed failed -> {
          if (columns == 0) {
            missing++;
          } else {
            row(nothing());
          }
        }
      }
    }

    private float[] nothing() {
      float[] row = new float[columns];
      java.util.Arrays.fill(row, Float.NaN);
      return row;
    }

    private void row(float[] vector) {
      ByteBuffer bytes =
          ByteBuffer.allocate(vector.length * Float.BYTES).order(ByteOrder.LITTLE_ENDIAN);
      bytes.asFloatBuffer().put(vector);
      put(bytes);
    }

    @Override
    void finish() {
      String header =
          "{'descr': '<f4', 'fortran_order': False, 'shape': (" + rows + ", " + columns + "), }";
      int length = HEADER - 10;
      String padded = header + " ".repeat(length - 1 - header.length()) + "\n";
      ByteBuffer bytes = ByteBuffer.allocate(HEADER).order(ByteOrder.LITTLE_ENDIAN);
      bytes.put((byte) 0x93).put("NUMPY".getBytes(StandardCharsets.US_ASCII));
      bytes.put((byte) 1).put((byte) 0).putShort((short) length);
      bytes.put(padded.getBytes(StandardCharsets.US_ASCII)).flip();
      try {
        channel.write(bytes, 0);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
      super.finish();
    }
  }
}
