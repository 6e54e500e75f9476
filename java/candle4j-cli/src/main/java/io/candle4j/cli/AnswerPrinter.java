package io.candle4j.cli;

import io.candle4j.Generation;
import io.candle4j.Token;
import io.candle4j.TokenListener;

/** Prints an answer while it is generated. To be closed, which ends the line that was begun. */
final class AnswerPrinter implements TokenListener, AutoCloseable {
  private final Sink out;
  private final CodeBlocks blocks;
  private int printed;
  private boolean thinking;
  private boolean finished;

  AnswerPrinter(Sink out) {
    this.out = out;
    this.blocks = new CodeBlocks(out::print);
  }

  @Override
  public void onToken(Token token) {
    // What a model thinks is for people who wait; who reads the output wants the answer.
    if (out.isTerminal() && !token.reasoning().isEmpty()) {
      out.print(Style.FAINT, token.reasoning());
      thinking = true;
    }
    if (thinking && !token.text().isEmpty()) {
      out.print("\n\n");
      thinking = false;
    }
    print(token.text());
    printed += token.text().length();
  }

  private void print(String text) {
    if (out.isColoured()) {
      blocks.print(text);
    } else {
      out.print(text);
    }
  }

  /** Prints what is left: a stopped generation may have more text than it told of. */
  void finish(Generation generation) {
    print(generation.text().substring(printed));
    blocks.finish();
    finished = true;
    out.println();
  }

  @Override
  public void close() {
    if (!finished && printed > 0) {
      finished = true;
      blocks.finish();
      out.println();
    }
  }
}
