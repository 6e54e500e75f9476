//! Bodies that a server compressed although it was asked not to.

use std::io::Write as _;

use flate2::write::MultiGzDecoder;

/// How much is given to the decoder at a time. A few bytes can stand for a thousand times as many, so
/// this bounds what is decoded before anybody looks at it.
const MORSEL: usize = 4 * 1024;

/// Decodes gzip as it comes.
pub(super) struct Gunzip(MultiGzDecoder<Vec<u8>>);

impl Gunzip {
    /// Whether a `Content-Encoding` is one that can be decoded.
    pub(super) fn understands(encoding: &str) -> bool {
        matches!(encoding, "gzip" | "x-gzip")
    }

    pub(super) fn new() -> Gunzip {
        Gunzip(MultiGzDecoder::new(Vec::new()))
    }

    /// Gives what `bytes` stand for to `take`.
    pub(super) fn write<E: From<String>>(
        &mut self,
        bytes: &[u8],
        take: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        for morsel in bytes.chunks(MORSEL) {
            self.0.write_all(morsel).map_err(broken)?;
            self.drain(take)?;
        }
        Ok(())
    }

    /// The body ended; what is left goes to `take`.
    pub(super) fn finish<E: From<String>>(
        &mut self,
        take: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.0.try_finish().map_err(broken)?;
        self.drain(take)
    }

    fn drain<E>(&mut self, take: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let decoded = self.0.get_mut();
        let taken = take(decoded);
        decoded.clear();
        taken
    }
}

fn broken<E: From<String>>(error: std::io::Error) -> E {
    format!("sent gzip that cannot be decoded: {error}").into()
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn decode(bytes: &[u8], step: usize) -> Result<Vec<u8>, String> {
        let mut gunzip = Gunzip::new();
        let mut decoded = Vec::new();
        let mut take = |bytes: &[u8]| {
            decoded.extend_from_slice(bytes);
            Ok::<(), String>(())
        };
        for part in bytes.chunks(step) {
            gunzip.write(part, &mut take)?;
        }
        gunzip.finish(&mut take)?;
        Ok(decoded)
    }

    #[test]
    fn decoded_as_it_comes_or_refused() {
        let content: Vec<u8> = (0..100_000_u32).map(|n| (n / 100) as u8).collect();
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&content).unwrap();
        let encoded = encoder.finish().unwrap();
        for step in [1, 7, 100_000] {
            assert_eq!(decode(&encoded, step).unwrap(), content);
        }
        assert!(decode(&encoded[..encoded.len() / 2], 100).is_err());
        assert!(decode(b"no gzip at all", 100).is_err());
    }

    #[test]
    fn a_bomb_comes_in_morsels() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        for _ in 0..100 {
            encoder.write_all(&[0; 1 << 20]).unwrap();
        }
        let bomb = encoder.finish().unwrap();
        let mut largest = 0;
        let mut gunzip = Gunzip::new();
        let mut take = |bytes: &[u8]| {
            largest = largest.max(bytes.len());
            Ok::<(), String>(())
        };
        gunzip.write(&bomb, &mut take).unwrap();
        assert!(largest < 8 << 20, "{largest}");
    }
}
