//! Text that is split into thought and answer while it comes.

/// What became certain of a thought and of an answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Split {
    pub(crate) reasoning: String,
    pub(crate) text: String,
}

/// Length in bytes of the longest proper beginning of `tag` that `text` ends with.
pub(super) fn partial(text: &str, tag: &str) -> usize {
    let lengths = tag.char_indices().map(|(index, _)| index).rev();
    let fits = |length: &usize| text.ends_with(&tag[..*length]);
    lengths.filter(|n| *n > 0).find(fits).unwrap_or(0)
}
