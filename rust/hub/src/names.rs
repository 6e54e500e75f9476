//! Path safety: the one place that decides whether a name from outside may become a path.
//!
//! File lists, shard names of an index, entity tags, commits, revisions and repository names are all
//! written by others. Each goes through [`check`] (a relative path with `/` between its parts) or
//! [`check_part`] (one part) before it is joined to a folder. The rules of POSIX and Windows hold on
//! every platform, so a cache can be moved between them and a name that is harmless here cannot
//! surprise there.

/// Longest part of a name in bytes. File systems take 255; the rest is left for the endings that the
/// cache adds to an entity tag.
const LONGEST_PART: usize = 200;

/// Longest whole name in bytes.
const LONGEST_NAME: usize = 1000;

/// Why a name cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// A part is `..`.
    Parent,
    /// It starts with `/`.
    Absolute,
    /// A backslash, which is a separator on Windows; UNC names start with two.
    Backslash,
    /// A part starts with a drive letter and a colon.
    Drive,
    /// NUL or another control character.
    Control,
    /// Nothing at all, or nothing between two separators.
    Empty,
    /// A part is `.`.
    Current,
    /// A colon that would name an alternate data stream on Windows.
    Stream,
    /// A character that Windows does not allow.
    Forbidden,
    /// A part ends with a dot or a space, which Windows cuts off.
    Trailing,
    /// A device name of Windows, such as `CON` or `COM1.txt`.
    Reserved,
    /// Longer than file systems take.
    TooLong,
}

impl Flaw {
    /// Whether the name could leave the folder that it is joined to, on some platform. Such a name is
    /// never an accident.
    pub(super) fn escapes(self) -> bool {
        matches!(
            self,
            Flaw::Parent | Flaw::Absolute | Flaw::Backslash | Flaw::Drive | Flaw::Control
        )
    }

    /// What is wrong, to follow the name in a message.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Flaw::Parent => "has a '..' part",
            Flaw::Absolute => "is absolute",
            Flaw::Backslash => "has a backslash",
            Flaw::Drive => "has a drive letter",
            Flaw::Control => "has a control character",
            Flaw::Empty => "has an empty part",
            Flaw::Current => "has a '.' part",
            Flaw::Stream => "has a colon",
            Flaw::Forbidden => "has a character that is not allowed in file names",
            Flaw::Trailing => "has a part that ends with a dot or a space",
            Flaw::Reserved => "has a part that is a device name on Windows",
            Flaw::TooLong => "is too long",
        }
    }
}

/// Checks a relative path with `/` between its parts. When several things are wrong, one that
/// [escapes](Flaw::escapes) is told first.
pub(super) fn check(name: &str) -> Result<(), Flaw> {
    if name.starts_with('/') {
        return Err(Flaw::Absolute);
    }
    let flaws = || name.split('/').filter_map(|part| part_flaw(part).err());
    if let Some(flaw) = flaws().find(|flaw| flaw.escapes()) {
        return Err(flaw);
    }
    if let Some(flaw) = flaws().next() {
        return Err(flaw);
    }
    if name.len() > LONGEST_NAME {
        return Err(Flaw::TooLong);
    }
    Ok(())
}

/// Checks a single part: a name in which `/` is not allowed either.
pub(super) fn check_part(name: &str) -> Result<(), Flaw> {
    if name.contains('/') {
        check(name)?;
        return Err(Flaw::Forbidden);
    }
    part_flaw(name)
}

