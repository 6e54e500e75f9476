//! A decoder that reads whole texts: for embeddings by their last states, and rerankers by the logits behind them.

use super::decoder::{Decoder, Logits, Output, SequenceStep};
use crate::cancel::Stop;
use crate::description::ModelDescription;
use crate::engines::{TextModel, TextTokens, Wanted, check_finite};
use crate::error::{Error, Result};
use crate::formats::TensorSource;

/// The weights of a decoder, for texts that come once. Threads share it.
pub(crate) struct DecoderTexts {
    decoder: Decoder,
    hidden_size: usize,
    /// Tokens of a text that go through the layers at once.
    chunk: usize,
}

/// Tokens of a text that go through the layers at once where no position sees later ones.
const CHUNK: usize = 512;

impl DecoderTexts {
    /// Reads the weights of a description; without a head of its own where `with_head` is false, since states need none.
    ///
    /// # Errors
    /// [`Error::InvalidTensor`] for weights that are missing or of other shapes.
    pub(crate) fn load(
        description: &ModelDescription,
        source: &dyn TensorSource,
        with_head: bool,
    ) -> Result<Self> {
        let mut description = description.clone();
        description.tie_word_embeddings |= !with_head;
        Ok(Self {
            decoder: Decoder::load(&description, source)?,
            hidden_size: description.hidden_size,
            chunk: match description.is_causal() {
                true => CHUNK,
                false => usize::MAX,
            },
        })
    }

    fn run(
        &self,
        texts: &[TextTokens],
        wanted: Logits,
        output: Output,
        stop: &Stop,
    ) -> Result<Vec<f32>> {
        let mut caches: Vec<_> = texts
            .iter()
            .map(|text| self.decoder.new_cache(text.tokens.len()))
            .collect();
        let longest = texts.iter().map(|text| text.tokens.len()).max();
        let mut results = vec![Vec::new(); texts.len()];
        for start in (0..longest.unwrap_or(0)).step_by(self.chunk) {
            if stop.reason().is_some() {
                return Err(Error::Cancelled);
            }
            let mut chunks = vec![Vec::new(); texts.len()];
            let mut steps: Vec<SequenceStep> = texts
                .iter()
                .zip(&mut caches)
                .zip(&mut chunks)
                .filter(|((text, _), _)| text.tokens.len() > start)
                .map(|((text, cache), logits)| {
                    let end = text.tokens.len().min(start.saturating_add(self.chunk));
                    let is_last = end == text.tokens.len();
                    SequenceStep {
                        tokens: &text.tokens[start..end],
                        cache,
                        final_len: text.tokens.len(),
                        wanted: match wanted {
                            Logits::Last(_) if !is_last => Logits::None,
                            wanted => wanted,
                        },
                        logits,
                    }
                })
                .collect();
            self.decoder.forward_to(&mut steps, output)?;
            for (result, chunk) in results.iter_mut().zip(chunks) {
                result.extend(chunk);
            }
        }
        let rows = results.concat();
        check_finite(&rows).map(|()| rows)
    }

    /// The logits behind the last token of each text, a row of the vocabulary each.
    ///
    /// # Errors
    /// As [`TextModel::states`].
    pub(crate) fn logits(&self, texts: &[TextTokens], stop: &Stop) -> Result<Vec<f32>> {
        self.run(texts, Logits::Last(1), Output::Logits, stop)
    }
}

impl TextModel for DecoderTexts {
    fn width(&self) -> usize {
        self.hidden_size
    }

    fn states(&self, texts: &[TextTokens], wanted: Wanted, stop: &Stop) -> Result<Vec<f32>> {
        let wanted = match wanted {
            Wanted::Every => Logits::Every,
            Wanted::Last => Logits::Last(1),
        };
        self.run(texts, wanted, Output::States, stop)
    }
}
