//! Templates of messages, for people: the words that messages have in common.
//!
//! Messages of one length and first word are grouped, and each joins the most similar template of
//! its group, whose differing words become `<*>` (He et al., *Drain: An Online Log Parsing Approach
//! with Fixed Depth Tree*, ICWS 2017). Words with digits are `<*>` from the start. What is learned
//! from a sample is kept; a message that fits none of it is its own template.

use super::classes::hash;
use super::keys::HashedMap;

/// What stands for words that differ.
pub const ANY: &[u8] = b"<*>";
/// Share of equal words that joins a message to a template.
const SIMILAR: f64 = 0.5;
/// Longest message in words that is learned from, and most templates of a group and of all.
const MOST_WORDS: usize = 120;
const MOST_IN_GROUP: usize = 100;
const MOST: usize = 2000;

/// Splits a message into words.
pub fn words(message: &[u8]) -> impl Iterator<Item = &[u8]> {
    let parts = message.split(|b| matches!(b, b' ' | b'\t'));
    parts.filter(|w| !w.is_empty())
}

fn masked(word: &[u8]) -> &[u8] {
    match word.iter().any(u8::is_ascii_digit) {
        true => ANY,
        false => word,
    }
}

/// Share of the messages of a sample that a template must have to be kept, and fewest messages.
const SHARE: usize = 1000;
const LEAST: usize = 3;
/// Most that are kept.
const MOST_KEPT: usize = 500;

/// Learned templates.
#[derive(Debug, Default)]
pub struct Templates {
    /// Words of each.
    all: Vec<Vec<Vec<u8>>>,
    /// Messages of each, and whether one of its words without digits differed.
    learned: Vec<(usize, bool)>,
    /// Templates by number of words and first word.
    groups: HashedMap<Vec<u32>>,
}

fn group(words: usize, first: &[u8]) -> u64 {
    super::classes::mix(hash(first), words as u64)
}

/// Learns templates from one message after the other.
#[derive(Debug, Default)]
pub struct Learner {
    templates: Templates,
    /// Hashes of each template's words, which are compared in their place.
    hashes: Vec<Vec<u64>>,
    /// Those of the message.
    own: Vec<u64>,
}

impl Learner {
    /// Learns from a message.
    pub fn add(&mut self, message: &[u8]) {
        let own = &mut self.own;
        own.clear();
        own.extend(
            words(message)
                .take(MOST_WORDS + 1)
                .map(|word| hash(masked(word))),
        );
        let Some(first) = words(message).next() else {
            return;
        };
        if own.len() > MOST_WORDS {
            return;
        }
        let templates = &mut self.templates;
        let key = group(own.len(), masked(first));
        let found = templates.groups.entry(key).or_default();
        let hashes = &mut self.hashes;
        let similar = |&t: &u32| {
            let same = hashes[t as usize].iter().zip(&*own);
            (same.filter(|(a, b)| a == b).count(), t)
        };
        let best = found.iter().map(similar).max_by_key(|(same, _)| *same);
        match best {
            Some((same, best)) if same as f64 >= SIMILAR * own.len() as f64 => {
                let best = best as usize;
                let (count, widened) = &mut templates.learned[best];
                *count += 1;
                if same == own.len() {
                    return;
                }
                let any = hash(ANY);
                let words = templates.all[best].iter_mut().zip(&mut hashes[best]);
                for ((word, hash), new) in words.zip(&*own) {
                    if hash != new && *hash != any {
                        (*word, *hash) = (ANY.to_vec(), any);
                        *widened = true;
                    }
                }
            }
            _ if found.len() < MOST_IN_GROUP && templates.all.len() < MOST => {
                found.push(templates.all.len() as u32);
                let words = words(message).map(|word| masked(word).to_vec());
                templates.all.push(words.collect());
                templates.learned.push((1, false));
                hashes.push(own.clone());
            }
            _ => {}
        }
    }

    /// What was learned.
    pub fn finish(self) -> Templates {
        self.templates
    }
}

