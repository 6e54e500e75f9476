"""The server under four times the load that it takes: `overload.py CANDLE MODEL.gguf [ROUNDS]`.

CANDLE is the command `candle`. As many clients as the server has places, and then four times as many as it has places and
room in its queue, ask for some seconds each; who is refused waits as long as the answer says. Prints the medians of tokens
a second, what became of the requests, and the quotient. Fails when a request got neither an answer nor status 429.
"""

import collections
import http.client
import json
import statistics
import sys
import threading
import time

from beside_llama_server import THREADS, Server, free_port

PLACES = 16
SECONDS = 20
TOKENS = 32


class Load:
    """Clients that ask until the time is over."""

    def __init__(self, port: int, clients: int) -> None:
        self.port = port
        self.tokens = 0
        self.statuses: collections.Counter[object] = collections.Counter()
        self.lock = threading.Lock()
        self.end = time.perf_counter() + SECONDS
        start = time.perf_counter()
        threads = [threading.Thread(target=self.client, args=(number,)) for number in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.rate = self.tokens / (time.perf_counter() - start)

    def client(self, number: int) -> None:
        """One client."""
        asked = 0
        while time.perf_counter() < self.end:
            asked += 1
            status, tokens, wait = self.ask(f"Tell me about the number {number} and about {asked} ships.")
            with self.lock:
                self.statuses[status] += 1
                self.tokens += tokens
            time.sleep(min(wait, max(0, self.end - time.perf_counter())))

    def ask(self, text: str) -> tuple[object, int, float]:
        """The status of a request, its tokens, and how long to wait before the next."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        body = {"messages": [{"role": "user", "content": text}], "max_tokens": TOKENS, "temperature": 0, "ignore_eos": True}
        try:
            connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            return repr(error), 0, 1
        finally:
            connection.close()
        tokens = answer["usage"]["completion_tokens"] if response.status == 200 else 0
        return response.status, tokens, float(response.getheader("Retry-After", "0"))


def main() -> None:
    """Runs the command line."""
    candle, model = sys.argv[1:3]
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    port = free_port()
    command = [candle, "serve", "--port", str(port), "--model", model, "--threads", THREADS]
    command += ["--parallel", str(PLACES), "--queue", str(PLACES)]
    peak, overload = [], []
    statuses: collections.Counter[object] = collections.Counter()
    with Server(command, port):
        for _ in range(rounds):
            peak.append(Load(port, PLACES).rate)
            load = Load(port, 4 * 2 * PLACES)
            overload.append(load.rate)
            statuses += load.statuses
    own, most = statistics.median(peak), statistics.median(overload)
    print(f"| tokens/s | {PLACES} clients | {4 * 2 * PLACES} clients | ratio | answered | refused |\n|---|---:|---:|---:|---:|---:|")
    print(f"| {PLACES} places, {PLACES} in the queue | {own:.0f} | {most:.0f} | {most / own:.2f} |", end="")
    print(f" {statuses.pop(200, 0)} | {statuses.pop(429, 0)} |")
    if statuses:
        raise SystemExit(f"neither answered nor refused: {dict(statuses)}")


if __name__ == "__main__":
    main()
