package io.candle4j.cli;

import io.candle4j.hub.CandleHub;
import java.io.UncheckedIOException;

/** What the commands about the Hub and its cache have in common. */
abstract class HubCommand extends BaseCommand {
  HubCommand(Stdio stdio, Interruption interruption) {
    super(stdio, interruption);
  }

  /** Does what the command is for. */
  abstract int run(CandleHub hub);

  @Override
  final int run() {
    try (CandleHub hub = CandleHub.open()) {
      return run(hub);
    } catch (SinkClosedException e) {
      throw e;
    } catch (UncheckedIOException e) {
      throw new CommandException(ExitCode.HUB, Failures.message(e), e);
    }
  }
}
