//! A look at a GGUF file's metadata before they are read.
//!
//! Candle's reader makes a value of each entry, many times larger than it is in the file, and a sparse
//! file of a gigabyte costs nothing to make. So the entries are counted first.

use std::io::{self, BufRead, ErrorKind, Seek, SeekFrom};

/// The most entries of all lists together. Vocabularies have up to some hundred thousand, three times.
const MOST_ENTRIES: u64 = 4 << 20;

/// The most bytes of all texts together. Vocabularies and templates take some ten million.
const MOST_TEXT: u64 = 256 << 20;

const ARRAY: u32 = 9;
const STRING: u32 = 8;

/// Counts entries and texts.
///
/// # Errors
/// A message about what there is too much of. A file that is cut short or damaged is no error here: the
/// reader says what is wrong with it.
pub(super) fn check(reader: &mut (impl BufRead + Seek)) -> Result<(), String> {
    let mut skim = Skim {
        reader,
        wide: true,
        entries: 0,
        text: 0,
    };
    match skim.metadata() {
        Err(error) if error.kind() == ErrorKind::QuotaExceeded => Err(error.to_string()),
        _ => Ok(()),
    }
}

struct Skim<'a, R> {
    reader: &'a mut R,
    /// Whether lengths have 64 bits, as from the second version on.
    wide: bool,
    entries: u64,
    text: u64,
}

impl<R: BufRead + Seek> Skim<'_, R> {
    fn metadata(&mut self) -> io::Result<()> {
        let _magic = self.u32()?;
        self.wide = self.u32()? > 1;
        let _tensors = self.length()?;
        for _ in 0..self.length()? {
            self.entry()?;
            self.string()?;
            let kind = self.u32()?;
            self.value(kind, 0)?;
        }
        Ok(())
    }

    fn value(&mut self, kind: u32, depth: usize) -> io::Result<()> {
        match (kind, size(kind)) {
            (STRING, _) => self.string(),
            (ARRAY, _) if depth < 64 => {
                let kind = self.u32()?;
                let count = self.length()?;
                if let Some(size) = size(kind) {
                    self.entries = self.entries.saturating_add(count);
                    self.check()?;
                    return self.skip(count.saturating_mul(size));
                }
                for _ in 0..count {
                    self.entry()?;
                    self.value(kind, depth + 1)?;
                }
                Ok(())
            }
            (_, Some(size)) => self.skip(size),
            _ => Err(ErrorKind::InvalidData.into()),
        }
    }

    fn string(&mut self) -> io::Result<()> {
        let length = self.length()?;
        self.text = self.text.saturating_add(length);
        self.check()?;
        self.skip(length)
    }

    fn entry(&mut self) -> io::Result<()> {
        self.entries += 1;
        self.check()
    }

    fn check(&self) -> io::Result<()> {
        let too_much = |what: &str, count: u64, most: u64| {
            let message = format!("its metadata have {count} {what}; at most {most} are read");
            Err(io::Error::new(ErrorKind::QuotaExceeded, message))
        };
        if self.entries > MOST_ENTRIES {
            return too_much("entries or more", self.entries, MOST_ENTRIES);
        }
        if self.text > MOST_TEXT {
            return too_much("bytes of text or more", self.text, MOST_TEXT);
        }
        Ok(())
    }

    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        // Within the buffer where possible.
        let offset = i64::try_from(bytes).map_err(io::Error::other)?;
        if self.reader.fill_buf()?.len() as u64 >= bytes {
            self.reader.consume(bytes as usize);
            return Ok(());
        }
        self.reader.seek(SeekFrom::Current(offset))?;
        if self.reader.fill_buf()?.is_empty() && bytes > 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    fn length(&mut self) -> io::Result<u64> {
        if self.wide {
            let mut bytes = [0; 8];
            self.reader.read_exact(&mut bytes)?;
            Ok(u64::from_le_bytes(bytes))
        } else {
            self.u32().map(u64::from)
        }
    }

    fn u32(&mut self) -> io::Result<u32> {
        let mut bytes = [0; 4];
        self.reader.read_exact(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }
}

/// Bytes of a value that always has as many.
fn size(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}