/// A name as it may be shown: control characters escaped and cut to a readable length, so that a
/// hostile one cannot flood or forge a message.
pub(super) fn shown(name: &str) -> String {
    const LONGEST_SHOWN: usize = 120;
    let mut shown: String = name
        .chars()
        .take(LONGEST_SHOWN)
        .flat_map(char::escape_debug)
        .collect();
    if name.chars().nth(LONGEST_SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

fn part_flaw(part: &str) -> Result<(), Flaw> {
    let bytes = part.as_bytes();
    if part.contains('\\') {
        return Err(Flaw::Backslash);
    }
    if part.chars().any(char::is_control) {
        return Err(Flaw::Control);
    }
    if part == ".." {
        return Err(Flaw::Parent);
    }
    if bytes.len() >= 2 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':' {
        return Err(Flaw::Drive);
    }
    if part.is_empty() {
        return Err(Flaw::Empty);
    }
    if part == "." {
        return Err(Flaw::Current);
    }
    if part.contains(':') {
        return Err(Flaw::Stream);
    }
    if part.contains(['<', '>', '"', '|', '?', '*']) {
        return Err(Flaw::Forbidden);
    }
    if part.ends_with(['.', ' ']) {
        return Err(Flaw::Trailing);
    }
    if is_device(part) {
        return Err(Flaw::Reserved);
    }
    if part.len() > LONGEST_PART {
        return Err(Flaw::TooLong);
    }
    Ok(())
}

/// Windows takes `con`, `Con.txt` and `con .json` all for the console.
fn is_device(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or(part).trim_end();
    let stem = stem.to_ascii_uppercase();
    if ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"].contains(&stem.as_str()) {
        return true;
    }
    let Some(number) = stem
        .strip_prefix("COM")
        .or_else(|| stem.strip_prefix("LPT"))
    else {
        return false;
    };
    // The superscript digits one, two and three count as digits there.
    matches!(number, "\u{b9}" | "\u{b2}" | "\u{b3}")
        || number.len() == 1 && number.as_bytes()[0].is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for (name, flaw) in [
            ("../x", Flaw::Parent),
            ("a/../../x", Flaw::Parent),
            ("..", Flaw::Parent),
            ("/x", Flaw::Absolute),
            ("//srv/share/x", Flaw::Absolute),
            ("..\\x", Flaw::Backslash),
            ("\\\\srv\\x", Flaw::Backslash),
            ("a\\b", Flaw::Backslash),
            ("C:x", Flaw::Drive),
            ("c:/x", Flaw::Drive),
            ("a/C:x", Flaw::Drive),
            ("a\0b", Flaw::Control),
            ("a\nb", Flaw::Control),
            ("CON/../x", Flaw::Parent),
            ("a//..", Flaw::Parent),
        ] {
            assert_eq!(check(name), Err(flaw), "{name:?}");
            assert!(flaw.escapes(), "{name:?}");
        }
    }

    #[test]
    fn names_that_some_platform_cannot_store_are_refused() {
        for (name, flaw) in [
            ("", Flaw::Empty),
            ("a//b", Flaw::Empty),
            ("a/", Flaw::Empty),
            (".", Flaw::Current),
            ("a/./b", Flaw::Current),
            ("ab:c", Flaw::Stream),
            ("x.", Flaw::Trailing),
            ("x ", Flaw::Trailing),
            ("a /b", Flaw::Trailing),
            ("...", Flaw::Trailing),
            ("CON", Flaw::Reserved),
            ("nul.json", Flaw::Reserved),
            ("a/COM1.txt", Flaw::Reserved),
            ("lpt9", Flaw::Reserved),
            ("com\u{b9}", Flaw::Reserved),
            ("aux .txt", Flaw::Reserved),
            ("a?b", Flaw::Forbidden),
            ("a*b", Flaw::Forbidden),
        ] {
            assert_eq!(check(name), Err(flaw), "{name:?}");
            assert!(!flaw.escapes(), "{name:?}");
        }
    }

    #[test]
    fn length_is_limited() {
        assert_eq!(check(&"a".repeat(LONGEST_PART)), Ok(()));
        assert_eq!(check(&"a".repeat(LONGEST_PART + 1)), Err(Flaw::TooLong));
        assert_eq!(check(&["a"; 600].join("/")), Err(Flaw::TooLong));
    }

    #[test]
    fn a_part_has_no_separator() {
        assert_eq!(check_part("abc"), Ok(()));
        assert_eq!(check_part("a/b"), Err(Flaw::Forbidden));
        assert_eq!(check_part("a/../b"), Err(Flaw::Parent));
    }

    #[test]
    fn what_is_shown_is_short_and_has_no_control_characters() {
        assert_eq!(shown("a\u{1b}[31m\n"), "a\\u{1b}[31m\\n");
        assert!(shown(&"x".repeat(10_000)).chars().count() < 200);
    }
}
