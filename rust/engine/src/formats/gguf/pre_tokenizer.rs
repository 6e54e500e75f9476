//! How byte-pair encodings cut a text into words, by the names that GGUF files have for it
//! (`tokenizer.ggml.pre`).
//!
//! A name stands for the regular expressions of a published `tokenizer.json`. Which names there are, and which
//! of them cut alike, follows llama.cpp's `llama-vocab.cpp`. Where llama.cpp approximates an expression because
//! its own regular expressions lack something, the published one is here.

use serde_json::{Value, json};

/// What a name stands for.
pub(super) struct PreTokenizer {
    names: &'static [&'static str],
    /// Regular expressions, each of which cuts the pieces that those before it left.
    patterns: fn() -> Vec<String>,
    /// Whether characters are composed first (Unicode's NFC).
    pub(super) nfc: bool,
    /// What words are made of.
    pub(super) alphabet: Alphabet,
    /// Whether a word that is a token is taken whole, however its merges would go.
    pub(super) ignore_merges: bool,
    /// Whether texts begin with a beginning-of-sequence token when the file does not say.
    pub(super) add_bos: bool,
}

/// What the words of a vocabulary are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alphabet {
    /// Bytes, each written as a character of its own.
    Bytes,
    /// Characters, with `▁` for spaces.
    Characters,
    /// Characters as they are.
    Plain,
}

impl PreTokenizer {
    /// The steps of a pre-tokenizer as `tokenizer.json` has them.
    pub(super) fn steps(&self) -> Vec<Value> {
        let mut steps: Vec<Value> = (self.patterns)().iter().map(|p| split(p)).collect();
        if self.alphabet == Alphabet::Bytes {
            steps.push(byte_level(false));
        }
        steps
    }
}

/// What a name stands for; `None` for one that is not known.
pub(super) fn by_name(name: &str) -> Option<&'static PreTokenizer> {
    PRE_TOKENIZERS.iter().find(|cut| cut.names.contains(&name))
}

/// The name of what files without a name are cut by.
pub(super) const DEFAULT: &str = "default";

const PLAIN: PreTokenizer = PreTokenizer {
    names: &[],
    patterns: Vec::new,
    nfc: false,
    alphabet: Alphabet::Bytes,
    ignore_merges: false,
    add_bos: false,
};

