//! A look at a GGUF file's metadata before they are read, and its list of tensors.
//!
//! Candle's reader makes a value of each entry, many times larger than it is in the file, and a sparse
//! file of a gigabyte costs nothing to make. So the entries are counted first. The list of tensors is read
//! here, since Candle's reader gives up at a type that it does not know.

use std::io::{self, BufRead, ErrorKind, Read, Seek, SeekFrom};

/// The most entries of all lists together. Vocabularies have up to some hundred thousand, three times.
const MOST_ENTRIES: u64 = 4 << 20;

/// The most bytes of all texts together. Vocabularies and templates take some ten million.
const MOST_TEXT: u64 = 256 << 20;

/// What the places of tensors are multiples of. Readers divide by it.
const ALIGNMENT: &str = "general.alignment";

const U32: u32 = 4;
const ARRAY: u32 = 9;
const STRING: u32 = 8;

/// The most dimensions of a tensor, as in ggml.
const MOST_DIMENSIONS: u32 = 4;

/// A tensor as the file lists it.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) name: String,
    /// Dimensions, outermost first.
    pub(super) shape: Vec<usize>,
    /// The number of its type.
    pub(super) kind: u32,
    /// Its first byte, counted from where data begin.
    pub(super) offset: u64,
}

/// Counts entries and texts, and lists tensors. Second, the place behind the list.
///
/// # Errors
/// A message about what there is too much of, or that the file is cut short or damaged.
pub(super) fn list(reader: &mut (impl BufRead + Seek)) -> Result<(Vec<Listed>, u64), String> {
    let mut skim = Skim {
        reader,
        wide: true,
        entries: 0,
        text: 0,
    };
    let listed = skim.tensors();
    match listed {
        Ok(tensors) => Ok((
            tensors,
            skim.reader.stream_position().map_err(|e| e.to_string())?,
        )),
        Err(error) if error.kind() == ErrorKind::QuotaExceeded => Err(error.to_string()),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            Err("not a readable GGUF file: it was cut short".into())
        }
        Err(_) => Err("not a readable GGUF file".into()),
    }
}

/// A file that lists no tensors: the number of them reads as zero.
pub(super) struct WithoutTensors<R> {
    reader: R,
    position: u64,
    /// Where the number of tensors stands.
    count: std::ops::Range<u64>,
}

impl<R: Read + Seek> WithoutTensors<R> {
    /// Goes to the file's beginning.
    pub(super) fn new(mut reader: R) -> io::Result<Self> {
        let mut version = [0; 4];
        reader.seek(SeekFrom::Start(4))?;
        reader.read_exact(&mut version)?;
        reader.rewind()?;
        let is_wide = u32::from_le_bytes(version) > 1;
        Ok(Self {
            reader,
            position: 0,
            count: if is_wide { 8..16 } else { 8..12 },
        })
    }
}

impl<R: Read> Read for WithoutTensors<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        if self.position < self.count.end {
            for (byte, place) in buffer[..count].iter_mut().zip(self.position..) {
                if self.count.contains(&place) {
                    *byte = 0;
                }
            }
        }
        self.position += count as u64;
        Ok(count)
    }
}

impl<R: Seek> Seek for WithoutTensors<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = self.reader.seek(to)?;
        Ok(self.position)
    }

    // Candle asks for it often, and any other way of answering would empty the reader's buffer.
    fn stream_position(&mut self) -> io::Result<u64> {
        Ok(self.position)
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
    fn tensors(&mut self) -> io::Result<Vec<Listed>> {
        let _magic = self.u32()?;
        self.wide = self.u32()? > 1;
        let tensors = self.length()?;
        for _ in 0..self.length()? {
            self.entry()?;
            let is_alignment = self.is_next(ALIGNMENT)?;
            self.string()?;
            let kind = self.u32()?;
            if is_alignment && kind == U32 {
                let alignment = self.u32()?;
                if !alignment.is_power_of_two() {
                    let message = format!("{ALIGNMENT} = {alignment}: expected a power of two");
                    return Err(io::Error::new(ErrorKind::QuotaExceeded, message));
                }
                continue;
            }
            self.value(kind, 0)?;
        }
        let mut list = Vec::new();
        for _ in 0..tensors {
            self.entry()?;
            list.push(self.tensor()?);
        }
        Ok(list)
    }

    /// Whether the text that comes next is `text`.
    fn is_next(&mut self, text: &str) -> io::Result<bool> {
        let start = if self.wide { 8 } else { 4 };
        let buffer = self.reader.fill_buf()?;
        let found = buffer.get(start..start + text.len());
        let length = buffer.first().copied().map(usize::from);
        Ok(length == Some(text.len()) && found == Some(text.as_bytes()))
    }

    fn tensor(&mut self) -> io::Result<Listed> {
        let length = self.length()?;
        self.text = self.text.saturating_add(length);
        self.check()?;
        let mut name = Vec::new();
        self.reader.by_ref().take(length).read_to_end(&mut name)?;
        if (name.len() as u64) < length {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let dimensions = self.u32()?;
        if dimensions > MOST_DIMENSIONS {
            return Err(ErrorKind::InvalidData.into());
        }
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            let length = usize::try_from(self.length()?).map_err(io::Error::other)?;
            shape.insert(0, length);
        }
        Ok(Listed {
            name: String::from_utf8(name).map_err(io::Error::other)?,
            shape,
            kind: self.u32()?,
            offset: self.u64()?,
        })
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
            self.u64()
        } else {
            self.u32().map(u64::from)
        }
    }

    fn u64(&mut self) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.reader.read_exact(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
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
