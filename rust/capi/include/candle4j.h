/*
 * candle4j: Llama and Qwen models on Candle.
 *
 * Rules that every function keeps to, in the terms of Rust:
 *
 * - A handle that came from a function belongs to the caller until it goes to its `_free` function.
 *   Functions that take `const` handles borrow them for the call (`&T`): any number of threads may
 *   be inside such calls on one handle. `_free` takes the handle (`T`): no call may use it then.
 *   `_free` takes NULL.
 * - A function that can fail returns a c4j_status and takes `error` last. `error` may be NULL. On
 *   failure `*error` is set to an error that belongs to the caller; on success it is not touched.
 * - Results are written on success only, to `out`, which must not be NULL. A c4j_buffer that was
 *   written belongs to the caller, who gives it to c4j_buffer_free.
 * - Text is UTF-8, a pointer and a length in bytes, never terminated; a pointer may be NULL where
 *   the length is 0. Input is borrowed for the call. What crosses rarely and is rich is one JSON
 *   document; keys that are not known are refused.
 * - Callbacks run on the thread that called the function, during the call, and must not unwind.
 *   No other thread ever runs them.
 * - Nothing unwinds out of any function: a panic inside becomes C4J_PANIC, and a session that it
 *   happened in answers C4J_POISONED from then on. Models, embedders, rerankers, hubs and tokenizers have nothing that a
 *   panic could damage, and go on.
 * - Only fixed-width types and pointers cross, so one set of bindings serves every platform.
 */

#ifndef CANDLE4J_H
#define CANDLE4J_H

/* Made by cbindgen from rust/capi. Not to be edited: change the Rust code and run scripts/generate-bindings. */

#include <stdint.h>

// A callback's answer: go on.
#define C4J_CONTINUE 0

// A callback's answer: stop.
#define C4J_STOP 1

// A callback's answer: it failed itself; the call ends with `C4J_CALLBACK_FAILED`.
#define C4J_FAILED 2

// A token of an answer.
#define C4J_TEXT 0

// A token of what the model thinks before its answer.
#define C4J_REASONING 1

// A token of a call of a tool, as far as is known.
#define C4J_TOOL_CALL 2

// Success.
#define C4J_OK 0

// An argument is outside what the function accepts.
#define C4J_INVALID_ARGUMENT 1

// A panic was caught; a session that it happened in can only be freed.
#define C4J_PANIC 2

// The session was damaged by an earlier panic and can only be freed.
#define C4J_POISONED 3

// Another call on the same session is under way.
#define C4J_BUSY 4

// The caller asked to stop.
#define C4J_CANCELLED 5

// A callback answered that it failed.
#define C4J_CALLBACK_FAILED 6

// Not done by this version or this build.
#define C4J_NOT_SUPPORTED 7

// Reading or writing a file failed.
#define C4J_IO 8

// The model's files contradict each other, are damaged, or lack something.
#define C4J_INVALID_MODEL 20

// The model is well formed, but would not be computed rightly.
#define C4J_UNSUPPORTED_MODEL 21

// NaN or infinity in weights or logits.
#define C4J_NUMERIC 22

// It would not fit into memory.
#define C4J_OUT_OF_MEMORY 23

// Prompt and answer exceed the context.
#define C4J_CONTEXT_FULL 24

// The device is not there, or this build cannot use it.
#define C4J_DEVICE_UNAVAILABLE 25

// The tokenizer cannot encode or decode.
#define C4J_TOKENIZER 26

// There is no chat template, or it cannot render these messages.
#define C4J_CHAT_TEMPLATE 27

// The forward pass failed.
#define C4J_COMPUTE 28

// As many requests as the model takes at a time are under way or wait.
#define C4J_QUEUE_FULL 29

// The Hub has no such repository.
#define C4J_MODEL_NOT_FOUND 40

// The repository has no such revision.
#define C4J_REVISION_NOT_FOUND 41

// The repository lacks a file.
#define C4J_FILE_NOT_FOUND 42

// Access to the repository must be asked for first.
#define C4J_GATED_MODEL 43

// The Hub wants a token, or refuses the one it got.
#define C4J_UNAUTHORIZED 44

// The model is not in the cache, and the Hub may not be asked.
#define C4J_MODEL_NOT_CACHED 45

// Downloaded bytes do not have the promised hash or size.
#define C4J_CHECKSUM 46