const PRE_TOKENIZERS: &[PreTokenizer] = &[
    PreTokenizer {
        names: &[DEFAULT],
        patterns: || {
            vec![
                r"[\p{P}\$\+<=>\^~\|]+".into(),
                GPT2.into(),
                r"\p{N}+".into(),
                "[0-9][0-9][0-9]".into(),
            ]
        },
        ..PLAIN
    },
    PreTokenizer {
        names: &[
            "gpt2",
            "gpt-2",
            "phi-2",
            "jina-es",
            "jina-de",
            "jina-v2-es",
            "jina-v2-de",
            "jina-v1-en",
            "jina-v2-code",
            "roberta-bpe",
            "gigachat",
            "a.x-4.0",
            "mellum",
            "modern-bert",
            "exaone4",
            "mpt",
            "olmo",
            "jais",
            "trillion",
            "granite-docling",
        ],
        patterns: || vec![GPT2.into()],
        ..PLAIN
    },
    // As gpt2, with every numeric character (½ and ① too) a word of its own.
    PreTokenizer {
        names: &[
            "smollm",
            "starcoder",
            "refact",
            "command-r",
            "codeshell",
            "exaone",
            "minerva-7b",
            "mellum2",
        ],
        patterns: || vec![r"\p{N}".into(), GPT2.into()],
        ..PLAIN
    },
    PreTokenizer {
        names: &["falcon"],
        patterns: || {
            vec![
                r"[\p{P}\$\+<=>\^~\|`]+".into(),
                GPT2.into(),
                "[0-9][0-9][0-9]".into(),
            ]
        },
        ..PLAIN
    },
    PreTokenizer {
        names: &[
            "llama-bpe",
            "llama3",
            "llama-v3",
            "falcon3",
            "falcon-h1",
            "pixtral",
            "midm-2.0",
            "lfm2",
            "jina-v5-nano",
        ],
        patterns: || vec![words(r"\p{N}{1,3}")],
        ignore_merges: true,
        add_bos: true,
        ..PLAIN
    },
    PreTokenizer {
        names: &["dbrx", "smaug-bpe", "chatglm-bpe"],
        patterns: || vec![words(r"\p{N}{1,3}")],
        ..PLAIN
    },
    PreTokenizer {
        names: &["glm4", "glm5"],
        patterns: || vec![words(r"\p{N}{1,3}")],
        ignore_merges: true,
        ..PLAIN
    },
    PreTokenizer {
        names: &["minicpm5"],
        patterns: || vec![r"\p{N}{1,3}".into(), words(r"\p{N}+")],
        ignore_merges: true,
        ..PLAIN
    },
    PreTokenizer {
        names: &["jais2"],
        patterns: || {
            let mut all = [CONTRACTIONS, WORD, r"\p{N}{1,3}", SIGNS, LINES].join("|");
            for length in [512, 256, 128, 64, 32, 16, 8, 4] {
                all.push_str(&format!(r"|\s{{{length}}}(?!\S)"));
            }
            all.push_str(r"|\s{1,2}(?!\S)|\s{1}");
            vec![all]
        },
        ..PLAIN
    },
    PreTokenizer {
        names: &["qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez"],
        patterns: || vec![words(r"\p{N}")],
        nfc: true,
        ..PLAIN
    },
    PreTokenizer {
        names: &["stablelm2", "hunyuan", "solar-open", "grok-2"],
        patterns: || vec![words(r"\p{N}")],
        ..PLAIN
    },
    // Letters with the marks that belong to them.
    PreTokenizer {
        names: &["qwen35"],
        patterns: || {
            vec![any(&[
                CONTRACTIONS,
                r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+",
                r"\p{N}",
                r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*",
                LINES,
                SPACES,
            ])]
        },
        nfc: true,
        ..PLAIN
    },
    // As qwen2 without English contractions.
    PreTokenizer {
        names: &["ufakzeka"],
        patterns: || vec![any(&[WORD, r"\p{N}", SIGNS, LINES, SPACES])],
        ..PLAIN
    },
    PreTokenizer {
        names: &["laguna"],
        patterns: || vec![NEWLINES_APART.into(), words(r"\p{N}")],
        ..PLAIN
    },
    PreTokenizer {
        names: &["seed-coder"],
        patterns: || {
            vec![any(&[
                CONTRACTIONS,
                WORD,
                r"\p{N}",
                r" ?[^\s\p{L}\p{N}\r\n]+",
                LINES,
                SPACES,
            ])]
        },
        ..PLAIN
    },
    PreTokenizer {
        names: &["bailingmoe", "bailingmoe2", "llada-moe"],
        patterns: || {
            vec![any(&[
                "'(?i:[sdmt]|ll|ve|re)",
                r"[^\r\n\p{L}\p{N}]?+\p{L}+",
                r"\p{N}",
                r" ?[^\s\p{L}\p{N}]++[\r\n]*",
                r"\s*[\r\n]",
                SPACES,
            ])]
        },
        ..PLAIN
    },
    PreTokenizer {
        names: &["exaone-moe"],
        patterns: || {
            vec![any(&[
                CONTRACTIONS,
                r"[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+",
                r"\p{N}",
                r" ?[^\s\p{L}\p{N}]+[\r\n/]?",
                r"\s*[\r\n]",
                SPACES,
            ])]
        },
        ..PLAIN
    },
    // Words that begin with capitals, and those that do not.
    PreTokenizer {
        names: &["tekken"],
        patterns: || vec![cased("", r"\p{N}")],
        ignore_merges: true,
        add_bos: true,
        ..PLAIN
    },
    PreTokenizer {
        names: &["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"],
        patterns: || vec![cased(CONTRACTION, r"\p{N}{1,3}")],
        ..PLAIN
    },
    PreTokenizer {
        names: &["granite-embed-multi-97m"],
        patterns: || vec![cased(CONTRACTION, r"\p{N}{1,3}")],
        ignore_merges: true,
        ..PLAIN
    },
    PreTokenizer {
        names: &["tiny_aya", "cohere2moe"],
        patterns: || vec![DIGITS_BY_THREE.into(), cased(CONTRACTION, r"\p{N}{1,3}")],
        ..PLAIN
    },
    PreTokenizer {
        names: &["youtu"],
        patterns: || {
            vec![
                concat!(
                    r"[\u{AC00}-\u{D7A3}\u{3131}-\u{318E}]+",
                    r"|[\u{FF01}\u{2026}\u{201C}\u{201D}\u{2018}\u{2019}\u{2014}\u{FF1A}\u{FF1B}\u{FF0C}",
                    r"\u{3001}-\u{303F}\u{FE30}-\u{FE4F}]+",
                    r"|[\u{3105}-\u{312F}]+",
                    r"|[\u{4E00}-\u{9FA5}\u{3040}-\u{309F}\u{30A0}-\u{30FF}]+",
                )
                .into(),
                cased(CONTRACTION, r"\p{N}"),
            ]
        },
        ignore_merges: true,
        ..PLAIN
    },
    PreTokenizer {
        names: &["kimi-k2"],
        patterns: || {
            let (upper, lower) = (
                r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]",
                r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]",
            );
            vec![any(&[
                r"\p{Han}+",
                &format!(r"[^\r\n\p{{L}}\p{{N}}]?{upper}*{lower}+{CONTRACTION}"),
                &format!(r"[^\r\n\p{{L}}\p{{N}}]?{upper}+{lower}*{CONTRACTION}"),
                r"\p{N}{1,3}",
                SIGNS,
                LINES,
                SPACES,
            ])]
        },
        ..PLAIN
    },
    PreTokenizer {
        names: &["deepseek-llm"],
        patterns: || {
            vec![
                r"[\r\n]".into(),
                format!(r"\s?[{}]+", CASED_LETTERS.concat()),
                r"\s?[!-/:-~\u{FF01}-\u{FF0F}\u{FF1A}-\u{FF5E}\u{2018}-\u{201F}\u{3000}-\u{3002}]+"
                    .into(),
                r"\s+$".into(),
                EASTERN.into(),
                r"\p{N}+".into(),
            ]
        },
        ..PLAIN
    },
    PreTokenizer {
        names: &["deepseek-coder"],
        patterns: || {
            vec![
                r"[\r\n]".into(),
                r"\s?\p{L}+".into(),
                r"\s?\p{P}+".into(),
                EASTERN.into(),
                r"\p{N}".into(),
            ]
        },
        ..PLAIN
    },
    PreTokenizer {
        names: &["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"],
        patterns: || {
            vec![
                r"\p{N}{1,3}".into(),
                HAN_AND_KANA.into(),
                signs_and_words(&[r" ?[\p{P}\p{S}]+[\r\n]*", LINES]),
            ]
        },
        ..PLAIN
    },
    PreTokenizer {
        names: &["spark2_5"],
        patterns: || {
            vec![
                r"\p{N}{1,3}".into(),
                HAN_AND_KANA.into(),
                signs_and_words(&[r" ?[\p{P}\p{S}]+", r"[\r\n]"]),
                r"\p{N}".into(),
            ]
        },
        ..PLAIN
    },
    PreTokenizer {
        names: &["afmoe"],
        patterns: || {
            vec![
                DIGITS_BY_THREE.into(),
                concat!(
                    r"[\u{4E00}-\u{9FFF}\u{3400}-\u{4DBF}\u{F900}-\u{FAFF}\u{3040}-\u{309F}\u{30A0}-\u{30FF}",
                    r"\u{FF65}-\u{FF9F}\u{2F00}-\u{2FDF}\u{E40}-\u{E7F}\u{E80}-\u{EFF}\u{1780}-\u{17FF}",
                    r"\u{1000}-\u{109F}\u{AA60}-\u{AA7F}\u{A9E0}-\u{A9FF}\u{AC00}-\u{D7AF}",
                    r"\u{1100}-\u{11FF}]+",
                )
                .into(),
                signs_and_words(&[r" ?[\p{P}\p{S}]+[\r\n]*", LINES]),
            ]
        },
        ..PLAIN
    },
    PreTokenizer {
        names: &["superbpe"],
        patterns: || vec![r"\p{N}+".into(), r"\d{1,3}(?=(?:\d{3})*(?!\d))".into()],
        ..PLAIN
    },
    PreTokenizer {
        names: &["bloom", "poro-chat", "gpt3-finnish"],
        patterns: || vec![UP_TO_PUNCTUATION.into()],
        ..PLAIN
    },
    PreTokenizer {
        names: &["viking"],
        patterns: || vec![UP_TO_PUNCTUATION.into(), r"\p{N}".into()],
        ..PLAIN
    },
    PreTokenizer {
        names: &["chameleon"],
        patterns: || {
            vec![
                "<sentinel:[0-9]+>".into(),
                "(?:IMGIMG)[A-I]{1,4}Z".into(),
                r"[\t\n]|    |  ".into(),
                r"\p{N}".into(),
                r"[\p{P}!-/:-@\[-`{-~]".into(),
                GPT2.into(),
            ]
        },
        add_bos: true,
        ..PLAIN
    },
    PreTokenizer {
        names: &["gemma4", "granite-embed-multi-311m", "sarvam-moe"],
        patterns: || vec![NEWLINES_APART.into()],
        alphabet: Alphabet::Characters,
        ..PLAIN
    },
    PreTokenizer {
        names: &["whitespace"],
        patterns: || vec![r"\S+".into()],
        alphabet: Alphabet::Plain,
        ..PLAIN
    },
];

