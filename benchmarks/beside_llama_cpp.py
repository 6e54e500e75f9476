"""Decoding and prefill beside llama.cpp: `beside_llama_cpp.py CANDLE MODEL.gguf [ROUNDS]`.

CANDLE is the command `candle`. Both sides get the same file, the same prompt and two threads, in turn, so that
whatever else the machine does meets both. Prints medians of tokens a second, and their quotient.
"""

import json
import statistics
import subprocess
import sys
import time

from llama_cpp import Llama

PROMPT = list(range(100, 228))
TOKENS = 64
THREADS = 2


def peer(model: str) -> tuple[float, float]:
    """Prefill and decode of llama.cpp."""
    llama = Llama(model, n_threads=THREADS, n_threads_batch=THREADS, n_ctx=512, verbose=True)
    tokens = llama.generate(PROMPT, top_k=1, temp=0.0)
    start = time.perf_counter()
    next(tokens)
    prefilled = time.perf_counter()
    for _ in range(TOKENS):
        next(tokens)
    return len(PROMPT) / (prefilled - start), TOKENS / (time.perf_counter() - prefilled)


def ours(candle: str, model: str) -> tuple[float, float]:
    """Prefill and decode of candle4j."""
    command = [candle, "generate", "--model", model, "--threads", str(THREADS), "--json", "--ignore-eos"]
    command += ["--tokens", ",".join(map(str, PROMPT)), "--max-tokens", str(TOKENS + 1), "--temperature", "0"]
    answer = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    timings = answer["timings"]
    return timings["prefill_tokens_per_second"], timings["decode_tokens_per_second"]


def main() -> None:
    """Runs the command line."""
    candle, model = sys.argv[1:3]
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 5
    theirs, own = [], []
    for _ in range(rounds):
        theirs.append(peer(model))
        own.append(ours(candle, model))
    print("| tokens/s | llama.cpp | candle4j | candle4j / llama.cpp |\n|---|---:|---:|---:|")
    for index, name in enumerate((f"prefill {len(PROMPT)}", f"decode {TOKENS}")):
        a, b = (statistics.median(side[index] for side in results) for results in (theirs, own))
        print(f"| {name} | {a:.1f} | {b:.1f} | {b / a:.2f} |")


if __name__ == "__main__":
    main()
