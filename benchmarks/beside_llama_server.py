"""The server beside llama.cpp's: `beside_llama_server.py CANDLE LLAMA_SERVER MODEL.gguf [ROUNDS]`.

CANDLE is the command `candle`, LLAMA_SERVER is llama.cpp's `llama-server`. Both servers get the same file, the same
prompts and all processors, in turn, so that whatever else the machine does meets both. Prints the median of tokens a second
of 64 clients together, and its quotient.
"""

import concurrent.futures
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import time

CLIENTS = 64
REQUESTS = 2
TOKENS = 64
THREADS = str(os.cpu_count())
PROMPT = "Tell me what you know about the number {}, and about the sea."


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A server process, which answers when it is entered."""

    def __init__(self, command: list[str], port: int) -> None:
        self.command = command
        self.port = port

    def __enter__(self) -> "Server":
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(600):
            try:
                self.ask("warm up", 2)
                return self
            except (OSError, http.client.HTTPException, KeyError):
                if self.process.poll() is not None:
                    break
                time.sleep(0.1)
        raise SystemExit(f"{self.command[0]} does not answer")

    def __exit__(self, *unused: object) -> None:
        self.process.terminate()
        self.process.wait()

    def ask(self, text: str, tokens: int) -> int:
        """Asks for so many tokens, and tells how many there were."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        body = {
            "messages": [{"role": "user", "content": text}],
            "max_tokens": tokens,
            "temperature": 0,
            "ignore_eos": True,
        }
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())
        return answer["usage"]["completion_tokens"]

    def together(self) -> float:
        """Tokens a second of all clients."""
        start = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as clients:
            texts = [PROMPT.format(number) for number in range(CLIENTS * REQUESTS)]
            tokens = sum(clients.map(lambda text: self.ask(text, TOKENS), texts))
        return tokens / (time.perf_counter() - start)


def main() -> None:
    """Runs the command line."""
    candle, llama, model = sys.argv[1:4]
    rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 3
    port = free_port()
    ours = [candle, "serve", "--port", str(port), "--model", model, "--threads", THREADS]
    theirs = [llama, "--port", str(port), "-m", model, "-t", THREADS, "-np", str(CLIENTS)]
    theirs += ["-c", str(CLIENTS * 512), "--no-webui"]
    together: dict[str, list[float]] = {"llama.cpp": [], "candle4j": []}
    for _ in range(rounds):
        for name, command in (("llama.cpp", theirs), ("candle4j", ours)):
            with Server(command, port) as server:
                together[name].append(server.together())
    peer, own = (statistics.median(together[name]) for name in ("llama.cpp", "candle4j"))
    print(f"| tokens/s of {CLIENTS} clients | llama-server | candle serve | ratio |\n|---|---:|---:|---:|")
    print(f"| {TOKENS} tokens each | {peer:.0f} | {own:.0f} | {own / peer:.2f} |")


if __name__ == "__main__":
    main()
