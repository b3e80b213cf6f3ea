//! The dialect of a CSV file: found on its first bytes, kept in the schema's metadata.

use super::records::{Records, Separators};

/// Delimiters that are looked for, in order of preference.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// What an export needs to write the file in the same dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// Between cells.
    pub delimiter: u8,
    /// Lines end in `\r\n`.
    pub crlf: bool,
    /// Lines end in a lone `\r`.
    pub cr: bool,
    /// The file begins with a byte-order mark.
    pub mark: bool,
    /// The first line names the columns.
    pub header: bool,
    /// All names in the first line are quoted.
    pub quoted_names: bool,
    /// The last line ends without a newline.
    pub open_end: bool,
}

impl Default for Dialect {
    fn default() -> Self {
        Self {
            delimiter: b',',
            crlf: false,
            cr: false,
            mark: false,
            header: true,
            quoted_names: false,
            open_end: false,
        }
    }
}

impl Dialect {
    /// The dialect in words; the default says nothing.
    pub fn to_words(&self) -> String {
        let mut words = Vec::new();
        match self.delimiter {
            b',' => {}
            b'\t' => words.push("delimiter=tab".to_owned()),
            b' ' => words.push("delimiter=space".to_owned()),
            other => words.push(format!("delimiter={}", char::from(other))),
        }
        for (said, word) in [
            (self.crlf, "crlf"),
            (self.cr, "cr"),
            (self.mark, "bom"),
            (!self.header, "no-header"),
            (self.quoted_names, "quoted-names"),
            (self.open_end, "open-end"),
        ] {
            if said {
                words.push(word.to_owned());
            }
        }
        words.join(" ")
    }

    /// Reads the words; those it does not know change nothing.
    pub fn from_words(words: &str) -> Self {
        let mut dialect = Self::default();
        for word in words.split(' ') {
            match word {
                "crlf" => dialect.crlf = true,
                "cr" => dialect.cr = true,
                "bom" => dialect.mark = true,
                "no-header" => dialect.header = false,
                "quoted-names" => dialect.quoted_names = true,
                "open-end" => dialect.open_end = true,
                "delimiter=tab" => dialect.delimiter = b'\t',
                "delimiter=space" => dialect.delimiter = b' ',
                _ => {
                    if let Some([delimiter]) = word.strip_prefix("delimiter=").map(str::as_bytes) {
                        dialect.delimiter = *delimiter;
                    }
                }
            }
        }
        dialect
    }

    /// The line ending.
    pub(crate) fn newline(&self) -> &'static [u8] {
        match (self.crlf, self.cr) {
            (true, _) => b"\r\n",
            (_, true) => b"\r",
            _ => b"\n",
        }
    }
}

/// The separators of a file, from its first bytes; a delimiter that is given is kept.
pub(crate) fn separators(head: &[u8], whole: bool, given: Option<u8>, tab: bool) -> Separators {
    let newline = newline(head);
    let delimiter = given.unwrap_or_else(|| {
        let candidates = DELIMITERS.into_iter().filter(|d| !tab || *d != b',');
        let mut best = (0.0, if tab { b'\t' } else { b',' });
        for delimiter in candidates.chain(tab.then_some(b',')) {
            let score = score(head, whole, Separators { delimiter, newline });
            if score > best.0 {
                best = (score, delimiter);
            }
        }
        best.1
    });
    Separators { delimiter, newline }
}

/// `\r` where a file has it outside of quotes, and no `\n` there; else `\n`.
fn newline(head: &[u8]) -> u8 {
    let mut quoted = false;
    let mut lone = false;
    for b in head {
        match b {
            b'"' => quoted = !quoted,
            b'\n' if !quoted => return b'\n',
            b'\r' if !quoted => lone = true,
            _ => {}
        }
    }
    if lone { b'\r' } else { b'\n' }
}

/// How well a delimiter explains the head of a file: the share of lines that have as many cells as
/// the first, and a little for the number of cells. 0 where it never occurs.
fn score(head: &[u8], whole: bool, separators: Separators) -> f64 {
    let mut records = Records::new(head, "", separators);
    let mut counts = Vec::new();
    while let Ok(Some(record)) = records.next() {
        if !record.is_blank() {
            counts.push(record.len());
        }
        if counts.len() == 1_000 {
            break;
        }
    }
    // The last line of a sample is most often cut short.
    if !whole && counts.len() > 1 {
        counts.pop();
    }
    match counts.first() {
        Some(&first) if first > 1 => {
            let same = counts.iter().filter(|c| **c == first).count();
            let share = same as f64 / counts.len() as f64;
            share + (first as f64).ln() / 100.0
        }
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> char {
        separators(text.as_bytes(), true, None, false)
            .delimiter
            .into()
    }

    #[test]
    fn the_delimiter_that_every_line_agrees_on_wins() {
        assert_eq!(found("a,b\n1,2\n"), ',');
        assert_eq!(found("a;b\n1,5;2\n1;2,5\n"), ';');
        assert_eq!(found("a\tb\nx, y\tz\n"), '\t');
        assert_eq!(found("a|b|c\n1|2|3\n"), '|');
        assert_eq!(found("word\nother\n"), ',');
        assert_eq!(found("a,b\n\"x;y;z\",2\n"), ',');
    }

    #[test]
    fn dialects_survive_their_words() {
        let dialect = Dialect {
            delimiter: b'\t',
            crlf: true,
            cr: false,
            mark: true,
            header: false,
            quoted_names: true,
            open_end: true,
        };
        assert_eq!(Dialect::from_words(&dialect.to_words()), dialect);
        assert_eq!(Dialect::default().to_words(), "");
        assert_eq!(
            Dialect::from_words("delimiter=; later"),
            Dialect {
                delimiter: b';',
                ..Dialect::default()
            }
        );
    }
}