// No room left where the cache lies.
#define C4J_DISK_FULL 47

// The Hub cannot be reached or does not answer rightly.
#define C4J_HUB_UNAVAILABLE 48

// The ABI that this header describes.
#define C4J_ABI_VERSION 3

// A loaded model for embeddings. Any thread may use it, several at once: their texts go through it together.
typedef struct c4j_embedder c4j_embedder;

// A Hub and its cache. Any thread may use it, several at once, and so may several processes.
typedef struct c4j_hub c4j_hub;

// A loaded model: weights, tokenizer and chat template. Any thread may use it, several at once.
typedef struct c4j_model c4j_model;

// A loaded reranker. Any thread may use it, several at once: their documents go through it together.
typedef struct c4j_reranker c4j_reranker;

// A session. One call at a time runs on it; a second one gets `C4J_BUSY`, also when it is made
// from a callback. `c4j_session_cancel` is the exception.
typedef struct c4j_session c4j_session;

// A tokenizer. Any thread may use it, several at once.
typedef struct c4j_tokenizer c4j_tokenizer;

// Bytes that a function returned: UTF-8 text (not terminated), or token ids as 32-bit unsigned
// integers or floating point numbers of 32 bits in the machine's byte order.
//
// The caller provides the struct, a function fills it on success, and the caller gives it to
// `c4j_buffer_free` once. Its fields are not to be changed in between.
typedef struct {
    // The first byte. Not null, also when `len` is 0.
    uint8_t *data;
    // Number of bytes.
    uint64_t len;
    // For `c4j_buffer_free` only.
    uint64_t capacity;
} c4j_buffer;

// The outcome of a call: `C4J_OK`, or one of the other `C4J_` codes. The numbers never change
// their meaning.
typedef int32_t c4j_status;

// Told how far a long call is, by a JSON object of `len` bytes that is valid during the call only.
// It also runs, several times a second, while nothing moves. Answers as `c4j_token_fn` does, and
// runs on the thread that called the function.
typedef int32_t (*c4j_progress_fn)(void *user_data, const uint8_t *json, uint64_t len);

// What went wrong in a call. The caller owns it and gives it to `c4j_error_free` once.
typedef struct {
    // The status that the call returned.
    int32_t code;
    // One line for people: what is wrong, and what was expected. Never contains a secret.
    c4j_buffer message;
    // The things that the message names, as a JSON object.
    c4j_buffer detail;
} c4j_error;

// A token and the natural logarithm of its probability.
typedef struct {
    // The token.
    uint32_t id;
    // The logarithm.
    float logprob;
} c4j_token_logprob;

// A generated token. It and what it points to are valid during the call only.
typedef struct {
    // The text that became certain with it: UTF-8, `text_len` bytes, often none.
    const uint8_t *text;
    // Bytes of `text`.
    uint64_t text_len;
    // What became certain with it of what the model thinks before its answer, as `text`.
    const uint8_t *reasoning;
    // Bytes of `reasoning`.
    uint64_t reasoning_len;
    // The calls of tools that it completes, a JSON array of objects with `id`, `name` and `arguments` (a text that
    // is a JSON object); `tool_calls_len` bytes, none when there are none.
    const uint8_t *tool_calls;
    // Bytes of `tool_calls`.
    uint64_t tool_calls_len;
    // The most probable tokens in its place, best first, as many as were asked for.
    const c4j_token_logprob *top;
    // Entries of `top`.
    uint64_t top_len;
    // The token.
    uint32_t id;
    // The natural logarithm of its probability; NaN where log-probabilities were not asked for.
    float logprob;
    // `C4J_TEXT`, `C4J_REASONING` or `C4J_TOOL_CALL`.
    int32_t kind;
} c4j_token;

// Told of each generated token, with `user_data` as it was given. Answers `C4J_CONTINUE`, `C4J_STOP`
// or `C4J_FAILED`. It runs on the thread that called the function.
typedef int32_t (*c4j_token_fn)(void *user_data, const c4j_token *token);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Frees the bytes of a buffer that a function filled, and empties it.
//
// Does nothing for null and for an emptied buffer. Any thread may call it.
//
// # Safety
// `buffer` is null, or points to a buffer that a function of this library filled or that is
// zeroed.
void c4j_buffer_free(c4j_buffer *buffer);