impl Templates {
    /// The templates that are worth keeping, as texts: those of many messages, and only if a message
    /// does not tell the template by itself.
    pub fn to_texts(&self) -> Vec<Vec<u8>> {
        let all: usize = self.learned.iter().map(|(count, _)| count).sum();
        let least = (all / SHARE).max(LEAST);
        let mut kept: Vec<usize> = (0..self.all.len()).collect();
        kept.retain(|&i| {
            let learned = self.learned.get(i);
            learned.is_none_or(|(count, widened)| *widened && *count >= least)
        });
        kept.sort_by_key(|&i| std::cmp::Reverse(self.learned.get(i).map_or(0, |l| l.0)));
        kept.truncate(MOST_KEPT);
        kept.into_iter().map(|i| self.all[i].join(&b' ')).collect()
    }

    /// Templates from texts.
    pub fn of_texts<'t>(texts: impl Iterator<Item = &'t [u8]>) -> Self {
        let mut templates = Self::default();
        for text in texts {
            let words: Vec<Vec<u8>> = words(text).map(<[u8]>::to_vec).collect();
            let Some(first) = words.first() else { continue };
            let key = group(words.len(), first);
            let number = templates.all.len() as u32;
            templates.groups.entry(key).or_default().push(number);
            templates.all.push(words);
        }
        templates
    }

    /// The template of a message, as text: the one that fits with the most words, else the message
    /// itself without its words with digits.
    pub fn of(&self, message: &[u8], text: &mut Vec<u8>) {
        let words: Vec<&[u8]> = words(message).collect();
        let own: Vec<&[u8]> = words.iter().map(|w| masked(w)).collect();
        text.clear();
        let mut best: Option<(usize, &Vec<Vec<u8>>)> = None;
        let first = own.first().copied().unwrap_or_default();
        let group = self.groups.get(&group(words.len(), first));
        for &template in group.into_iter().flatten() {
            let template = &self.all[template as usize];
            if template.len() != own.len() {
                continue;
            }
            let mut same = 0;
            let fits = template.iter().zip(&own).all(|(a, b)| {
                same += usize::from(a == b);
                a == ANY || a == b
            });
            if fits && best.is_none_or(|(most, _)| same > most) {
                best = Some((same, template));
            }
        }
        let mut put = |word: &[u8]| {
            if !text.is_empty() {
                text.push(b' ');
            }
            text.extend_from_slice(word);
        };
        match best {
            Some((_, template)) => template.iter().for_each(|word| put(word)),
            None => own.iter().for_each(|word| put(word)),
        }
    }
}

/// The number of a template, the same in every file.
pub fn id(text: &[u8]) -> i64 {
    (hash(text) >> 1) as i64
}

/// The words of a message that its template does not tell.
pub fn variables<'m>(message: &'m [u8], template: &[u8]) -> Vec<&'m [u8]> {
    let pairs = words(message).zip(words(template));
    pairs
        .filter(|(_, of)| *of == ANY)
        .map(|(word, _)| word)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_differ_become_variables() {
        let messages = [
            "Receiving block blk_1 src: /10.0.0.1",
            "Receiving block blk_2 src: /10.0.0.9",
            "session opened for user root",
            "session opened for user guest",
            "session opened for user daemon",
        ];
        let mut learner = Learner::default();
        messages.iter().for_each(|m| learner.add(m.as_bytes()));
        let texts = learner.finish().to_texts();
        let templates = Templates::of_texts(texts.iter().map(Vec::as_slice));
        let of = |message: &str| {
            let mut text = Vec::new();
            templates.of(message.as_bytes(), &mut text);
            let variables = variables(message.as_bytes(), &text);
            let variables = variables
                .iter()
                .map(|v| String::from_utf8_lossy(v).into_owned());
            let variables: Vec<String> = variables.collect();
            (String::from_utf8(text).unwrap(), variables)
        };
        assert_eq!(
            of("Receiving  block blk_7 src: /h1 "),
            (
                "Receiving block <*> src: <*>".into(),
                vec!["blk_7".into(), "/h1".into()]
            )
        );
        assert_eq!(
            of("session opened for user x").0,
            "session opened for user <*>"
        );
        assert_eq!(of("never seen 5 times").0, "never seen <*> times");
        assert_eq!(of("").0, "");
    }
}
