//! The engine without Java, driven line by line over standard input, so that a benchmark in Java
//! can time both sides in one run: `drive MODEL_FOLDER`.
//!
//! | line | what is done before the answer `done` |
//! |---|---|
//! | `generate P N` | a session answers a prompt of P tokens with N tokens, text included |
//! | `tokens P N` | the same over token ids alone: no text, no callback |
//! | `batch P N K` | K such prompts at a time |
//! | `load` | the model is loaded once more and dropped |
//!
//! Prompts are those of the Java side: token ids 1, 2, 3 and so on. Nothing is reused between calls.

use std::io::{BufRead, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use candle4j_engine::batch;
use candle4j_engine::error::{Error, Result};
use candle4j_engine::formats::GenerationDefaults;
use candle4j_engine::generate::{GenerateOptions, generate};
use candle4j_engine::loader::LoadOptions;
use candle4j_engine::model::Model;
use candle4j_engine::session::{GenerateRequest, Prompt, Session};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    if let Err(error) = drive() {
        eprintln!("drive: {error}");
        std::process::exit(1);
    }
}

fn drive() -> Result<()> {
    let folder = std::env::args()
        .nth(1)
        .ok_or_else(|| Error::argument("MODEL_FOLDER", "expected one"))?;
    let load = || Model::load(Path::new(&folder), &LoadOptions::default()).map(Arc::new);
    let model = load()?;
    let mut session = Session::new(model.clone());
    let mut sequence = model.new_sequence();
    answer("ready");
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|e| Error::io("standard input", &e))?;
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["generate", prompt, tokens] => {
                session.clear();
                session.generate(&request(number(prompt)?, number(tokens)?), &mut |_| {
                    ControlFlow::Continue(())
                })?;
            }
            ["tokens", prompt, tokens] => {
                sequence.truncate(0);
                let request = request(number(prompt)?, number(tokens)?);
                let sampling = request.options.resolve(&GenerationDefaults::default())?;
                generate(&mut *sequence, &ids(number(prompt)?), &sampling, None)?;
            }
            ["batch", prompt, tokens, parallel] => {
                let parallel = number(parallel)?;
                let requests = vec![request(number(prompt)?, number(tokens)?); parallel];
                let results = batch::generate_all(&model, &requests, parallel, &mut |_| {
                    ControlFlow::Continue(())
                })?;
                for result in results {
                    result?;
                }
            }
            ["load"] => drop(load()?),
            _ => return Err(Error::argument("line", line)),
        }
        answer("done");
    }
    Ok(())
}

fn request(prompt: usize, tokens: usize) -> GenerateRequest {
    GenerateRequest {
        call: 0,
        prompt: Prompt::Tokens(ids(prompt)),
        options: GenerateOptions {
            max_tokens: Some(tokens),
            temperature: Some(0.0),
            repeat_penalty: Some(1.0),
            ignore_eos: true,
            ..Default::default()
        },
        prepare: false,
        turn: false,
        constraint: None,
        tools: Vec::new(),
        tool_choice: Default::default(),
    }
}

fn ids(count: usize) -> Vec<u32> {
    (1..=count as u32).collect()
}

fn number(word: &str) -> Result<usize> {
    word.parse()
        .map_err(|_| Error::argument("number", format!("{word:?} is none")))
}

fn answer(word: &str) {
    println!("{word}");
    // A broken pipe means that the benchmark is over, which the next read will tell.
    let _ = std::io::stdout().flush();
}