// Loads a model for embeddings: a folder as sentence-transformers and transformers have it, or a GGUF file.
//
// `path` is its path in UTF-8. `options` is a JSON object with, both optional, `quantize` (`q8_0`, `q6_k`, `q5_k`, `q4_k`,
// `q4_0`, for folders) and `max_tokens` (of a text; what the files say when left out). `on_progress` is as for
// `c4j_model_load`. On success `*out` is an embedder that the caller ends with `c4j_embedder_free`.
//
// # Safety
// Pointers are null or valid as the header's introduction says.
c4j_status c4j_embedder_load(const uint8_t *path,
                             uint64_t path_len,
                             const uint8_t *options,
                             uint64_t options_len,
                             c4j_progress_fn on_progress,
                             void *user_data,
                             c4j_embedder **out,
                             c4j_error **error);

// Describes an embedder, as JSON: architecture, precision, dimensions, pooling, similarity, prompts and so on.
//
// # Safety
// Pointers are null or valid as the header's introduction says.
c4j_status c4j_embedder_describe(const c4j_embedder *embedder,
                                 c4j_buffer *out,
                                 c4j_error **error);

// Makes vectors of texts.
//
// `request` is a JSON object: `texts`, or `tokens` (lists of token ids, to which nothing is added); `prompt`, which is put
// before each text: `"default"`, `"query"`, `"document"`, `{"named": "…"}` or `{"text": "…"}`; `normalize` (whether vectors
// get the length 1; true), `truncate` (whether the end of a text that is too long is left out, and it is no error; true),
// `dimensions` (how many numbers are kept of each vector) and `call`, a number by which `c4j_embedder_cancel` can stop it.
//
// `*vectors` becomes the vectors as 32-bit floating point numbers in the machine's byte order, in the order of the texts, and
// `*out` a JSON object of `dimensions` and `results`, one a text: `{"tokens", "left_out"}`, the tokens that were read and
// those that did not fit, or `{"error": {"code", "message", "detail"}}`, for a text that has no vector. One text's failure
// touches no other.
//
// # Safety
// Pointers are null or valid as the header's introduction says.
c4j_status c4j_embedder_embed(const c4j_embedder *embedder,
                              const uint8_t *request,
                              uint64_t request_len,
                              c4j_buffer *vectors,
                              c4j_buffer *out,
                              c4j_error **error);

// Cancels the call whose request carries the number `call`, as `c4j_session_cancel` does.
//
// # Safety
// Pointers are null or valid as the header's introduction says.
c4j_status c4j_embedder_cancel(const c4j_embedder *embedder, uint64_t call, c4j_error **error);

// Ends an embedder. Does nothing for null.
//
// # Safety
// `embedder` is null, or came from `c4j_embedder_load`, was not freed yet, and no call uses it.
void c4j_embedder_free(c4j_embedder *embedder);

// Frees an error. Does nothing for null. Any thread may call it.
//
// # Safety
// `error` is null, or came from a function of this library and was not freed yet.
void c4j_error_free(c4j_error *error);

// Prepares a Hub. Nothing is read or asked yet.
//
// The environment is read as Python's huggingface_hub reads it: `HF_ENDPOINT`, `HF_HOME`,
// `HF_HUB_CACHE`, `HF_TOKEN`, `HF_TOKEN_PATH`, `HF_HUB_OFFLINE` and others. `options` is a JSON
// object of what differs from that: `endpoint`, `cache`, `token`, `offline`, `concurrency`. `*out`
// becomes a handle that the caller ends with `c4j_hub_free`.
//
// # Safety
// Pointers are null or valid as the header's introduction says.
c4j_status c4j_hub_new(const uint8_t *options,
                       uint64_t options_len,
                       c4j_hub **out,
                       c4j_error **error);

// Fetches what loading a model needs, from the cache or else from the Hub.
//
// `request` is a JSON object of `id` (`owner/name`, with `@revision` and `:QUANTISATION` behind it
// if need be) and `update` (ask the Hub whether the revision moved on, also when the cache has
// all). `progress` may be null. `*out` becomes a JSON object of `folder`, `commit`, `files` (each
// `name` and `size`) and `gguf` (the file to open instead of the folder, or null).
//
// Blocks, but never for long without a progress callback, whose answer `C4J_STOP` ends the call as
// `C4J_CANCELLED`; what was fetched until then is kept.
//
// # Safety
// Pointers are null or valid as the header's introduction says.
c4j_status c4j_hub_fetch(const c4j_hub *hub,
                         const uint8_t *request,
                         uint64_t request_len,
                         c4j_progress_fn progress,
                         void *user_data,
                         c4j_buffer *out,
                         c4j_error **error);