/// English contractions, words, numbers and signs with one space in front, and white space.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

const CONTRACTIONS: &str = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";

/// A contraction, if there is one, where it belongs to the word before it.
const CONTRACTION: &str = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?";

/// Letters with one sign in front.
const WORD: &str = r"[^\r\n\p{L}\p{N}]?\p{L}+";

/// Signs with one space in front and the ends of lines behind them.
const SIGNS: &str = r" ?[^\s\p{L}\p{N}]+[\r\n]*";

const LINES: &str = r"\s*[\r\n]+";

const SPACES: &str = r"\s+(?!\S)|\s+";

const NEWLINES_APART: &str = r"[^\n]+|[\n]+";

/// Digits in groups of three, the first of which may be shorter.
const DIGITS_BY_THREE: &str = r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))";

const HAN_AND_KANA: &str = r"[\u{4E00}-\u{9FA5}\u{3040}-\u{309F}\u{30A0}-\u{30FF}]+";

/// Han characters, and the blocks from Samaritan to the end of what lies before them, and Hangul.
const EASTERN: &str = r"[\u{4E00}-\u{9FA5}\u{800}-\u{4E00}\u{AC00}-\u{D7FF}]+";

const UP_TO_PUNCTUATION: &str =
    r" ?[^(\s|.,!?\u{2026}\u{3002}\u{FF0C}\u{3001}\u{964}\u{6D4}\u{60C})]+";

