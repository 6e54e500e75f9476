//! The suites that compare with other implementations, under each instruction set below the best one of this processor.

use std::process::Command;

use candle4j_engine::error::Error;
use candle4j_engine::loader::LoadOptions;
use candle4j_engine::model::Model;
use candle4j_engine::runtime;
use candle4j_kernels::Instructions;

use crate::golden::models;

const VARIABLE: &str = "CANDLE4J_INSTRUCTIONS";

/// What runs: all that compares numbers.
const SUITES: [&str; 6] = [
    "oracle::",
    "gguf::",
    "batch::",
    "prefixes::",
    "together::",
    "embeddings::",
];

#[test]
fn every_instruction_set_gives_what_others_do() {
    // A limit from outside is itself one of these runs.
    if std::env::var_os(VARIABLE).is_some() {
        return;
    }
    let mut limits: Vec<&str> = Instructions::all().into_iter().map(|i| i.name()).collect();
    limits.push("portable");
    for limit in &limits[1..] {
        let run = Command::new(std::env::current_exe().unwrap())
            .args(SUITES)
            .env(VARIABLE, limit)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success(), "{limit}: {told}");
        assert!(!told.contains(" 0 passed"), "{limit}: {told}");
    }
}

#[test]
fn what_is_no_limit_is_refused_by_name() {
    let options = LoadOptions {
        instructions: Some("avx3".into()),
        ..LoadOptions::default()
    };
    match Model::load(&models().join("llama-gqa"), &options).err() {
        Some(Error::InvalidArgument { name, reason }) => {
            assert_eq!(name, "instructions");
            assert!(reason.contains("portable"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    let used = runtime::instructions().unwrap();
    runtime::limit_instructions(used).unwrap();
}