// Lists the models in the cache: `*out` becomes a JSON array of objects of `id`, `folder`,
// `size_on_disk`, `last_used` (seconds since 1970, or null) and `revisions` (each `commit`,
// `refs`, `size`, `files`).
//
// # Safety
// Pointers are null or valid as the header's introduction says.
c4j_status c4j_hub_list(const c4j_hub *hub, c4j_buffer *out, c4j_error **error);

// Removes a model from the cache, or one revision of it when `id` names one. `*out` becomes a JSON
// object of `bytes` (that the disk has back), `files` and `commits`.
//
// # Safety
// Pointers are null or valid as the header's introduction says.
c4j_status c4j_hub_remove(const c4j_hub *hub,
                          const uint8_t *id,
                          uint64_t id_len,
                          c4j_buffer *out,
                          c4j_error **error);

// Hashes what the cache holds of a model once more, without any request. `*out` becomes a JSON
// object of `commit`, `intact` and `files` (each `name`, `size`, `verdict` (`intact`, `corrupt`,
// `missing`, `unknown`), `expected` and `got`).
//
// # Safety
// Pointers are null or valid as the header's introduction says.
c4j_status c4j_hub_verify(const c4j_hub *hub,
                          const uint8_t *id,
                          uint64_t id_len,
                          c4j_progress_fn progress,
                          void *user_data,
                          c4j_buffer *out,
                          c4j_error **error);

// Ends a Hub. Does nothing for null.
//
// # Safety
// `hub` is null, or came from `c4j_hub_new`, was not freed yet, and no call uses it.
void c4j_hub_free(c4j_hub *hub);

// Loads a model from a folder of files as they are on the Hugging Face Hub, or from a GGUF file.
//
// `path` is its path in UTF-8. `options` is a JSON object with, all optional, `engine` (`auto`,
// `candle`, `fused`), `device` (`auto`, `cpu`, `metal`, `cuda`), `precision` (`auto`, `f32`, `f16`,
// `bf16`), `quantize` (`q8_0`, `q6_k`, `q5_k`, `q4_k`, `q4_0`, for folders), `adapter` (the path of a folder with a LoRA
// adapter as PEFT saves it, for folders), `context_length`,
// `latency_target_ms` (how long a forward pass with prompts takes while other sessions decode, about; 50),
// `kv_cache_bytes` (what the keys and values of all sessions may take; what the machine leaves) and
// `max_requests` (at a time, those that wait included; 1024), `instructions` (the most that kernels use, in the whole process,
// such as `avx2`; what the processor has).
// Blocks while files are read. `on_progress`, which may be null, gets objects of `bytes` and `total`, of weights in
// memory; when it stops the call, that is `C4J_CANCELLED`. (The `candle` engine reports nothing.) On success `*out` is a
// model that the caller ends with `c4j_model_free`.
//
// # Safety
// Pointers are null or valid as the header's introduction says.
c4j_status c4j_model_load(const uint8_t *path,
                          uint64_t path_len,
                          const uint8_t *options,
                          uint64_t options_len,
                          c4j_progress_fn on_progress,
                          void *user_data,
                          c4j_model **out,
                          c4j_error **error);

// Describes a model, as JSON: architecture, engine, device, precision, context length, warnings and so on.
//
// # Safety
// Pointers are null or valid as the header's introduction says.
c4j_status c4j_model_describe(const c4j_model *model,
                              c4j_buffer *out,
                              c4j_error **error);

// What a model has done since it was loaded, as JSON: counts that only grow (`requests`, `failed`, `rejected`,
// `prompt_tokens`, `cached_tokens`, `generated_tokens`, `wait_ms`, `prefill_ms`, `decode_ms`; `passes`,
// `pass_sequences`, `pass_tokens` and `pass_ms` of forward passes, where the engine counts them) and the state of the
// moment (`active`, `waiting`, `kv_cache_used`, `kv_cache_limit`).
//
// # Safety
// Pointers are null or valid as the header's introduction says.
c4j_status c4j_model_metrics(const c4j_model *model,
                             c4j_buffer *out,
                             c4j_error **error);

