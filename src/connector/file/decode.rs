//! Bytes of any encoding as UTF-8, piece by piece.

use std::io::{self, Read};

use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8};

/// Reads UTF-8 out of a file that may be written in another encoding. A byte order mark decides first, then the given
/// encoding, then UTF-8. A byte sequence that the encoding does not know is an error, never a replacement character.
pub struct Utf8<R> {
    inner: R,
    decoder: Decoder,
    raw: Vec<u8>,
    text: Vec<u8>,
    taken: usize,
    offset: u64,
    ended: bool,
}

impl<R: Read> Utf8<R> {
    /// Wraps a reader.
    pub fn new(inner: R, encoding: Option<&'static Encoding>) -> Self {
        let decoder = encoding.unwrap_or(UTF_8).new_decoder(); // minds byte order marks
        Self { inner, decoder, raw: Vec::new(), text: Vec::new(), taken: 0, offset: 0, ended: false }
    }

    fn fill(&mut self) -> io::Result<()> {
        self.taken = 0;
        self.raw.resize(64 << 10, 0);
        let count = self.inner.read(&mut self.raw)?;
        self.raw.truncate(count);
        self.ended = count == 0;
        let room = self.decoder.max_utf8_buffer_length_without_replacement(count).unwrap_or(256 << 10);
        self.text.resize(room, 0);
        let (result, read, written) =
            self.decoder.decode_to_utf8_without_replacement(&self.raw, &mut self.text, self.ended);
        self.text.truncate(written);
        if let DecoderResult::Malformed(..) = result {
            let why = format!(
                "byte {} is not {}; set `encoding`, for example windows-1252",
                self.offset + read as u64,
                self.decoder.encoding().name()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        self.offset += read as u64;
        Ok(())
    }
}

impl<R: Read> Read for Utf8<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.text.len() {
            if self.ended {
                return Ok(0);
            }
            self.fill()?;
        }
        let count = buffer.len().min(self.text.len() - self.taken);
        buffer[..count].copy_from_slice(&self.text[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}
