"""all-MiniLM-L6-v2 in Python: sentence-transformers on torch, and ONNX Runtime with batches.

    peers.py MODEL_FOLDER ONNX_FILE TEXTS

Prints the names of its sides, then answers each line of NAME and `list`, or the number of a text, with seconds.
"""

import sys
import time

import numpy as np
import onnxruntime
import torch
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer

folder, onnx_file, texts_file = sys.argv[1:]
with open(texts_file, encoding="utf-8") as file:
    TEXTS = file.read().splitlines()
BATCH = 32
# As many as the tokenizer of LangChain4j's artifact leaves of a text.
MAX_TOKENS = 128

# The file has 16 bits; torch is faster in 32.
torch_model = SentenceTransformer(folder, device="cpu", model_kwargs={"dtype": torch.float32})
torch_model.max_seq_length = MAX_TOKENS
session = onnxruntime.InferenceSession(onnx_file, providers=["CPUExecutionProvider"])
tokenizer = Tokenizer.from_file(folder + "/tokenizer.json")
tokenizer.enable_truncation(MAX_TOKENS)
tokenizer.enable_padding()
NAMES = {given.name for given in session.get_inputs()}


def by_torch(texts):
    torch_model.encode(texts, batch_size=BATCH, show_progress_bar=False)


def by_onnx(texts):
    # Texts of like lengths together, so that little padding is computed.
    texts = sorted(texts, key=len)
    for start in range(0, len(texts), BATCH):
        encodings = tokenizer.encode_batch(texts[start : start + BATCH])
        mask = np.array([encoding.attention_mask for encoding in encodings], dtype=np.int64)
        inputs = {
            "input_ids": np.array([encoding.ids for encoding in encodings], dtype=np.int64),
            "attention_mask": mask,
            "token_type_ids": np.zeros_like(mask),
        }
        states = session.run(None, {name: value for name, value in inputs.items() if name in NAMES})[0]
        pooled = (states * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
        pooled / np.linalg.norm(pooled, axis=1, keepdims=True)


SIDES = {"sentence-transformers (torch)": by_torch, "ONNX Runtime, batches of 32": by_onnx}
print(",".join(name.replace(",", " in") for name in SIDES), flush=True)
BY_NAME = {name.replace(",", " in"): side for name, side in SIDES.items()}
for line in sys.stdin:
    name, what = line.rstrip("\n").split("\t")
    texts = TEXTS if what == "list" else [TEXTS[int(what)]]
    start = time.perf_counter()
    BY_NAME[name](texts)
    print(time.perf_counter() - start, flush=True)
