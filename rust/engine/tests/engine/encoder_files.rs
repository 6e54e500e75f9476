//! Files of encoders as people publish them: what counts, and what is refused by name.

use std::path::Path;

use candle4j_engine::embedding::{EmbedRequest, Embedder, RerankRequest, Reranker, TextOptions};
use candle4j_engine::error::Error;
use serde_json::{Map, Value, json};

use crate::checkpoint::Checkpoint;
use crate::embeddings::{assert_close, cases, folder, request, vectors};

fn embedder(path: &Path) -> Result<Embedder, Error> {
    Embedder::load(path, &TextOptions::default())
}

fn reranker(path: &Path) -> Result<Reranker, Error> {
    Reranker::load(path, &TextOptions::default())
}

/// A copy of a case, with keys of one file set.
fn changed(case: &str, file: &str, keys: Value) -> Checkpoint {
    let copy = Checkpoint::copy_of(&folder(case));
    copy.edit(file, |all| all.extend(keys.as_object().unwrap().clone()));
    copy
}

#[test]
fn what_would_change_the_vectors_is_refused_by_name() {
    const TRANSFORMER: &str = "sentence_bert_config.json";
    const SETTINGS: &str = "config_sentence_transformers.json";
    const POOLING: &str = "1_Pooling/config.json";
    const DENSE: &str = "2_Dense/config.json";
    for (file, keys, named) in [
        (
            TRANSFORMER,
            json!({"config_kwargs": {"num_hidden_layers": 1}}),
            "num_hidden_layers",
        ),
        (
            TRANSFORMER,
            json!({"tokenizer_args": {"padding_side": "left"}}),
            "padding_side",
        ),
        (
            TRANSFORMER,
            json!({"model_kwargs": {"dtype": "float16"}}),
            "dtype",
        ),
        (TRANSFORMER, json!({"query_length": 5}), "query_length"),
        (
            TRANSFORMER,
            json!({"module_output_name": "pooler_output"}),
            "module_output_name",
        ),
        (
            TRANSFORMER,
            json!({"transformer_task": "fill-mask"}),
            "transformer_task",
        ),
        (TRANSFORMER, json!({"something": 1}), "something"),
        (
            SETTINGS,
            json!({"model_type": "SparseEncoder"}),
            "model_type",
        ),
        (SETTINGS, json!({"model_type": "CrossEncoder"}), "reranker"),
        (POOLING, json!({"pooling_mode": []}), "pooling_mode"),
        (
            DENSE,
            json!({"activation_function": "my.own.GELU"}),
            "activation_function",
        ),
        (
            "tokenizer_config.json",
            json!({"tokenizer_class": "RobertaTokenizer"}),
            "tokenizer_class",
        ),
        (
            "tokenizer_config.json",
            json!({"tokenizer_class": "AlbertTokenizer"}),
            "AlbertTokenizer",
        ),
        ("config.json", json!({"model_type": "deberta-v2"}), "bert, "),
    ] {
        let copy = changed("bert-dense", file, keys);
        let error = embedder(copy.path()).err().expect(named).to_string();
        assert!(error.contains(named), "{named}: {error}");
    }
}

#[test]
fn two_names_for_one_tensor_are_refused() {
    let copy = Checkpoint::copy_of(&folder("bert-cls"));
    copy.edit_weights(|tensors| {
        let norm = tensors["embeddings.LayerNorm.weight"].clone();
        let words = tensors["embeddings.word_embeddings.weight"].clone();
        tensors.insert("bert.embeddings.word_embeddings.weight".into(), words);
        tensors.insert("bert.embeddings.LayerNorm.weight".into(), norm);
    });
    let error = embedder(copy.path()).err().unwrap().to_string();
    assert!(error.contains("one of the names"), "{error}");
}

#[test]
fn without_modules_other_files_do_not_count() {
    let case = &cases()["qwen3-mean"];
    let copy = changed(
        "qwen3-mean",
        "config_sentence_transformers.json",
        json!({"prompts": {"any": "said: "}, "default_prompt_name": "any", "truncate_dim": 3}),
    );
    std::fs::remove_file(copy.path().join("modules.json")).unwrap();
    let of_texts = EmbedRequest {
        texts: case.texts.clone(),
        ..request()
    };
    // A class that generates no texts is pooled by the mean.
    let embedder = embedder(copy.path()).unwrap();
    assert_close("qwen3-mean", &vectors(&embedder, &of_texts), &case.vectors);
}

