//! How the cells of a CSV column are spelled: what a typed column needs to print its text back.
//!
//! The style travels in the field's metadata under [`STYLE_KEY`], as words separated by spaces, and
//! the file's dialect in the schema's metadata under the same key.

use super::super::number::FloatStyle;

/// Metadata key of a column's style and of a schema's dialect.
pub const STYLE_KEY: &str = "pilaster.csv";

/// Spellings of a missing value, beside the empty cell, that a column of numbers, dates or booleans
/// may use; the column must use only one, and prints it back.
pub(crate) const MISSING: [&str; 14] = [
    "NA", "N/A", "NULL", "null", "None", "none", "?", "\\N", "#N/A", "NaT", "n/a", "-", ".", "nan",
];

/// How a missing value is spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Missing {
    /// Nothing between the delimiters.
    #[default]
    Empty,
    /// `""`.
    QuotedEmpty,
    /// One of the known words, by its place in the list.
    Word(u8),
    /// Such a word, always in quotes.
    QuotedWord(u8),
}

/// The one spelling of a boolean column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BoolStyle {
    /// `true` and `false`.
    #[default]
    Lower,
    /// `True` and `False`.
    Title,
    /// `TRUE` and `FALSE`.
    Upper,
}

/// The one form of a timestamp column: `2024-01-31T23:59:58.123Z` and its relatives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeForm {
    /// A space, and not a `T`, stands between date and time.
    pub space: bool,
    /// Seconds are written.
    pub seconds: bool,
    /// Digits of the fraction of a second.
    pub fraction: u8,
    /// The zone behind the time.
    pub zone: Zone,
}

/// What stands behind a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// Nothing.
    None,
    /// `Z`.
    Utc,
    /// `+hh:mm` or `-hh:mm`, in minutes; `negative` keeps `-00:00` apart.
    Offset {
        /// East of Greenwich.
        minutes: i16,
        /// Written with a minus sign.
        negative: bool,
    },
}

/// How a column's cells print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    /// How nulls are spelled.
    pub missing: Missing,
    /// Every value is quoted.
    pub quoted: bool,
    /// The header has no name for the column.
    pub unnamed: bool,
    /// Form of a float.
    pub float: FloatStyle,
    /// Spelling of booleans.
    pub boolean: BoolStyle,
    /// Form of a timestamp.
    pub time: Option<TimeForm>,
}

impl Style {
    /// The words, empty for the default style.
    pub fn to_words(&self) -> String {
        let mut words = Vec::new();
        match self.missing {
            Missing::Empty => {}
            Missing::QuotedEmpty => words.push("null=\"\"".to_owned()),
            Missing::Word(w) => words.push(format!("null={}", missing_word(w))),
            Missing::QuotedWord(w) => words.push(format!("null=\"{}\"", missing_word(w))),
        }
        for (said, word) in [
            (self.quoted, "quoted"),
            (self.unnamed, "unnamed"),
            (self.float.point, "point"),
            (self.float.exponent, "exponent"),
            (self.float.larger, "larger"),
            (self.boolean == BoolStyle::Title, "True"),
            (self.boolean == BoolStyle::Upper, "TRUE"),
        ] {
            if said {
                words.push(word.to_owned());
            }
        }
        if let Some(form) = &self.time {
            words.push(format!("time={}", form.pattern()));
        }
        words.join(" ")
    }

    /// Reads the words; those it does not know change nothing.
    pub fn from_words(words: &str) -> Self {
        let mut style = Self::default();
        for word in words.split(' ') {
            match word {
                "quoted" => style.quoted = true,
                "unnamed" => style.unnamed = true,
                "point" => style.float.point = true,
                "exponent" => style.float.exponent = true,
                "larger" => style.float.larger = true,
                "True" => style.boolean = BoolStyle::Title,
                "TRUE" => style.boolean = BoolStyle::Upper,
                "null=\"\"" => style.missing = Missing::QuotedEmpty,
                _ => {
                    if let Some(form) = word.strip_prefix("time=") {
                        style.time = TimeForm::from_pattern(form);
                    }
                    if let Some(spelling) = word.strip_prefix("null=") {
                        let place = |text| MISSING.iter().position(|m| *m == text);
                        let bare = spelling.trim_matches('"');
                        match (place(spelling), place(bare)) {
                            (Some(at), _) => style.missing = Missing::Word(at as u8),
                            (_, Some(at)) => style.missing = Missing::QuotedWord(at as u8),
                            _ => {}
                        }
                    }
                }
            }
        }
        style
    }
}

/// The word at a place of the list of missing values.
pub(crate) fn missing_word(at: u8) -> &'static str {
    MISSING.get(usize::from(at)).copied().unwrap_or_default()
}

impl TimeForm {
    /// The form as a pattern: `T:s3Z` is a T, seconds, three digits and a Z.
    fn pattern(&self) -> String {
        let zone = match self.zone {
            Zone::None => String::new(),
            Zone::Utc => "Z".to_owned(),
            Zone::Offset { minutes, negative } => {
                let sign = if negative { '-' } else { '+' };
                let size = minutes.unsigned_abs();
                format!("{sign}{:02}:{:02}", size / 60, size % 60)
            }
        };
        format!(
            "{}{}{}{zone}",
            if self.space { '_' } else { 'T' },
            if self.seconds { 's' } else { 'm' },
            self.fraction,
        )
    }

    fn from_pattern(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let space = match bytes.first()? {
            b'_' => true,
            b'T' => false,
            _ => return None,
        };
        let seconds = match bytes.get(1)? {
            b's' => true,
            b'm' => false,
            _ => return None,
        };
        let fraction = bytes.get(2)?.wrapping_sub(b'0');
        if fraction > 9 {
            return None;
        }
        let zone = super::cell::zone(bytes.get(3..)?)?;
        Some(Self {
            space,
            seconds,
            fraction,
            zone,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn styles_survive_their_words() {
        let zones = [
            Zone::None,
            Zone::Utc,
            Zone::Offset {
                minutes: -330,
                negative: true,
            },
            Zone::Offset {
                minutes: 0,
                negative: true,
            },
            Zone::Offset {
                minutes: 90,
                negative: false,
            },
        ];
        for zone in zones {
            for missing in [
                Missing::Empty,
                Missing::QuotedEmpty,
                Missing::Word(3),
                Missing::QuotedWord(7),
            ] {
                let style = Style {
                    missing,
                    quoted: true,
                    unnamed: false,
                    float: FloatStyle {
                        point: true,
                        exponent: true,
                        larger: true,
                    },
                    boolean: BoolStyle::Upper,
                    time: Some(TimeForm {
                        space: true,
                        seconds: true,
                        fraction: 6,
                        zone,
                    }),
                };
                assert_eq!(Style::from_words(&style.to_words()), style);
            }
        }
        assert_eq!(Style::default().to_words(), "");
        assert_eq!(
            Style::from_words("new-word null=what time=?"),
            Style::default()
        );
    }
}
