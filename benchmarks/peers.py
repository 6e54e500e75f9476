"""The engine under each instruction set beside llama.cpp, Candle's own models and transformers, on one machine.

    peers.py CANDLE LLAMA_CPP WORK [--shapes A,B] [--formats A,B] [--prompts N,N] [--together N,N] [--rounds N] [--svg FILE]

CANDLE is the command `candle`; LLAMA_CPP is the folder of llama.cpp's sources in its Python package, which has builds of it
beside it: `build` for this machine and, where that has more, `build-avx2`; WORK is where models are made and kept. Every
side gets the same weights, as many threads as there are processors, and its turn in every round. Prints a table of medians
in tokens a second over all prompts, and the share of what memory allows: bytes of the file by tokens that one pass makes,
beside the rate at which all threads read memory, measured in each round. With `--svg` it also draws them.
"""

import argparse
import functools
import json
import os
import pathlib
import statistics
import subprocess
import sys
import threading
import time

import chart

SHAPES = ["built-in", "qwen3-0.6b", "llama-3.2-1b"]
FORMATS = ["f32", "bf16", "q8_0", "q4_k_m", "q4_0", "mxfp4"]
TORCH_TYPES = {"f32": "float32", "bf16": "bfloat16"}
GENERATE = 32
"""Tokens of an answer."""

ROOT = pathlib.Path(__file__).resolve().parent.parent


def quietly(command: list[str], **more: object) -> str:
    """What a command prints; its errors are shown when it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, **more)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: status {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


def memory_rate(threads: int) -> float:
    """Bytes a second that all threads read together, the best of some tries."""
    import numpy

    parts = [numpy.ones(32 << 20) for _ in range(threads)]
    best = 0.0
    for _ in range(5):
        start = time.perf_counter()
        running = [threading.Thread(target=part.sum) for part in parts]
        for one in running:
            one.start()
        for one in running:
            one.join()
        best = max(best, threads * parts[0].nbytes / (time.perf_counter() - start))
    return best


class Models:
    """The files of shapes, made when they are asked for."""

    def __init__(self, work: pathlib.Path, llama_cpp: pathlib.Path) -> None:
        self.work, self.llama_cpp = work, llama_cpp

    def gguf(self, shape: str, kind: str) -> pathlib.Path | None:
        """The file of a shape in a format; none where there is none."""
        if shape == "built-in":
            files = list(self.work.glob("SmolLM2*.gguf"))
            if not files:
                quietly([ROOT / "scripts/fetch-model", self.work])
                files = list(self.work.glob("SmolLM2*.gguf"))
            return files[0] if kind == "q4_1" else None
        path = self.work / f"{shape}-{kind}.gguf"
        if path.exists():
            return path
        if kind in ("f32", "bf16"):
            self.convert(self.folder(shape), path, kind)
        else:
            quantize = self.llama_cpp.parents[2] / "build/bin/llama-quantize"
            name = {"mxfp4": "MXFP4_MOE"}.get(kind, kind)
            extra = ["--tensor-type", "(attn|ffn).*=mxfp4"] if kind == "mxfp4" else []
            quietly([quantize, *extra, self.gguf(shape, "bf16"), path, name])
        return path

    def folder(self, shape: str) -> pathlib.Path:
        """The folder of a shape."""
        path = self.work / shape
        if not (path / "model.safetensors").exists():
            quietly([ROOT / "scripts/make-synthetic-model", "--shape", shape, path])
        return path

    def convert(self, folder: pathlib.Path, path: pathlib.Path, kind: str) -> None:
        """By llama.cpp's converter, which knows no tokenizer of ours."""
        program = (
            "import sys, runpy; sys.path[:0] = ['.', 'gguf-py']\n"
            "import conversion.base as base\n"
            "base.TextModel.get_vocab_base_pre = lambda self, tokenizer: 'qwen2'\n"
            "runpy.run_path('convert_hf_to_gguf.py', run_name='__main__')"
        )
        arguments = [folder.resolve(), "--outfile", path.resolve(), "--outtype", kind]
        quietly([sys.executable, "-c", program, *arguments], cwd=self.llama_cpp)


class Ours:
    """The engine, or Candle's own models."""

    def __init__(self, candle: str, instructions: str = "", engine: str = "fused") -> None:
        self.candle, self.instructions, self.engine = candle, instructions, engine
        self.name = f"candle4j {instructions}" if engine == "fused" else "Candle"

    def run(self, model: pathlib.Path, prompt: int, together: int) -> tuple[float, float]:
        """Tokens a second of prefill and decode, over all prompts."""
        command = [self.candle, "bench", "--model", model, "--prompt-tokens", prompt, "--generate", GENERATE]
        command += ["--parallel", together, "--repetitions", 1, "--engine", self.engine, "--json"]
        environment = os.environ | ({"CANDLE4J_INSTRUCTIONS": self.instructions} if self.instructions else {})
        (told,) = json.loads(quietly([str(part) for part in command], env=environment))
        return told["prefill_tokens_per_second"], told["decode_tokens_per_second"]