/// The letters of scripts that have capitals.
const CASED_LETTERS: &[&str] = &[
    r"A-Za-z\u{B5}\u{C0}-\u{D6}\u{D8}-\u{F6}\u{F8}-\u{1BA}\u{1BC}-\u{1BF}\u{1C4}-\u{293}",
    r"\u{295}-\u{2AF}\u{370}-\u{373}\u{376}\u{377}\u{37B}-\u{37D}\u{37F}\u{386}\u{388}-\u{38A}",
    r"\u{38C}\u{38E}-\u{3A1}\u{3A3}-\u{3F5}\u{3F7}-\u{481}\u{48A}-\u{52F}\u{531}-\u{556}",
    r"\u{10A0}-\u{10C5}\u{13A0}-\u{13F5}\u{13F8}-\u{13FD}\u{1C90}-\u{1CBA}\u{1CBD}-\u{1CBF}",
    r"\u{1D00}-\u{1D2B}\u{1D6B}-\u{1D77}\u{1D79}-\u{1D9A}\u{1E00}-\u{1F15}\u{1F18}-\u{1F1D}",
    r"\u{1F20}-\u{1F45}\u{1F48}-\u{1F4D}\u{1F50}-\u{1F57}\u{1F59}\u{1F5B}\u{1F5D}",
    r"\u{1F5F}-\u{1F7D}\u{1F80}-\u{1FB4}\u{1FB6}-\u{1FBC}\u{1FBE}\u{1FC2}-\u{1FC4}",
    r"\u{1FC6}-\u{1FCC}\u{1FD0}-\u{1FD3}\u{1FD6}-\u{1FDB}\u{1FE0}-\u{1FEC}\u{1FF2}-\u{1FF4}",
    r"\u{1FF6}-\u{1FFC}\u{2102}\u{2107}\u{210A}-\u{2113}\u{2115}\u{2119}-\u{211D}\u{2124}",
    r"\u{2126}\u{2128}\u{212A}-\u{212D}\u{212F}-\u{2134}\u{2139}\u{213C}-\u{213F}",
    r"\u{2145}-\u{2149}\u{214E}\u{2183}\u{2184}\u{2C00}-\u{2C7B}\u{2C7E}-\u{2CE4}",
    r"\u{2CEB}-\u{2CEE}\u{2CF2}\u{2CF3}\u{A640}-\u{A66D}\u{A680}-\u{A69B}\u{A722}-\u{A76F}",
    r"\u{A771}-\u{A787}\u{A78B}-\u{A78E}\u{AB70}-\u{ABBF}\u{FB00}-\u{FB06}\u{FB13}-\u{FB17}",
    r"\u{FF21}-\u{FF3A}\u{FF41}-\u{FF5A}\u{10400}-\u{1044F}\u{104B0}-\u{104D3}",
    r"\u{104D8}-\u{104FB}\u{10C80}-\u{10CB2}\u{10CC0}-\u{10CF2}\u{118A0}-\u{118DF}",
    r"\u{1E900}-\u{1E943}",
];

