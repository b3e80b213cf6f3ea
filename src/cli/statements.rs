//! SQL text as statements, and the paths in it.

/// Splits text at the semicolons that end statements. The second part is what follows the last one.
pub(super) fn split(text: &str) -> (Vec<String>, String) {
    let mut statements = Vec::new();
    let mut start = 0;
    for (at, token) in tokens(text) {
        if token == Token::End {
            push(&mut statements, &text[start..at]);
            start = at + 1;
        }
    }
    (statements, text[start..].to_owned())
}

fn push(statements: &mut Vec<String>, text: &str) {
    if !is_blank(text) {
        statements.push(text.trim().to_owned());
    }
}

/// Whether text holds nothing but space and comments.
pub(super) fn is_blank(text: &str) -> bool {
    tokens(text).is_empty()
}

/// Paths in single quotes that stand where a table is named.
pub(super) fn quoted_paths(text: &str) -> Vec<String> {
    let mut paths = Vec::new();
    let mut table_next = false;
    // For each open parenthesis, whether it is a function's, and whether the list of tables of a
    // query goes on.
    let mut nested = vec![(false, false)];
    let mut last = String::new();
    for (_, token) in tokens(text) {
        let word = match &token {
            Token::Word(word) => word.to_ascii_uppercase(),
            _ => String::new(),
        };
        let (call, in_from) = nested
            .last_mut()
            .map_or((false, None), |n| (n.0, Some(&mut n.1)));
        match token {
            Token::Word(_) => {
                // `extract(year FROM x)`, `x IS DISTINCT FROM y`.
                let names = match word.as_str() {
                    "FROM" => !call && last != "DISTINCT",
                    other => other == "JOIN",
                };
                let ends = matches!(
                    word.as_str(),
                    "WHERE"
                        | "GROUP"
                        | "ORDER"
                        | "HAVING"
                        | "LIMIT"
                        | "ON"
                        | "USING"
                        | "SELECT"
                        | "UNION"
                        | "WINDOW"
                );
                if let Some(in_from) = in_from {
                    *in_from = (*in_from || names) && !ends;
                }
                table_next = names;
            }
            Token::Quoted(path) => {
                if table_next {
                    paths.push(path);
                }
                table_next = false;
            }
            Token::Other(',') => table_next = in_from.is_some_and(|f| *f),
            Token::Other('(') => {
                // A word before it that is no keyword calls a function, until a SELECT shows that a
                // query stands there.
                let keyword = matches!(
                    last.as_str(),
                    "" | "FROM"
                        | "JOIN"
                        | "IN"
                        | "AS"
                        | "EXISTS"
                        | "ANY"
                        | "ALL"
                        | "AND"
                        | "OR"
                        | "NOT"
                        | "UNION"
                        | "SELECT"
                        | "WHERE"
                        | "ON"
                );
                nested.push((!keyword, false));
                table_next = false;
            }
            Token::Other(')') => {
                if nested.len() > 1 {
                    nested.pop();
                }
                table_next = false;
            }
            Token::Other(_) | Token::End => table_next = false,
        }
        if word == "SELECT"
            && let Some(open) = nested.last_mut()
        {
            open.0 = false;
        }
        last = word;
    }
    paths
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    /// Text in single quotes.
    Quoted(String),
    End,
    Other(char),
}

/// The tokens of SQL with their places; comments and space are left out.
fn tokens(text: &str) -> Vec<(usize, Token)> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        match bytes[at] {
            b if b.is_ascii_whitespace() => at += 1,
            b'-' if bytes.get(at + 1) == Some(&b'-') => {
                at = text[at..].find('\n').map_or(bytes.len(), |n| at + n);
            }
            b'/' if bytes.get(at + 1) == Some(&b'*') => {
                at = text[at + 2..]
                    .find("*/")
                    .map_or(bytes.len(), |n| at + 2 + n + 2);
            }
            quote @ (b'\'' | b'"') => {
                let mut value = String::new();
                at += 1;
                loop {
                    let rest = &text[at.min(text.len())..];
                    let Some(close) = rest.find(char::from(quote)) else {
                        value.push_str(rest);
                        at = bytes.len();
                        break;
                    };
                    value.push_str(&rest[..close]);
                    at += close + 1;
                    if bytes.get(at) != Some(&quote) {
                        break;
                    }
                    value.push(char::from(quote));
                    at += 1;
                }
                tokens.push((
                    start,
                    match quote {
                        b'\'' => Token::Quoted(value),
                        _ => Token::Word(value),
                    },
                ));
            }
            b';' => {
                tokens.push((at, Token::End));
                at += 1;
            }
            _ => {
                let word = |c: char| c.is_alphanumeric() || c == '_';
                let length = text[at..].find(|c| !word(c)).unwrap_or(text.len() - at);
                if length > 0 {
                    tokens.push((at, Token::Word(text[at..at + length].to_owned())));
                    at += length;
                } else if let Some(other) = text[at..].chars().next() {
                    tokens.push((at, Token::Other(other)));
                    at += other.len_utf8();
                }
            }
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_at_semicolons_outside_of_quotes_and_comments() {
        let (statements, rest) = split("SELECT ';' -- no; end\n; SELECT \"a;b\" /* ; */;; x");
        assert_eq!(
            statements,
            ["SELECT ';' -- no; end", "SELECT \"a;b\" /* ; */"]
        );
        assert_eq!(rest, " x");
        assert_eq!(split("'it''s; '").0, Vec::<String>::new());
        assert!(is_blank(" -- nothing\n "));
    }

    #[test]
    fn paths_stand_where_tables_are_named() {
        let sql = "SELECT 'a.pil' FROM 'b.pil' AS b, 'c.pil' JOIN 'd.pil' ON b.x = 'e.pil' \
                   WHERE y IN (SELECT z FROM 'f.pil')";
        assert_eq!(quoted_paths(sql), ["b.pil", "c.pil", "d.pil", "f.pil"]);
        for text_only in [
            "SELECT * FROM t WHERE s IS DISTINCT FROM 'abc'",
            "SELECT * FROM t WHERE s IS NOT DISTINCT FROM 'abc'",
            "SELECT trim(BOTH 'x' FROM 'xax')",
            "SELECT extract(year FROM d), 'x' FROM t",
            "SELECT coalesce((SELECT max(s) FROM t), 'none')",
        ] {
            assert_eq!(quoted_paths(text_only), [""; 0], "{text_only}");
        }
        let sql =
            "SELECT coalesce((SELECT max(s) FROM 'b.pil'), 'none') FROM (SELECT * FROM 'a.pil')";
        assert_eq!(quoted_paths(sql), ["b.pil", "a.pil"]);
    }
}