#[test]
fn nomic_files_of_their_own_style_are_read() {
    let case = &cases()["nomic-bert"];
    let copy = Checkpoint::copy_of(&folder("nomic-bert"));
    copy.edit("config.json", |keys| {
        let theta = keys["rope_parameters"]["rope_theta"].clone();
        let own: Map<String, Value> = json!({
            "model_type": "nomic_bert",
            "vocab_size": keys["vocab_size"],
            "type_vocab_size": keys["type_vocab_size"],
            "n_embd": keys["hidden_size"],
            "n_head": keys["num_attention_heads"],
            "n_layer": keys["num_hidden_layers"],
            "n_inner": keys["intermediate_size"],
            "n_positions": keys["max_position_embeddings"],
            "layer_norm_epsilon": keys["layer_norm_eps"],
            "activation_function": "swiglu",
            "rotary_emb_base": theta,
            "rotary_emb_fraction": 1.0,
            "qkv_proj_bias": false,
            "prenorm": false,
            "causal": false,
        })
        .as_object()
        .unwrap()
        .clone();
        *keys = own;
    });
    let of_texts = EmbedRequest {
        texts: case.texts.clone(),
        ..request()
    };
    let read = embedder(copy.path()).unwrap();
    assert_close("nomic-bert", &vectors(&read, &of_texts), &case.vectors);
    copy.edit("config.json", |keys| {
        keys.insert("activation_function".into(), "gelu".into());
    });
    let error = embedder(copy.path()).err().unwrap().to_string();
    assert!(error.contains("activation_function"), "{error}");
}

#[test]
fn rerankers_say_how_they_score() {
    let score = |path: &Path| {
        let request = RerankRequest {
            query: "what".into(),
            documents: vec!["this".into()],
            instruction: None,
            raw: false,
            truncate: true,
            call: 0,
        };
        let reranker = reranker(path).unwrap();
        let scores = reranker.score(&request).unwrap().remove(0).unwrap().scores;
        (reranker.info().activation, scores[0])
    };
    let raw = |activation: &str| {
        let class = format!("torch.nn.modules.{activation}");
        let keys = json!({"sentence_transformers": {"activation_fn": class}});
        score(changed("bert-rerank", "config.json", keys).path())
    };
    let (name, plain) = raw("linear.Identity");
    assert_eq!(name, "identity");
    assert_eq!(raw("activation.Tanh"), ("tanh", plain.tanh()));
    let (name, sigmoid) = score(&folder("bert-rerank"));
    assert_eq!(name, "sigmoid");
    assert!((sigmoid - 1.0 / (1.0 + (-plain).exp())).abs() < 1e-6);
    let other = changed(
        "bert-rerank",
        "config.json",
        json!({"sentence_transformers": {"activation_fn": "my.Sigmoid"}}),
    );
    let error = reranker(other.path()).err().unwrap().to_string();
    assert!(error.contains("activation_fn"), "{error}");
}

#[test]
fn decoders_whose_template_takes_no_pair_are_no_rerankers() {
    let copy = Checkpoint::copy_of(&folder("qwen3-rerank-template"));
    let template = copy.path().join("chat_template.jinja");
    std::fs::write(
        &template,
        "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}",
    )
    .unwrap();
    let error = reranker(copy.path()).err().unwrap().to_string();
    assert!(error.contains("query and document"), "{error}");
}

#[test]
fn a_prompt_too_long_keeps_the_end_of_its_template() {
    let reranker = reranker(&folder("qwen3-rerank-template")).unwrap();
    let request = RerankRequest {
        query: "what".into(),
        documents: vec!["this and that ".repeat(60)],
        instruction: None,
        raw: false,
        truncate: true,
        call: 0,
    };
    let cut = reranker.score(&request).unwrap().remove(0).unwrap();
    assert_eq!(cut.tokens, 96);
    assert!(cut.left_out > 0);
    let whole = RerankRequest {
        truncate: false,
        ..request
    };
    let error = reranker.score(&whole).unwrap().remove(0).unwrap_err();
    assert!(
        matches!(error, Error::ContextFull { limit: 96, .. }),
        "{error}"
    );
}

#[test]
fn messages_need_a_chat_template() {
    let text = json!({"method": "forward", "method_output_name": "last_hidden_state"});
    let copy = changed(
        "bert-mean",
        "sentence_bert_config.json",
        json!({"modality_config": {"text": text, "message": text}}),
    );
    let error = embedder(copy.path()).err().unwrap().to_string();
    assert!(error.contains("no chat template"), "{error}");
}

#[test]
fn what_stands_around_a_pair_needs_room() {
    let options = TextOptions {
        max_tokens: Some(8),
        ..TextOptions::default()
    };
    let reranker = Reranker::load(&folder("qwen3-rerank"), &options).unwrap();
    let request = RerankRequest {
        query: "what".into(),
        documents: vec!["this".into()],
        instruction: None,
        raw: false,
        truncate: true,
        call: 0,
    };
    let error = reranker.score(&request).unwrap().remove(0).unwrap_err();
    assert!(error.to_string().contains("max_tokens"), "{error}");
}
