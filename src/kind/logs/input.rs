//! Lines out of any reader, in batches, whatever their bytes.

use std::io::Read;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, DictionaryArray, Int32Array, Int64Array, StringArray};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use crate::error::{Error, Result};

/// A batch is handed on when it has this many bytes of text.
const BATCH_BYTES: usize = 4 << 20;
/// Or this many lines.
const BATCH_LINES: usize = 1 << 16;
/// Fewest bytes that are read at once.
const READ: usize = 256 << 10;
/// Room that is left beyond them, in which a reader is asked whether there is more.
const PROBE: usize = 64;
/// The longest line that fits a chunk.
const LONGEST: usize = 1 << 30;

/// The schema of the batches: exact lines, the file they are of, their number in it from 1.
pub(super) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("text", DataType::Binary, false),
        Field::new("file", file_type(), false),
        Field::new("line_no", DataType::Int64, false),
    ]))
}

fn file_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// Splits a reader into lines after each `\n`; terminators stay with their lines, and bytes are
/// never looked at otherwise.
pub struct LineReader<R> {
    reader: R,
    name: Arc<StringArray>,
    line: i64,
    buffer: Vec<u8>,
    ended: bool,
    /// Bytes that came out of the reader.
    pub bytes: u64,
}

impl<R: Read> LineReader<R> {
    /// Lines of a reader; `name` is what the column `file` says.
    pub fn new(reader: R, name: &str) -> Self {
        Self {
            reader,
            name: Arc::new(StringArray::from(vec![name])),
            line: 0,
            buffer: Vec::new(),
            ended: false,
            bytes: 0,
        }
    }

    /// The next lines; `None` at the end.
    pub fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let mut ends = Vec::new();
        let mut looked = 0;
        loop {
            for at in memchr::memchr_iter(b'\n', &self.buffer[looked..]) {
                ends.push(looked + at + 1);
                if ends.len() == BATCH_LINES {
                    break;
                }
            }
            looked = self.buffer.len();
            let full =
                ends.len() == BATCH_LINES || (self.buffer.len() >= BATCH_BYTES && !ends.is_empty());
            if full {
                break;
            }
            if self.ended {
                let last = ends.last().copied().unwrap_or(0);
                if last < self.buffer.len() {
                    ends.push(self.buffer.len());
                }
                break;
            }
            if self.buffer.len() > LONGEST && ends.is_empty() {
                return Err(Error::invalid(format!(
                    "line {} of {} is longer than 1 GiB; such a file is not a log",
                    self.line + 1,
                    self.name.value(0)
                )));
            }
            self.fill()?;
        }
        let Some(&end) = ends.last() else {
            return Ok(None);
        };
        // Fresh memory costs more than copying: there is room for a batch only if one may follow.
        let mut rest = match self.ended {
            true => Vec::new(),
            false => Vec::with_capacity(BATCH_BYTES + 2 * READ),
        };
        rest.extend_from_slice(&self.buffer[end..]);
        self.buffer.truncate(end);
        let text = std::mem::replace(&mut self.buffer, rest);
        let rows = ends.len();
        let offsets = std::iter::once(0).chain(ends.iter().map(|&e| e as i32));
        let text = BinaryArray::try_new(
            OffsetBuffer::new(ScalarBuffer::from_iter(offsets)),
            Buffer::from_vec(text),
            None,
        )?;
        let name: ArrayRef = Arc::clone(&self.name) as ArrayRef;
        let file = DictionaryArray::try_new(Int32Array::from(vec![0; rows]), name)?;
        let numbers = self.line + 1..=self.line + rows as i64;
        self.line += rows as i64;
        Ok(Some(RecordBatch::try_new(
            schema(),
            vec![
                Arc::new(text),
                Arc::new(file),
                Arc::new(Int64Array::from_iter_values(numbers)),
            ],
        )?))
    }

    fn fill(&mut self) -> Result<()> {
        // Little at first, since many logs are small files; then as much again, up to a batch.
        let len = self.buffer.len();
        let wanted = len.min(BATCH_BYTES.saturating_sub(len)).max(READ);
        self.buffer.reserve(wanted + PROBE);
        let mut piece = (&mut self.reader).take(wanted as u64);
        let read = piece
            .read_to_end(&mut self.buffer)
            .map_err(|e| Error::io(format!("cannot read {} to its end", self.name.value(0)), e))?;
        self.bytes += read as u64;
        self.ended = read < wanted;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, AsArray};

    fn lines(text: &[u8]) -> Vec<Vec<u8>> {
        let mut reader = LineReader::new(text, "x");
        let mut all = Vec::new();
        while let Some(batch) = reader.next_batch().unwrap() {
            let text = batch.column(0).as_binary::<i32>();
            all.extend((0..text.len()).map(|i| text.value(i).to_vec()));
        }
        all
    }

    #[test]
    fn lines_end_after_line_feeds_and_nowhere_else() {
        let text = b"a\r\nb\rc\0\xff\n\n\xe2\x80\xa8d";
        let all = lines(text);
        assert_eq!(all.concat(), text);
        assert_eq!(all.len(), 4);
        assert_eq!(all[3], b"\xe2\x80\xa8d");
        assert!(lines(b"").is_empty());
        assert_eq!(lines(b"\n"), [b"\n"]);
    }

    #[test]
    fn lines_longer_than_a_batch_stay_whole() {
        let mut text = vec![b'x'; 9 << 20];
        text.extend_from_slice(b"\nlast");
        let all = lines(&text);
        assert_eq!(all.len(), 2);
        assert_eq!(all[1], b"last");
    }
}
