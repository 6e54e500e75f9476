//! Tokenizers with the files that publishers put beside them, and conversations that contain the texts of
//! special tokens, against transformers.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use candle4j_engine::chat::Message;
use candle4j_engine::model::Model;
use candle4j_engine::session::{Prompt, Session};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::checkpoint::Checkpoint;

#[derive(Deserialize)]
struct Golden {
    folders: Vec<Folder>,
    chats: Vec<Chat>,
}

#[derive(Deserialize)]
struct Folder {
    name: String,
    files: Map<String, Value>,
    texts: Vec<Text>,
}

#[derive(Deserialize)]
struct Text {
    text: String,
    ids: Vec<u32>,
    with_special: Vec<u32>,
    decoded: String,
    decoded_skip_special: String,
}

#[derive(Deserialize)]
struct Chat {
    kind: String,
    tokenizer: Value,
    files: Map<String, Value>,
    conversations: Vec<Conversation>,
}

#[derive(Deserialize)]
struct Conversation {
    messages: Vec<Message>,
    variables: Map<String, Value>,
    ids: Vec<u32>,
}

fn golden() -> Golden {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tokens.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// A model with these files in the place of its tokenizer's.
fn load(files: &Map<String, Value>, tokenizer: Option<&Value>) -> Model {
    let checkpoint = Checkpoint::copy("llama-plain");
    let write = |path: &Path, content: &Value| fs::write(path, content.to_string()).unwrap();
    let _ = fs::remove_file(checkpoint.path().join("tokenizer_config.json"));
    for (name, content) in files {
        write(&checkpoint.path().join(name), content);
    }
    if let Some(tokenizer) = tokenizer {
        write(&checkpoint.path().join("tokenizer.json"), tokenizer);
    }
    checkpoint.load().unwrap()
}

#[test]
fn files_beside_a_tokenizer_count_as_in_transformers() {
    let golden = golden();
    assert!(golden.folders.len() >= 15);
    for folder in &golden.folders {
        let model = load(&folder.files, None);
        let tokenizer = model.tokenizer();
        for text in &folder.texts {
            let case = format!("{}: {:?}", folder.name, text.text);
            let encoded = |special| tokenizer.encode(&text.text, special).unwrap();
            assert_eq!(encoded(false), text.ids, "{case}");
            assert_eq!(encoded(true), text.with_special, "{case}");
            let decoded = |skip| tokenizer.decode(&text.with_special, skip).unwrap();
            assert_eq!(decoded(false), text.decoded, "{case}");
            assert_eq!(decoded(true), text.decoded_skip_special, "{case}");
        }
    }
}

#[test]
fn f4_texts_of_special_tokens_cost_what_they_cost_when_split() {
    let golden = golden();
    assert_eq!(golden.chats.len(), 12);
    for chat in &golden.chats {
        let session = Session::new(Arc::new(load(&chat.files, Some(&chat.tokenizer))));
        for conversation in &chat.conversations {
            let prompt = Prompt::Chat {
                messages: conversation.messages.clone(),
                variables: conversation.variables.clone(),
            };
            let ids = session.encode(&prompt).unwrap();
            let text = |ids: &[u32]| session.model().tokenizer().decode(ids, false).unwrap();
            assert_eq!(
                ids,
                conversation.ids,
                "{}: {:?}\nours   {:?}\ntheirs {:?}",
                chat.kind,
                conversation.messages,
                text(&ids),
                text(&conversation.ids),
            );
        }
    }
}

#[test]
fn templates_that_look_at_texts_see_them_as_they_are() {
    let tokenizer = golden().chats.remove(0).tokenizer;
    for (template, content, expected) in [
        (
            "{% set c = messages[0].content %}{% if '<|im_end|>' in c %}\
             {% set c = c.split('<|im_end|>')[-1] %}{% endif %}{{ c }}",
            "long long<|im_end|>answer",
            "answer",
        ),
        (
            "{{ messages[0].content | replace('<img>', '') }}",
            "a<|<img>im_end|>b",
            "a<|im_end|>b",
        ),
        (
            "{{ messages[0].content[:12] }}",
            "ab <|im_end|> cdefgh",
            "ab <|im_end|",
        ),
        (
            "{{ messages[0].content | length }}{{ messages[0].content }}",
            "<|im_end|>",
            "10<|im_end|>",
        ),
    ] {
        let config = serde_json::json!({"chat_template": template});
        let files = Map::from_iter([("tokenizer_config.json".to_owned(), config)]);
        let session = Session::new(Arc::new(load(&files, Some(&tokenizer))));
        let prompt = Prompt::Chat {
            messages: vec![Message {
                role: "user".into(),
                content: Some(content.into()),
                more: Map::new(),
            }],
            variables: Map::new(),
        };
        let ids = session.encode(&prompt).unwrap();
        let tokenizer = session.model().tokenizer();
        assert_eq!(tokenizer.decode(&ids, false).unwrap(), expected);
        let end = tokenizer.id_of("<|im_end|>").unwrap();
        assert!(!ids.contains(&end), "{template}: {ids:?}");
    }
}

#[test]
fn what_cannot_be_told_from_the_templates_own_is_refused() {
    let tokenizer = golden().chats.remove(0).tokenizer;
    // Each of the two may be masked, but not both.
    let template = "{% set c = messages[0].content %}\
                    {{ c if '<|im_end|>' in c or '<s>' in c else 'x' }}";
    let config = serde_json::json!({"chat_template": template});
    let files = Map::from_iter([("tokenizer_config.json".to_owned(), config)]);
    let session = Session::new(Arc::new(load(&files, Some(&tokenizer))));
    let encode = |content: &str| {
        session.encode(&Prompt::Chat {
            messages: vec![Message {
                role: "user".into(),
                content: Some(content.into()),
                more: Map::new(),
            }],
            variables: Map::new(),
        })
    };
    let error = encode("a <|im_end|> b <s>").unwrap_err().to_string();
    assert!(error.contains("<s>, <|im_end|>"), "{error}");
    assert!(encode("a < b").is_ok());
}

#[test]
fn many_added_tokens_are_joined_in_time_or_refused() {
    let start = std::time::Instant::now();
    for count in [20_000, 150_000] {
        let entries: Map<String, Value> = (0..count)
            .map(|i| {
                (
                    i.to_string(),
                    serde_json::json!({"content": format!("<{i}>")}),
                )
            })
            .collect();
        let config = serde_json::json!({"added_tokens_decoder": entries});
        let checkpoint = Checkpoint::copy("llama-plain");
        let path = checkpoint.path().join("tokenizer_config.json");
        fs::write(path, config.to_string()).unwrap();
        match checkpoint.load() {
            Ok(_) => assert_eq!(count, 20_000),
            Err(error) => assert!(
                error.to_string().contains("tokenizer_config.json"),
                "{error}"
            ),
        }
    }
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}
