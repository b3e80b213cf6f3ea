//! Values of keys of lines that are JSON objects, found without parsing what is around them.

/// Keys of an object with the text of their values, in order; ends where the line is not as JSON
/// should be.
pub struct Members<'a> {
    line: &'a [u8],
    at: usize,
    first: bool,
}

impl<'a> Members<'a> {
    /// The members of the object that a line is.
    pub fn of(line: &'a [u8]) -> Self {
        let blanks = line.iter().take_while(|b| b.is_ascii_whitespace()).count();
        let at = match line.get(blanks) {
            Some(b'{') => blanks + 1,
            _ => line.len(),
        };
        Self {
            line,
            at,
            first: true,
        }
    }

    fn blanks(&mut self) {
        let rest = self.line.get(self.at..).unwrap_or_default();
        self.at += rest.iter().take_while(|b| b.is_ascii_whitespace()).count();
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        self.blanks();
        (self.line.get(self.at) == Some(&byte)).then(|| self.at += 1)
    }

    /// A string's inside; its quotes are passed.
    fn string(&mut self) -> Option<&'a [u8]> {
        self.take(b'"')?;
        let start = self.at;
        loop {
            let rest = self.line.get(self.at..)?;
            let next = memchr::memchr2(b'"', b'\\', rest)?;
            self.at += next + 1;
            match rest[next] {
                b'"' => return Some(&self.line[start..self.at - 1]),
                _ => self.at += 1,
            }
        }
    }

    /// A value as it is written.
    fn value(&mut self) -> Option<&'a [u8]> {
        self.blanks();
        let start = self.at;
        let mut depth = 0usize;
        loop {
            match self.line.get(self.at)? {
                b'"' => {
                    self.string()?;
                }
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' if depth > 0 => {
                    depth -= 1;
                    self.at += 1;
                }
                b'}' | b']' | b',' if depth == 0 => break,
                _ => {
                    self.at += 1;
                    continue;
                }
            }
            if depth == 0 {
                break;
            }
        }
        let value = self.line[start..self.at].trim_ascii_end();
        (!value.is_empty()).then_some(value)
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if !std::mem::take(&mut self.first) {
            self.take(b',')?;
        }
        let key = self.string()?;
        self.take(b':')?;
        Some((key, self.value()?))
    }
}

/// Appends the text of a value: of a string what it says, of others what is written. `None` for null.
pub fn text(value: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let inner = value
        .strip_prefix(b"\"")
        .and_then(|v| v.strip_suffix(b"\""));
    let Some(inner) = inner else {
        out.extend_from_slice(value);
        return (value != b"null").then_some(());
    };
    let mut at = 0;
    while let Some(next) = memchr::memchr(b'\\', &inner[at..]) {
        out.extend_from_slice(&inner[at..at + next]);
        at += next + 1;
        let letter = inner.get(at).copied().unwrap_or(b'\\');
        at += 1;
        let plain = match letter {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let (letter, len) = unicode(&inner[at.min(inner.len())..]);
                at += len;
                let mut utf8 = [0; 4];
                out.extend_from_slice(letter.encode_utf8(&mut utf8).as_bytes());
                continue;
            }
            other => other,
        };
        out.push(plain);
    }
    out.extend_from_slice(inner.get(at..).unwrap_or_default());
    Some(())
}

/// What follows `\u`, perhaps a pair of surrogates, and how many bytes that took.
fn unicode(text: &[u8]) -> (char, usize) {
    let unit = |text: &[u8]| {
        let digits = std::str::from_utf8(text.get(..4)?).ok()?;
        u32::from_str_radix(digits, 16).ok()
    };
    let Some(first) = unit(text) else {
        return (char::REPLACEMENT_CHARACTER, 0);
    };
    if let Some(letter) = char::from_u32(first) {
        return (letter, 4);
    }
    let second = text
        .get(4..6)
        .filter(|mark| *mark == b"\\u")
        .and_then(|_| unit(&text[6..]));
    let both = second.filter(|s| (0xdc00..0xe000).contains(s) && first < 0xdc00);
    let letter =
        both.and_then(|s| char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (s - 0xdc00)));
    match letter {
        Some(letter) => (letter, 10),
        None => (char::REPLACEMENT_CHARACTER, 4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(line: &str, key: &str) -> Option<String> {
        let mut members = Members::of(line.as_bytes());
        let (_, value) = members.find(|(k, _)| *k == key.as_bytes())?;
        let mut out = Vec::new();
        text(value, &mut out)?;
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn values_are_what_json_says() {
        let line = r#" {"a":1.50, "b" : "x\"y\\ \u00e9\ud83d\ude00\n", "c":{"a":[1,"}"]},"d":null,"e":"" } "#;
        assert_eq!(get(line, "a").as_deref(), Some("1.50"));
        assert_eq!(get(line, "b").as_deref(), Some("x\"y\\ \u{e9}\u{1f600}\n"));
        assert_eq!(get(line, "c").as_deref(), Some(r#"{"a":[1,"}"]}"#));
        assert_eq!(get(line, "d"), None);
        assert_eq!(get(line, "e").as_deref(), Some(""));
        assert_eq!(get(line, "f"), None);
    }

    #[test]
    fn what_is_no_object_has_no_members() {
        for line in [
            "",
            "x",
            "[1]",
            "{",
            "{\"a",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":}",
            "{\"a\":\"",
            "{\"a\\",
        ] {
            assert_eq!(Members::of(line.as_bytes()).count(), 0, "{line}");
        }
        assert_eq!(
            get(r#"{"a":"\ud83d x","b":"\u12"}"#, "a").as_deref(),
            Some("\u{fffd} x")
        );
        assert_eq!(get(r#"{"a":"\u12"}"#, "a").as_deref(), Some("\u{fffd}12"));
    }
}