// Renders a conversation by the model's chat template. `request` is a JSON object of `messages`
// (each with `role`, `content` and whatever the template knows), `generation_prompt` and
// `variables`; `*out` becomes the text.
//
// # Safety
// Pointers are null or valid as the header's introduction says.
c4j_status c4j_model_render_chat(const c4j_model *model,
                                 const uint8_t *request,
                                 uint64_t request_len,
                                 c4j_buffer *out,
                                 c4j_error **error);

// Generates for many prompts, several at a time over one copy of the weights.
//
// `request` is a JSON object of `requests`, each as for `c4j_session_generate`, and `parallel`
// (1 to 1024; `CANDLE_NUM_PARALLEL`, else 4, when left out). `progress` may be null; it gets `done`, `total`,
// and the `index` of the prompt that was done with its `outcome`, or null for both. `*out` becomes a JSON
// array in the order of the requests, each an outcome: `{"result": …}` as for `c4j_session_generate`, or `{"error": {"code",
// "message", "detail"}}`. One prompt's failure touches no other.
//
// # Safety
// Pointers are null or valid as the header's introduction says.
c4j_status c4j_model_generate_all(const c4j_model *model,
                                  const uint8_t *request,
                                  uint64_t request_len,
                                  c4j_progress_fn progress,
                                  void *user_data,
                                  c4j_buffer *out,
                                  c4j_error **error);

// Ends a model. Sessions made from it go on: they share the weights, which are freed with the last
// of them. Does nothing for null.
//
// # Safety
// `model` is null, or came from `c4j_model_load`, was not freed yet, and no call uses it.
void c4j_model_free(c4j_model *model);

// Loads a reranker: the folder of a classifier over pairs of texts, or of a Qwen3-Reranker.
//
// `path` is its path in UTF-8. `options` is a JSON object with, both optional, `quantize` (`q8_0`, `q6_k`, `q5_k`, `q4_k`,
// `q4_0`, for folders) and `max_tokens` (of a pair; what the files say when left out). `on_progress` is as for
// `c4j_model_load`. On success `*out` is a reranker that the caller ends with `c4j_reranker_free`.
//
// # Safety
// Pointers are null or valid as the header's introduction says.
c4j_status c4j_reranker_load(const uint8_t *path,
                             uint64_t path_len,
                             const uint8_t *options,
                             uint64_t options_len,
                             c4j_progress_fn on_progress,
                             void *user_data,
                             c4j_reranker **out,
                             c4j_error **error);

// Describes a reranker, as JSON: architecture, precision, labels, activation and so on.
//
// # Safety
// Pointers are null or valid as the header's introduction says.
c4j_status c4j_reranker_describe(const c4j_reranker *reranker, c4j_buffer *out, c4j_error **error);

// Scores documents for a query.
//
// `request` is a JSON object: `query`, `documents`; `instruction`, for decoders that take one; `raw` (whether scores are given
// without the model's activation; false), `truncate` (whether the end of a pair that is too long is left out, and it is no
// error; true) and `call`, a number by which `c4j_reranker_cancel` can stop it.
//
// `*out` becomes a JSON array in the order of the documents: `{"scores", "tokens", "left_out"}`, a score a label, the tokens
// that were read and those that did not fit, or `{"error": {"code", "message", "detail"}}`. One document's failure touches no
// other.
//
// # Safety
// Pointers are null or valid as the header's introduction says.
c4j_status c4j_reranker_score(const c4j_reranker *reranker,
                              const uint8_t *request,
                              uint64_t request_len,
                              c4j_buffer *out,
                              c4j_error **error);

// Cancels the call whose request carries the number `call`, as `c4j_session_cancel` does.
//
// # Safety
// Pointers are null or valid as the header's introduction says.
c4j_status c4j_reranker_cancel(const c4j_reranker *reranker, uint64_t call, c4j_error **error);

// Ends a reranker. Does nothing for null.
//
// # Safety
// `reranker` is null, or came from `c4j_reranker_load`, was not freed yet, and no call uses it.
void c4j_reranker_free(c4j_reranker *reranker);

// The ABI of the loaded library. It must equal the header's `C4J_ABI_VERSION`; check it before
// any other call.
uint32_t c4j_abi_version(void);

// How the library was built, as JSON: `abi`, `version`, `target`, `features`, and under `structs`
// the `size`, `align` and field `offsets` of each struct of this header.
//
// # Safety
// `out` and `error` are null or valid for writing.
c4j_status c4j_build_info(c4j_buffer *out, c4j_error **error);

