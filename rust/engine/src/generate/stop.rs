//! Stop texts, found also where they span several tokens, and cut from the answer.

/// Watches a stream of text for the first occurrence of any of some texts.
///
/// What could still become a stop text is held back until the next piece decides, so nothing that
/// belongs to one is ever passed on.
#[derive(Debug)]
pub(crate) struct StopTexts {
    stops: Vec<String>,
    held: String,
}

impl StopTexts {
    pub(crate) fn new(stops: &[String]) -> Self {
        Self {
            stops: stops.to_vec(),
            held: String::new(),
        }
    }

    /// Takes the next piece of text. Returns what may be passed on, and whether a stop text was
    /// found, in which case nothing more may be pushed.
    pub(crate) fn push(&mut self, piece: &str) -> (String, bool) {
        if self.stops.is_empty() {
            return (piece.to_owned(), false);
        }
        self.held.push_str(piece);
        let found = self.stops.iter().filter_map(|s| self.held.find(s)).min();
        if let Some(at) = found {
            self.held.truncate(at);
            return (std::mem::take(&mut self.held), true);
        }
        let keep = self
            .stops
            .iter()
            .map(|stop| overlap(&self.held, stop))
            .max()
            .unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - keep);
        (std::mem::replace(&mut self.held, rest), false)
    }

    /// What is still held back when the stream ends otherwise.
    pub(crate) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
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
    fn characters_of_several_bytes_are_not_cut() {
        assert_eq!(run(&["🦊!"], &["a🦊", "?"]), ("a🦊?".into(), false));
        assert_eq!(run(&["ñ"], &["man", "ñana"]), ("man".into(), true));
    }
}
