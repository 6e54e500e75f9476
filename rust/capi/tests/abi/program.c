/*
 * A C program that uses the whole ABI, as a user of the header would. It ends with status 0 when
 * everything is as the header says, and else prints the line that is not.
 *
 * usage: program MODEL_FOLDER
 */
#include "candle4j.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "line %d: %s\n", __LINE__, #condition);                                \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static const uint8_t *bytes(const char *text) { return (const uint8_t *)text; }

static int contains(const c4j_buffer *buffer, const char *text) {
    size_t length = strlen(text);
    for (uint64_t i = 0; i + length <= buffer->len; i++) {
        if (memcmp(buffer->data + i, text, length) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Expects a failure of this code whose message contains `text`, and frees the error. */
static void expect(c4j_status status, c4j_error **error, int32_t code, const char *text) {
    CHECK(status == code);
    CHECK(*error != NULL && (*error)->code == code);
    CHECK(contains(&(*error)->message, text));
    CHECK((*error)->detail.len >= 2 && (*error)->detail.data[0] == '{');
    c4j_error_free(*error);
    *error = NULL;
}

struct seen {
    int tokens;
    int stop_after;
    int32_t answer;
    c4j_session *session;
    int busy;
};

static int32_t on_token(void *user_data, const c4j_token *token) {
    struct seen *seen = user_data;
    CHECK(token->text != NULL || token->text_len == 0);
    CHECK(token->top_len == 0 && token->logprob != token->logprob);
    seen->tokens++;
    if (seen->session != NULL) {
        /* From inside a callback, the session is busy. */
        c4j_error *error = NULL;
        if (c4j_session_clear(seen->session, &error) == C4J_BUSY) {
            seen->busy++;
        }
        c4j_error_free(error);
    }
    return seen->tokens == seen->stop_after ? seen->answer : C4J_CONTINUE;
}

static int32_t on_progress(void *user_data, const uint8_t *json, uint64_t len) {
    CHECK(len > 2 && json[0] == '{');
    ++*(int *)user_data;
    return C4J_CONTINUE;
}

static c4j_status generate(c4j_session *session, const char *request, struct seen *seen,
                           c4j_buffer *out, c4j_error **error) {
    return c4j_session_generate(session, bytes(request), strlen(request), on_token, seen, out,
                                error);
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    CHECK(c4j_abi_version() == C4J_ABI_VERSION);

    c4j_error *error = NULL;
    c4j_buffer out = {0};
    CHECK(c4j_build_info(&out, &error) == C4J_OK && error == NULL);
    CHECK(contains(&out, "\"c4j_buffer\":{\"size\":24"));
    c4j_buffer_free(&out);
    CHECK(out.data == NULL && out.len == 0);
    c4j_buffer_free(&out); /* an emptied buffer is nothing to free */

    /* Null is freed without harm, and refused by name elsewhere. */
    c4j_buffer_free(NULL);
    c4j_error_free(NULL);
    c4j_model_free(NULL);
    c4j_session_free(NULL);
    c4j_tokenizer_free(NULL);
    c4j_hub_free(NULL);
    expect(c4j_build_info(NULL, &error), &error, C4J_INVALID_ARGUMENT, "out");
    expect(c4j_model_describe(NULL, &out, &error), &error, C4J_INVALID_ARGUMENT, "model");
    CHECK(c4j_model_describe(NULL, &out, NULL) == C4J_INVALID_ARGUMENT); /* error may be null */
    c4j_session *session = NULL;
    expect(c4j_session_new(NULL, &session, &error), &error, C4J_INVALID_ARGUMENT, "model");
    CHECK(session == NULL); /* results are written on success only */

    c4j_model *model = NULL;
    const uint64_t folder_len = strlen(argv[1]);
    expect(c4j_model_load(NULL, 3, bytes("{}"), 2, NULL, NULL, &model, &error), &error, C4J_INVALID_ARGUMENT,
           "path");
    expect(c4j_model_load(bytes("\xff"), 1, bytes("{}"), 2, NULL, NULL, &model, &error), &error,
           C4J_INVALID_ARGUMENT, "UTF-8");
    expect(c4j_model_load(bytes(argv[1]), folder_len, bytes("{\"colour\":1}"), 12, NULL, NULL, &model, &error),
           &error, C4J_INVALID_ARGUMENT, "colour");
    expect(c4j_model_load(bytes(argv[1]), UINT64_MAX, bytes("{}"), 2, NULL, NULL, &model, &error), &error,
           C4J_INVALID_ARGUMENT, "path");
    expect(c4j_model_load(bytes("/no/such"), 8, bytes("{}"), 2, NULL, NULL, &model, &error), &error,
           C4J_INVALID_MODEL, "/no/such");
    expect(c4j_model_load(bytes(argv[1]), folder_len, bytes("{\"device\":\"cuda\"}"), 17, NULL, NULL, &model,
                          &error),
           &error, C4J_DEVICE_UNAVAILABLE, "cuda");
    CHECK(model == NULL);
    CHECK(c4j_model_load(bytes(argv[1]), folder_len, bytes("{}"), 2, NULL, NULL, &model, &error) == C4J_OK);

    CHECK(c4j_model_describe(model, &out, &error) == C4J_OK);
    CHECK(contains(&out, "\"architecture\":\"llama\""));
    c4j_buffer_free(&out);

    const char *chat = "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],"
                       "\"generation_prompt\":true}";
    CHECK(c4j_model_render_chat(model, bytes(chat), strlen(chat), &out, &error) == C4J_OK);
    CHECK(contains(&out, "Hi"));
    c4j_buffer_free(&out);

    /* Tokenizer and sessions outlive the handle that they came from. */
    c4j_tokenizer *tokenizer = NULL;
    CHECK(c4j_tokenizer_of(model, &tokenizer, &error) == C4J_OK);
    CHECK(c4j_session_new(model, &session, &error) == C4J_OK);

    const char *batch = "{\"requests\":[{\"prompt\":{\"tokens\":[1,2]},\"options\":"
                        "{\"max_tokens\":2}},{\"prompt\":{\"tokens\":[999999]}}],\"parallel\":2}";
    int reports = 0;
    CHECK(c4j_model_generate_all(model, bytes(batch), strlen(batch), on_progress, &reports, &out,
                                 &error) == C4J_OK);
    CHECK(reports >= 2 && contains(&out, "\"result\":") && contains(&out, "\"code\":1"));
    c4j_buffer_free(&out);

    c4j_model_free(model);

    CHECK(c4j_tokenizer_encode(tokenizer, bytes("lantern"), 7, 0, &out, &error) == C4J_OK);
    CHECK(out.len >= 4 && out.len % 4 == 0);
    c4j_buffer text = {0};
    CHECK(c4j_tokenizer_decode(tokenizer, (const uint32_t *)out.data, out.len / 4, 1, &text,
                               &error) == C4J_OK);
    CHECK(text.len == 7 && contains(&text, "lantern"));
    c4j_buffer_free(&text);
    c4j_buffer_free(&out);
    c4j_tokenizer_free(tokenizer);

    struct seen seen = {.session = session};
    const char *request = "{\"call\":1,\"prompt\":{\"tokens\":[1,2,3]},"
                          "\"options\":{\"max_tokens\":5,\"ignore_eos\":true,\"temperature\":0}}";
    CHECK(generate(session, request, &seen, &out, &error) == C4J_OK);
    CHECK(seen.tokens == 5 && seen.busy == 5);
    CHECK(contains(&out, "\"finish_reason\":\"LENGTH\""));
    c4j_buffer_free(&out);

    seen = (struct seen){.stop_after = 2, .answer = C4J_STOP};
    CHECK(generate(session, request, &seen, &out, &error) == C4J_OK);
    CHECK(seen.tokens == 2 && contains(&out, "CANCELLED"));
    c4j_buffer_free(&out);

    seen = (struct seen){.stop_after = 3, .answer = C4J_FAILED};
    expect(generate(session, request, &seen, &out, &error), &error, C4J_CALLBACK_FAILED, "");
    expect(generate(session, "{", &seen, &out, &error), &error, C4J_INVALID_ARGUMENT, "request");
    CHECK(out.data == NULL);

    CHECK(c4j_session_cancel(session, 1, &error) == C4J_OK);
    seen = (struct seen){0};
    CHECK(generate(session, request, &seen, &out, &error) == C4J_OK);
    CHECK(seen.tokens == 0 && contains(&out, "CANCELLED"));
    c4j_buffer_free(&out);

    const char *score = "{\"tokens\":[1,2,3],\"top\":2}";
    CHECK(c4j_session_score(session, bytes(score), strlen(score), &out, &error) == C4J_OK);
    CHECK(contains(&out, "\"logprobs\":["));
    c4j_buffer_free(&out);

    const char *prepare = "{\"prompt\":{\"tokens\":[4,5,6,7]},\"prepare\":true}";
    seen = (struct seen){0};
    CHECK(generate(session, prepare, &seen, &out, &error) == C4J_OK);
    CHECK(seen.tokens == 0 && contains(&out, "\"token_ids\":[]"));
    c4j_buffer_free(&out);
    c4j_session *fork = NULL;
    CHECK(c4j_session_fork(session, &fork, &error) == C4J_OK);
    c4j_session_free(session);
    const char *longer = "{\"prompt\":{\"tokens\":[4,5,6,7,8]},\"options\":{\"max_tokens\":2}}";
    CHECK(generate(fork, longer, &seen, &out, &error) == C4J_OK);
    CHECK(contains(&out, "\"cached_tokens\":4"));
    c4j_buffer_free(&out);
    CHECK(c4j_session_clear(fork, &error) == C4J_OK);
    c4j_session_free(fork);

    /* An offline Hub with an empty cache. */
    c4j_hub *hub = NULL;
    const char *options = "{\"cache\":\"no-such-cache\",\"offline\":true}";
    CHECK(c4j_hub_new(bytes(options), strlen(options), &hub, &error) == C4J_OK);
    CHECK(c4j_hub_list(hub, &out, &error) == C4J_OK);
    CHECK(out.len == 2);
    c4j_buffer_free(&out);
    const char *fetch = "{\"id\":\"owner/name\"}";
    expect(c4j_hub_fetch(hub, bytes(fetch), strlen(fetch), NULL, NULL, &out, &error), &error,
           C4J_MODEL_NOT_CACHED, "owner/name");
    expect(c4j_hub_remove(hub, bytes("owner/name"), 10, &out, &error), &error, C4J_MODEL_NOT_CACHED,
           "owner/name");
    expect(c4j_hub_verify(hub, bytes("../up"), 5, NULL, NULL, &out, &error), &error,
           C4J_INVALID_ARGUMENT, "..");
    c4j_hub_free(hub);

    return 0;
}