// What the library runs on, as JSON: versions, threads, instruction sets and devices.
//
// `C4J_INVALID_ARGUMENT` when `CANDLE_NUM_THREADS` or `RAYON_NUM_THREADS` hold no number from 1 to 1024, or
// `CANDLE4J_INSTRUCTIONS` no instruction set of this kind of processor.
//
// # Safety
// `out` and `error` are null or valid for writing.
c4j_status c4j_runtime_info(c4j_buffer *out,
                            c4j_error **error);

// Changes the number of threads of a forward pass on the CPU, 1 to 1024, also while models compute. Candle's
// own threads, which the `candle` engine uses, are as many as `CANDLE_NUM_THREADS` says.
//
// # Safety
// `error` is null or valid for writing.
c4j_status c4j_runtime_set_threads(uint32_t count,
                                   c4j_error **error);

// Bytes of stack that the calling thread has left below this call, or `UINT64_MAX` where the system
// does not tell. A JVM keeps some of them for itself. Functions of this library need up to 64 KiB on
// the calling thread, and what their callbacks need; work that recurses over files or templates runs
// on threads of the library's own.
uint64_t c4j_stack_remaining(void);

// Starts a session with an empty KV cache. `*out` becomes a session that the caller ends with
// `c4j_session_free`; the model may be freed before.
//
// # Safety
// Pointers are null or valid as the header's introduction says.
c4j_status c4j_session_new(const c4j_model *model, c4j_session **out, c4j_error **error);

// Starts a session that goes on from where another is: its KV cache is copied, and nothing in it
// computed again (by the `fused` engine; by `candle`, it starts empty). `*out` becomes a session that
// the caller ends with `c4j_session_free`. `C4J_BUSY` while a call on the other is under way.
//
// # Safety
// Pointers are null or valid as the header's introduction says.
c4j_status c4j_session_fork(const c4j_session *session,
                            c4j_session **out,
                            c4j_error **error);

// Generates.
//
// `request` is a JSON object: `prompt` is `{"text": {"text", "raw"}}`, `{"tokens": […]}` or
// `{"chat": {"messages": […], "variables": {…}}}`; `options` holds `max_tokens`, `min_tokens`,
// `temperature`, `top_k`, `top_p`, `min_p`, `typical_p`, `top_n_sigma`, `repeat_penalty`,
// `repeat_window`, `presence_penalty`, `frequency_penalty`, `dry_multiplier`, `dry_base`,
// `dry_allowed_length`, `dry_breakers`, `no_repeat_ngram_size`, `seed`, `stop`, `ignore_eos`, `logit_bias` (numbers by
// token ids), `logprobs` (how many of the most probable tokens to tell beside each new one), `timeout_ms`, `prompt_lookup` (true by default), `thinking` (`"on"`, `"off"` or `{"budget": tokens}`; `C4J_INVALID_ARGUMENT`
// where the chat template has no choice) and `wait_when_full`
// (instead of `C4J_QUEUE_FULL`), all optional; `call` is a number by which `c4j_session_cancel` can stop it; with `prepare` true, the prompt
// is only taken into the KV cache, where a later call whose prompt begins like it finds it; with
// `turn` true, it is a turn of a conversation: calls without it leave the keys and values of turns alone, and it
// is `C4J_CONTEXT_FULL` unless the context has room behind the prompt for `max_tokens`, or a quarter of the context if
// that is less.
//
// `constraint` lets the answer follow a grammar, thoughts before it excepted: `{"json_schema": {…}}`, `{"regex": "…"}`,
// `{"lark": "…"}` (a grammar in Lark's notation, as llguidance reads it) or `{"one_of": ["…"]}`. What is not supported of
// one is `C4J_INVALID_ARGUMENT`, which names it.
//
// `tools` is what the model may call: an array of objects with `name`, `description` and `parameters` (a JSON schema), told
// in the way of its chat template; `tool_choice` is `"auto"`, `"required"`, `"none"` or `{"name": "…"}`. Calls are valid by
// their schemas, the first one from its beginning on. `tools` and a `constraint` other than a schema exclude each other.
//
// `on_token` may be null. Blocks until the answer is complete, and `*out` becomes a JSON object of
// `text`, `reasoning` (what the model thought before, where it did), `tool_calls` (where there are some: `id`, `name` and `arguments`, a text that is a JSON object), `token_ids`, `finish_reason` (`STOP`, `TOOL_CALLS`, `LENGTH`, `CONTEXT_FULL`, `STOP_STRING`,
// `CANCELLED`, `TIMEOUT`),
// `prompt_tokens`, `cached_tokens`, `seed`, `wait_ms` (until the model had a place for the call), `prefill_ms` and `decode_ms`, and where `logprobs` were
// asked for, `logprobs`: for each new token `id`, `logprob` and `top`, as in `c4j_session_score`; `warnings`
// lists what of the model's own file was not honoured, where there is something.
//
// # Safety
// Pointers are null or valid as the header's introduction says.
c4j_status c4j_session_generate(const c4j_session *session,
                                const uint8_t *request,
                                uint64_t request_len,
                                c4j_token_fn on_token,
                                void *user_data,
                                c4j_buffer *out,
                                c4j_error **error);