fn any(patterns: &[&str]) -> String {
    patterns.join("|")
}

/// The cut of GPT-4's kind, with numbers as `number` says.
fn words(number: &str) -> String {
    any(&[CONTRACTIONS, WORD, number, SIGNS, LINES, SPACES])
}

/// The cut of GPT-4o's kind: a word ends where capitals begin.
fn cased(contraction: &str, number: &str) -> String {
    const UPPER: &str = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]";
    const LOWER: &str = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]";
    any(&[
        &format!(r"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{contraction}"),
        &format!(r"[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{contraction}"),
        number,
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        LINES,
        SPACES,
    ])
}

/// The cut of DeepSeek V3's kind: a sign with English letters, words with their marks, then `signs`.
fn signs_and_words(signs: &[&str]) -> String {
    let words = [
        r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"##,
        r"[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+",
    ];
    any(&[&words, signs, &[SPACES]].concat())
}

fn split(pattern: &str) -> Value {
    json!({
        "type": "Split",
        "pattern": {"Regex": pattern},
        "behavior": "Isolated",
        "invert": false,
    })
}

/// Bytes as characters, `use_regex` after cutting as GPT-2 does.
pub(super) fn byte_level(use_regex: bool) -> Value {
    json!({
        "type": "ByteLevel",
        "add_prefix_space": false,
        "trim_offsets": true,
        "use_regex": use_regex,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All pieces of a text.
    fn cut_of(name: &str, text: &str) -> Vec<String> {
        let mut pieces = vec![text.to_owned()];
        for pattern in (by_name(name).unwrap().patterns)() {
            let regex = fancy_regex::Regex::new(&pattern).unwrap();
            pieces = pieces
                .iter()
                .flat_map(|piece| isolated(&regex, piece))
                .collect();
        }
        pieces
    }

    fn isolated(regex: &fancy_regex::Regex, text: &str) -> Vec<String> {
        let mut pieces = Vec::new();
        let mut last = 0;
        for found in regex.find_iter(text) {
            let found = found.unwrap().range();
            pieces.push(text[last..found.start].to_owned());
            pieces.push(text[found.clone()].to_owned());
            last = found.end;
        }
        pieces.push(text[last..].to_owned());
        pieces.retain(|piece| !piece.is_empty());
        pieces
    }

    #[test]
    fn every_name_stands_for_patterns_that_compile() {
        let mut seen = Vec::new();
        for cut in PRE_TOKENIZERS {
            for name in cut.names {
                assert!(!seen.contains(name), "{name} stands there twice");
                seen.push(name);
                assert_eq!(cut_of(name, "Ab 12, é\n").concat(), "Ab 12, é\n", "{name}");
            }
        }
    }

    #[test]
    fn names_cut_as_their_models_do() {
        let text = "It'S 12345 naïveCase, 한국 漢字!\n\n  x";
        for (name, expected) in [
            ("gpt-2", "It|'|S| 12345| naïveCase|,| 한국| 漢字|!|\n\n | x"),
            (
                "smollm",
                "It|'|S| |1|2|3|4|5| naïveCase|,| 한국| 漢字|!|\n\n | x",
            ),
            (
                "falcon",
                "It|'|S| |123|45| naïveCase|,| 한국| 漢字|!|\n\n | x",
            ),
            (
                "default",
                "It|'|S| |123|45| naïveCase|,| 한국| 漢字|!|\n\n | x",
            ),
            (
                "llama-bpe",
                "It|'S| |123|45| naïveCase|,| 한국| 漢字|!\n\n| | x",
            ),
            (
                "qwen2",
                "It|'S| |1|2|3|4|5| naïveCase|,| 한국| 漢字|!\n\n| | x",
            ),
            (
                "ufakzeka",
                "It|'S| |1|2|3|4|5| naïveCase|,| 한국| 漢字|!\n\n| | x",
            ),
            (
                "tekken",
                "It|'S| |1|2|3|4|5| naïve|Case|,| 한국| 漢字|!\n\n| | x",
            ),
            (
                "gpt-4o",
                "It'S| |123|45| naïve|Case|,| 한국| 漢字|!\n\n| | x",
            ),
            (
                "afmoe",
                "It|'S| |12|345| naïveCase|,| |한국| |漢字|!\n\n| | x",
            ),
            (
                "deepseek-v3",
                "It|'S| |123|45| naïveCase|,| 한국| |漢字|!\n\n| | x",
            ),
            (
                "deepseek-coder",
                "It|'|S| |1|2|3|4|5| naïveCase|,| |한국| |漢字|!|\n|\n| | x",
            ),
            (
                "deepseek-llm",
                "It|'|S| |12345| na|ï|veCase|,| |한국| |漢字|!|\n|\n| | x",
            ),
            ("superbpe", "It'S |12|345| naïveCase, 한국 漢字!\n\n  x"),
            ("bloom", "It'S| 12345| naïveCase|,| 한국| 漢字|!\n\n | x"),
            (
                "viking",
                "It'S| |1|2|3|4|5| naïveCase|,| 한국| 漢字|!\n\n | x",
            ),
            (
                "kimi-k2",
                "It'S| |123|45| naïve|Case|,| 한국| |漢字|!\n\n| | x",
            ),
            (
                "whitespace",
                "It'S| |12345| |naïveCase,| |한국| |漢字!|\n\n  |x",
            ),
            ("gemma4", "It'S 12345 naïveCase, 한국 漢字!|\n\n|  x"),
        ] {
            assert_eq!(cut_of(name, text).join("|"), expected, "{name}");
        }
    }
}
