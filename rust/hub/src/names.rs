//! Path safety: the one place that decides whether a name from outside may become a path.
//!
//! File lists, shard names of an index, commits, revisions and repository names are written by others.
//! Each goes through [`check`] (a relative path with `/` between its parts) or [`check_part`] (one part)
//! before it is joined to a folder. The rules of POSIX and Windows hold on every platform, so that a
//! cache can be moved between them.

/// Longest part of a name in bytes. File systems take 255.
const MAX_PART: usize = 200;

/// Longest whole name in bytes.
const MAX_NAME: usize = 1000;

/// Why a name cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flaw {
    /// What is wrong, to follow the name in a message.
    pub(crate) reason: &'static str,
    /// Whether the name could leave the folder that it is joined to, on some platform. Such a name is
    /// never an accident.
    pub(crate) escapes: bool,
}

/// Checks a relative path with `/` between its parts. A flaw that escapes is named before others.
pub(crate) fn check(name: &str) -> Result<(), Flaw> {
    let flaws = || name.split('/').filter_map(part_flaw);
    let flaw = if name.starts_with('/') {
        escapes("is absolute")
    } else if let Some(flaw) = flaws().find(|flaw| flaw.escapes) {
        Some(flaw)
    } else if name.len() > MAX_NAME {
        unusable("is too long")
    } else {
        flaws().next()
    };
    flaw.map_or(Ok(()), Err)
}

/// Checks a single part: a name in which `/` is not allowed either.
pub(crate) fn check_part(name: &str) -> Result<(), Flaw> {
    check(name)?;
    match name.contains('/') {
        true => Err(Flaw {
            reason: "has a '/'",
            escapes: false,
        }),
        false => Ok(()),
    }
}

/// A name as it may be shown: control characters escaped and cut to a readable length, so that a
/// hostile one cannot flood or forge a message.
pub(crate) fn shown(name: &str) -> String {
    const MAX_SHOWN: usize = 120;
    let start = name.chars().take(MAX_SHOWN);
    let mut shown: String = start.flat_map(char::escape_debug).collect();
    if name.chars().nth(MAX_SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

fn escapes(reason: &'static str) -> Option<Flaw> {
    let escapes = true;
    Some(Flaw { reason, escapes })
}

fn unusable(reason: &'static str) -> Option<Flaw> {
    let escapes = false;
    Some(Flaw { reason, escapes })
}

fn part_flaw(part: &str) -> Option<Flaw> {
    let drive =
        part.len() >= 2 && part.as_bytes()[0].is_ascii_alphabetic() && part.as_bytes()[1] == b':';
    match part {
        // Two of them start a network name on Windows.
        _ if part.contains('\\') => escapes("has a backslash"),
        _ if part.chars().any(char::is_control) => escapes("has a control character"),
        ".." => escapes("has a '..' part"),
        _ if drive => escapes("has a drive letter"),
        "" => unusable("has an empty part"),
        "." => unusable("has a '.' part"),
        _ if part.contains(['<', '>', '"', '|', '?', '*', ':']) => {
            unusable("has a character that is not allowed in file names")
        }
        _ if part.ends_with(['.', ' ']) => unusable("has a part that ends with a dot or a space"),
        _ if is_device(part) => unusable("has a part that is a device name on Windows"),
        _ if part.len() > MAX_PART => unusable("is too long"),
        _ => None,
    }
}

/// Whether Windows takes a name for a device: `con`, `Con.txt` and `con .json` all are the console.
fn is_device(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or(part).trim_end();
    let stem = stem.to_ascii_uppercase();
    let numbered = stem.strip_prefix("COM").or(stem.strip_prefix("LPT"));
    ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"].contains(&stem.as_str())
        // The superscript digits one, two and three count as digits there.
        || numbered.is_some_and(|number| {
            matches!(number, "\u{b9}" | "\u{b2}" | "\u{b3}")
                || number.len() == 1 && number.as_bytes()[0].is_ascii_digit()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flaw(name: &str) -> Flaw {
        check(name).expect_err(name)
    }

    #[test]
    fn ordinary_names_pass() {
        for name in [
            "config.json",
            "model-00001-of-00002.safetensors",
            "Q4_K_M/model-Q4_K_M.gguf",
            ".gitattributes",
            "refs/pr/1",
            "d'été.json",
            "console.txt",
            "com10.json",
            "a b.txt",
            "nul-model",
            "...a",
        ] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn names_that_leave_the_folder_are_told_as_such() {
        for (name, reason) in [
            ("../x", "'..'"),
            ("a/../../x", "'..'"),
            ("..", "'..'"),
            ("/x", "absolute"),
            ("//srv/share/x", "absolute"),
            ("..\\x", "backslash"),
            ("\\\\srv\\x", "backslash"),
            ("a\\b", "backslash"),
            ("C:x", "drive"),
            ("c:/x", "drive"),
            ("a/C:x", "drive"),
            ("a\0b", "control"),
            ("a\nb", "control"),
            ("CON/../x", "'..'"),
            ("a//..", "'..'"),
        ] {
            assert!(flaw(name).reason.contains(reason), "{name:?}");
            assert!(flaw(name).escapes, "{name:?}");
        }
    }

    #[test]
    fn names_that_some_platform_cannot_store_are_refused() {
        for (name, reason) in [
            ("", "empty"),
            ("a//b", "empty"),
            ("a/", "empty"),
            (".", "'.' part"),
            ("a/./b", "'.' part"),
            ("ab:c", "not allowed"),
            ("x.", "dot or a space"),
            ("x ", "dot or a space"),
            ("a /b", "dot or a space"),
            ("...", "dot or a space"),
            ("CON", "device"),
            ("nul.json", "device"),
            ("a/COM1.txt", "device"),
            ("lpt9", "device"),
            ("com\u{b9}", "device"),
            ("aux .txt", "device"),
            ("a?b", "not allowed"),
            ("a*b", "not allowed"),
        ] {
            assert!(flaw(name).reason.contains(reason), "{name:?}");
            assert!(!flaw(name).escapes, "{name:?}");
        }
        assert_eq!(check(&"a".repeat(MAX_PART)), Ok(()));
        assert!(check(&"a".repeat(MAX_PART + 1)).is_err());
        assert!(check(&["a"; 600].join("/")).is_err());
    }

    #[test]
    fn a_part_has_no_separator() {
        assert_eq!(check_part("abc"), Ok(()));
        assert!(!check_part("a/b").unwrap_err().escapes);
        assert!(check_part("a/../b").unwrap_err().escapes);
    }

    #[test]
    fn what_is_shown_is_short_and_has_no_control_characters() {
        assert_eq!(shown("a\u{1b}[31m\n"), "a\\u{1b}[31m\\n");
        assert!(shown(&"x".repeat(10_000)).chars().count() < 200);
    }
}