// Computes log-probabilities of given tokens. `request` is a JSON object of `tokens`, `top`
// and, to cancel it by, `call`; `*out` becomes a JSON object of `logprobs` (of each token from the second on, given those
// before it) and `top` (objects of `id` and `logprob`: the most probable tokens behind the last,
// best first). Natural logarithms.
//
// # Safety
// Pointers are null or valid as the header's introduction says.
c4j_status c4j_session_score(const c4j_session *session,
                             const uint8_t *request,
                             uint64_t request_len,
                             c4j_buffer *out,
                             c4j_error **error);

// Empties the KV cache.
//
// # Safety
// Pointers are null or valid as the header's introduction says.
c4j_status c4j_session_clear(const c4j_session *session, c4j_error **error);

// Cancels the call whose request carries the number `call`, whether it runs already or is yet to begin.
// Calls with other numbers go on. Only the number that was cancelled last counts; `UINT64_MAX` cancels
// all calls that have a number, from now on. Any thread may call it, also while another is inside a call
// on the session. The call under way ends soon, between two tokens or two chunks of its prompt, with the
// finish reason `CANCELLED`. Works on a session that answers `C4J_POISONED` too.
//
// # Safety
// Pointers are null or valid as the header's introduction says.
c4j_status c4j_session_cancel(const c4j_session *session,
                              uint64_t call,
                              c4j_error **error);

// Ends a session. Does nothing for null.
//
// # Safety
// `session` is null, or came from `c4j_session_new`, was not freed yet, and no call uses it.
void c4j_session_free(c4j_session *session);

// The tokenizer of a model. `*out` becomes a handle that the caller ends with
// `c4j_tokenizer_free`; the model may be freed before.
//
// # Safety
// Pointers are null or valid as the header's introduction says.
c4j_status c4j_tokenizer_of(const c4j_model *model, c4j_tokenizer **out, c4j_error **error);

// Reads a tokenizer from a `tokenizer.json`, without a model. `path` is UTF-8. `*out` becomes a
// handle that the caller ends with `c4j_tokenizer_free`.
//
// # Safety
// Pointers are null or valid as the header's introduction says.
c4j_status c4j_tokenizer_load(const uint8_t *path,
                              uint64_t path_len,
                              c4j_tokenizer **out,
                              c4j_error **error);

// Encodes UTF-8 text; `*out` becomes the token ids. Special tokens in the text are taken for what
// they mean. With `add_special` other than 0, those that the tokenizer puts around every text are
// added.
//
// # Safety
// Pointers are null or valid as the header's introduction says.
c4j_status c4j_tokenizer_encode(const c4j_tokenizer *tokenizer,
                                const uint8_t *string,
                                uint64_t string_len,
                                int32_t add_special,
                                c4j_buffer *out,
                                c4j_error **error);

// Decodes `count` token ids; `*out` becomes the text. With `skip_special` other than 0, special
// tokens leave no text.
//
// # Safety
// Pointers are null or valid as the header's introduction says.
c4j_status c4j_tokenizer_decode(const c4j_tokenizer *tokenizer,
                                const uint32_t *ids,
                                uint64_t count,
                                int32_t skip_special,
                                c4j_buffer *out,
                                c4j_error **error);

// Ends a tokenizer handle. Does nothing for null.
//
// # Safety
// `tokenizer` is null, or came from this library, was not freed yet, and no call uses it.
void c4j_tokenizer_free(c4j_tokenizer *tokenizer);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* CANDLE4J_H */
