package io.candle4j.server;

import io.helidon.common.buffers.DataReader;
import io.helidon.common.buffers.DataWriter;
import io.helidon.common.socket.HelidonSocket;
import io.helidon.common.socket.PeerInfo;
import io.helidon.webserver.CloseConnectionException;
import io.helidon.webserver.ConnectionContext;
import io.helidon.webserver.ListenerContext;
import io.helidon.webserver.ProxyProtocolData;
import io.helidon.webserver.Router;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * A connection that a thread of its own reads, so that its end is seen while nobody else reads it,
 * as during a request. What was read waits for the thread that handles requests.
 */
final class WatchedConnection implements ConnectionContext {
  /** Reads that wait. A client that sends more meanwhile is not watched until they are taken. */
  private static final int WAITING = 16;

  /** How long a client may send nothing while it is read; it counts as one that has left then. */
  private static final Duration SILENCE = Duration.ofMinutes(5);

  private static final byte[] END = new byte[0];

  /** The connection whose request a thread handles; one thread has one connection. */
  private static final ThreadLocal<WatchedConnection> CURRENT = new ThreadLocal<>();

  private final ConnectionContext context;
  private final DataReader reader = DataReader.create(this::next);
  private final BlockingQueue<byte[]> read = new LinkedBlockingQueue<>(WAITING);
  private final Thread thread;
  private volatile boolean ended;

  /** Begins to read a connection, until {@link #stop}. */
  WatchedConnection(ConnectionContext context) {
    this.context = context;
    thread = Thread.ofVirtual().name("candle4j-connection").start(this::readAll);
  }

  /** Ends the thread, which may wait for somebody who takes what was read. */
  void stop() {
    thread.interrupt();
  }

  /** The connection whose request this thread handles. */
  static @Nullable WatchedConnection current() {
    return CURRENT.get();
  }

  /** Whether the client has closed it. */
  boolean hasEnded() {
    return ended;
  }

  /** Closes it, so that a thread that writes to it stops. */
  void abort() {
    try {
      context.serverSocket().close();
    } catch (RuntimeException e) {
      // It is closed.
    }
  }

  private void readAll() {
    try {
      DataReader source = context.dataReader();
      while (true) {
        source.ensureAvailable();
        read.put(source.readBytes(source.available()));
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } catch (RuntimeException e) {
      // The end of the connection, from either side.
    } finally {
      ended = true;
      // Where there is no room nobody waits, and who comes looks at the flag.
      var unused = read.offer(END);
    }
  }

  private byte @Nullable [] next() {
    CURRENT.set(this);
    try {
      byte[] bytes = ended ? read.poll() : read.poll(SILENCE.toMillis(), TimeUnit.MILLISECONDS);
      return bytes == null || bytes.length == 0 ? null : bytes;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new CloseConnectionException("interrupted", e);
    }
  }

  @Override
  public DataReader dataReader() {
    return reader;
  }

  @Override
  public DataWriter dataWriter() {
    return context.dataWriter();
  }

  @Override
  public ListenerContext listenerContext() {
    return context.listenerContext();
  }

  @Override
  public ExecutorService executor() {
    return context.executor();
  }

  @Override
  public Router router() {
    return context.router();
  }

  @Override
  public Optional<ProxyProtocolData> proxyProtocolData() {
    return context.proxyProtocolData();
  }

  @Override
  public HelidonSocket serverSocket() {
    return context.serverSocket();
  }

  @Override
  public PeerInfo remotePeer() {
    return context.remotePeer();
  }

  @Override
  public PeerInfo localPeer() {
    return context.localPeer();
  }

  @Override
  public boolean isSecure() {
    return context.isSecure();
  }

  @Override
  public String socketId() {
    return context.socketId();
  }

  @Override
  public String childSocketId() {
    return context.childSocketId();
  }
}
