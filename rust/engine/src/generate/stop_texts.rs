//! Stop texts, found also where they span several tokens, and cut from the answer.

use std::ops::Range;

/// Watches a stream of text for the first occurrence of any of some texts.
///
/// What could still become a stop text is held back until the next piece decides, so nothing that
/// belongs to one is ever passed on. The texts of special tokens are watched too, though they are no
/// part of the answer.
#[derive(Debug)]
pub(crate) struct StopTexts {
    stops: Vec<String>,
    held: String,
    /// Where `held` has texts of special tokens, in order.
    hidden: Vec<Range<usize>>,
}

impl StopTexts {
    pub(crate) fn new(stops: &[String]) -> Self {
        Self {
            stops: stops.to_vec(),
            held: String::new(),
            hidden: Vec::new(),
        }
    }

    /// Whether there is nothing to watch for.
    pub(crate) fn is_empty(&self) -> bool {
        self.stops.is_empty()
    }

    /// Takes the next piece of text. Returns what may be passed on, and whether a stop text was
    /// found, in which case nothing more may be pushed.
    pub(crate) fn push(&mut self, piece: &str) -> (String, bool) {
        if self.is_empty() {
            return (piece.to_owned(), false);
        }
        self.held.push_str(piece);
        self.look()
    }

    /// Looks for a stop text in the answer's text, and in that with the texts of special tokens.
    fn look(&mut self) -> (String, bool) {
        let visible = self.visible(self.held.len());
        let with_special = self.stops.iter().filter_map(|s| self.held.find(s)).min();
        let found = with_special
            .map(|at| self.visible(at).len())
            .into_iter()
            .chain(self.stops.iter().filter_map(|s| visible.find(s)))
            .min();
        if let Some(at) = found {
            return (visible[..at].to_owned(), true);
        }
        let longest = |text: &str| {
            let overlaps = self.stops.iter().map(|stop| overlap(text, stop));
            overlaps.max().unwrap_or(0)
        };
        let kept = self.place(visible.len() - longest(&visible));
        let kept_with_special = self.held.len() - longest(&self.held);
        (self.pass(kept.min(kept_with_special)), false)
    }

    /// The first bytes of what is held, without the texts of special tokens.
    fn visible(&self, bytes: usize) -> String {
        let mut text = self.held[..bytes].to_owned();
        for range in self.hidden.iter().rev().filter(|r| r.start < bytes) {
            text.replace_range(range.start..range.end.min(bytes), "");
        }
        text
    }

    /// Where in `held` so many visible bytes are over.
    fn place(&self, visible: usize) -> usize {
        self.hidden.iter().fold(visible, |place, range| {
            if range.start < place {
                place + range.len()
            } else {
                place
            }
        })
    }

    /// Takes the text of a special token, which may be or belong to a stop text and is never passed on.
    pub(crate) fn push_special(&mut self, text: &str) -> (String, bool) {
        let start = self.held.len();
        self.hidden.push(start..start + text.len());
        self.push(text)
    }

    /// What is still held back when the stream ends otherwise.
    pub(crate) fn finish(&mut self) -> String {
        self.pass(self.held.len())
    }

    /// Takes the first bytes out of what is held, without the texts of special tokens among them.
    fn pass(&mut self, bytes: usize) -> String {
        let passed = self.visible(bytes);
        self.held.drain(..bytes);
        self.hidden.retain_mut(|range| {
            let is_left = range.end > bytes;
            *range = range.start.saturating_sub(bytes)..range.end.saturating_sub(bytes);
            is_left
        });
        passed
    }
}

/// Length in bytes of the longest proper beginning of `stop` that `text` ends with.
fn overlap(text: &str, stop: &str) -> usize {
    stop.char_indices()
        .map(|(index, _)| index)
        .filter(|&n| n > 0 && text.ends_with(&stop[..n]))
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stops: &[&str], pieces: &[&str]) -> (String, bool) {
        let stops: Vec<String> = stops.iter().map(|s| s.to_string()).collect();
        let mut matcher = StopTexts::new(&stops);
        let mut text = String::new();
        for piece in pieces {
            let (passed, found) = matcher.push(piece);
            text.push_str(&passed);
            if found {
                return (text, true);
            }
        }
        text.push_str(&matcher.finish());
        (text, false)
    }

    #[test]
    fn found_across_pieces_and_cut() {
        assert_eq!(
            run(&["\nUser:"], &["Hi", "\nUs", "er", ": x"]),
            ("Hi".into(), true)
        );
    }

    #[test]
    fn a_beginning_that_comes_to_nothing_is_passed_on() {
        assert_eq!(run(&["aab"], &["a", "a", "a", "c"]), ("aaac".into(), false));
        assert_eq!(run(&["aab"], &["a", "a", "a", "b"]), ("a".into(), true));
        assert_eq!(run(&["end"], &["the en"]), ("the en".into(), false));
    }

    #[test]
    fn the_first_of_several_wins() {
        assert_eq!(run(&["yz", "x"], &["wxyz"]), ("w".into(), true));
    }

    #[test]
    fn texts_of_special_tokens_stop_and_are_not_passed_on() {
        let run = |stops: &[&str], pieces: &[(&str, bool)]| {
            let stops: Vec<String> = stops.iter().map(|s| s.to_string()).collect();
            let mut matcher = StopTexts::new(&stops);
            let mut text = String::new();
            for (piece, special) in pieces {
                let (passed, found) = match special {
                    true => matcher.push_special(piece),
                    false => matcher.push(piece),
                };
                text.push_str(&passed);
                if found {
                    return (text, true);
                }
            }
            text.push_str(&matcher.finish());
            (text, false)
        };
        let end = ("<|end|>", true);
        assert_eq!(
            run(&["<|end|>"], &[("Hi", false), end]),
            ("Hi".into(), true)
        );
        assert_eq!(
            run(&["!<|end|>\n"], &[("Hi!", false), end, ("\nx", false)]),
            ("Hi".into(), true)
        );
        assert_eq!(
            run(&["!<|end|>\n"], &[("Hi!", false), end, ("x", false)]),
            ("Hi!x".into(), false)
        );
        assert_eq!(
            run(&["|end|"], &[("a", false), end, ("b", false)]),
            ("a".into(), true)
        );
        assert_eq!(
            run(&["ab"], &[("xa", false), end, ("b", false)]),
            ("x".into(), true)
        );
        assert_eq!(
            run(
                &["ab", "a<|end|>c"],
                &[("xa", false), end, end, ("d", false)]
            ),
            ("xad".into(), false)
        );
        assert_eq!(
            run(&["z"], &[("a", false), end, end, ("b", false)]),
            ("ab".into(), false)
        );
    }

    #[test]
    fn characters_of_several_bytes_are_not_cut() {
        assert_eq!(run(&["🦊!"], &["a🦊", "?"]), ("a🦊?".into(), false));
        assert_eq!(run(&["ñ"], &["man", "ñana"]), ("man".into(), true));
    }
}