class LlamaCpp:
    """llama.cpp's own benchmark."""

    def __init__(self, build: pathlib.Path, name: str, threads: int) -> None:
        self.program, self.name, self.threads = build / "bin/llama-batched-bench", name, threads

    def run(self, model: pathlib.Path, prompt: int, together: int) -> tuple[float, float]:
        """See [Ours.run]. Prompts have nothing in common."""
        context = together * (prompt + GENERATE)
        command = [self.program, "-m", model, "-c", context, "-b", 2048, "-ub", 512, "-npp", prompt, "-ntg", GENERATE]
        command += ["-npl", together, "-t", self.threads, "--output-format", "jsonl"]
        told = quietly([str(part) for part in command])
        line = json.loads(next(line for line in told.splitlines() if line.startswith("{")))
        return line["speed_pp"], line["speed_tg"]


class Transformers:
    """transformers on torch, which reads folders; one prompt at a time."""

    name = "transformers"

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def run(self, folder: pathlib.Path, prompt: int, kind: str) -> tuple[float, float]:
        """See [Ours.run]."""
        program = f"""
import json, time, torch, transformers
torch.set_num_threads({self.threads})
model = transformers.AutoModelForCausalLM.from_pretrained({str(folder)!r}, dtype={kind!r})
def measure(count):
    ids = torch.arange(100, 100 + {prompt})[None]
    start = time.perf_counter()
    with torch.inference_mode():
        out = model(ids, logits_to_keep=1)
        prefilled = time.perf_counter()
        for _ in range(count):
            out = model(out.logits[:, -1:].argmax(-1), past_key_values=out.past_key_values)
    return {prompt} / (prefilled - start), count / (time.perf_counter() - prefilled)
measure(2)
print(json.dumps(measure({GENERATE})))
"""
        return tuple(json.loads(quietly([sys.executable, "-W", "ignore", "-c", program]).splitlines()[-1]))


def sides(arguments: argparse.Namespace, threads: int) -> list[Ours | LlamaCpp]:
    """Who runs."""
    builds = arguments.llama_cpp.resolve().parents[2]
    info = json.loads(quietly([arguments.candle, "info", "--json"]))["runtime"]
    limits = {"amx": ["amx", "avx512vnni", "avx2"], "avx512vnni": ["avx512vnni", "avx2"]}
    ours = limits.get(info["instructions"], [info["instructions"]])
    all_sides: list[Ours | LlamaCpp] = [Ours(arguments.candle, name) for name in [*ours, "portable"][: arguments.sets]]
    all_sides.append(Ours(arguments.candle, engine="candle"))
    all_sides.append(LlamaCpp(builds / "build", "llama.cpp", threads))
    if (builds / "build-avx2").exists():
        all_sides.append(LlamaCpp(builds / "build-avx2", "llama.cpp AVX2", threads))
    return all_sides


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("candle")
    parser.add_argument("llama_cpp", type=pathlib.Path)
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--shapes", default=",".join(SHAPES))
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--prompts", default="256")
    parser.add_argument("--together", default="1")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sets", type=int, default=9, help="how many of our instruction sets, the best first")
    parser.add_argument("--svg", type=pathlib.Path, help="a chart of the table")
    arguments = parser.parse_args()
    threads = len(os.sched_getaffinity(0))
    arguments.work.mkdir(parents=True, exist_ok=True)
    models = Models(arguments.work, arguments.llama_cpp.resolve())
    running = sides(arguments, threads)
    print(f"{threads} threads; memory reads at {memory_rate(threads) / 1e9:.1f} GB/s\n")
    print("| shape | format | prompt | together | side | prefill | decode | share of memory |")
    print("|---|---|---:|---:|---|---:|---:|---:|", flush=True)
    groups = []
    for shape in arguments.shapes.split(","):
        for kind in ["q4_1"] if shape == "built-in" else arguments.formats.split(","):
            model = models.gguf(shape, kind)
            for prompt in map(int, arguments.prompts.split(",")):
                for together in map(int, arguments.together.split(",")):
                    case = (shape, kind, prompt, together)
                    # Of GGUF files, Candle's own models read Llamas in these types, one prompt at a time.
                    is_llama = shape == "built-in" or shape.startswith("llama")
                    alone = is_llama and together == 1 and kind != "mxfp4"
                    able = [side for side in running if alone or getattr(side, "engine", "") != "candle"]
                    runs = {side.name: functools.partial(side.run, model, prompt, together) for side in able}
                    if together == 1 and kind in TORCH_TYPES:
                        beside = Transformers(threads)
                        runs[beside.name] = functools.partial(beside.run, models.folder(shape), prompt, TORCH_TYPES[kind])
                    medians = table(runs, model, case, arguments.rounds, threads)
                    groups.append((f"{shape} {kind}, {together} × {prompt}", medians))
    if arguments.svg:
        chart.write(arguments.svg, ["prefill, tokens/s", "decode, tokens/s"], groups)


def table(runs, model, case, rounds: int, threads: int) -> list[tuple[str, list[float]]]:
    """Prints the lines of a case, for runs by their names. Returns the medians of each."""
    found, rates = {name: [] for name in runs}, []
    for _ in range(rounds):
        rates.append(memory_rate(threads))
        for name, run in runs.items():
            found[name].append(run())
    size, medians = model.stat().st_size, []
    for name, results in found.items():
        prefill, decode = (statistics.median(result[index] for result in results) for index in (0, 1))
        share = decode / case[3] * size / statistics.median(rates)
        shown = " | ".join(map(str, case))
        print(f"| {shown} | {name} | {prefill:.1f} | {decode:.1f} | {share:.2f} |", flush=True)
        medians.append((name, [prefill, decode]))
    return medians


if __name__ == "__main__":
    main()
