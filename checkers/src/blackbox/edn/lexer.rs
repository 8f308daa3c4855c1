//! The words of an EDN text.

use super::Wrong;

/// One word.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Token<'a> {
    /// `{`, `[`, `(`; a set opens with `{` too.
    Open(u8),
    /// `}`, `]`, `)`.
    Close(u8),
    /// Without its colon.
    Keyword(&'a str),
    Int(i64),
    /// What stands between the quotes, as it stands there.
    Text(&'a str),
    Nil,
    Bool(bool),
    /// A symbol, a character, a number that is not whole or too large.
    Other(&'a str),
    /// `#_`: the next form is not there.
    Discard,
    End,
}

impl Token<'_> {
    /// For messages.
    pub fn told(&self) -> String {
        match self {
            Token::Open(bracket) | Token::Close(bracket) => format!("`{}`", *bracket as char),
            Token::Keyword(name) => format!("`:{name}`"),
            Token::Int(number) => format!("`{number}`"),
            Token::Text(text) => format!("the text \"{}\"", short(text)),
            Token::Nil => "`nil`".to_owned(),
            Token::Bool(value) => format!("`{value}`"),
            Token::Other(word) => format!("`{}`", short(word)),
            Token::Discard => "`#_`".to_owned(),
            Token::End => "the end of the file".to_owned(),
        }
    }
}

fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

/// Reads one word after the other.
#[derive(Clone)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    /// The next byte.
    pub at: usize,
    /// Where the last word began.
    pub began: usize,
}

impl<'a> Lexer<'a> {
    pub fn new(text: &'a str, at: usize) -> Lexer<'a> {
        Lexer { text, at, began: at }
    }

    /// The next word; what `#_` hides is left out.
    pub fn next(&mut self) -> Result<Token<'a>, Wrong> {
        let mut hidden = 0;
        loop {
            match self.word()? {
                Token::Discard => hidden += 1,
                token if hidden == 0 => return Ok(token),
                Token::Open(bracket) => {
                    self.skip_rest(bracket)?;
                    hidden -= 1;
                }
                token @ (Token::Close(_) | Token::End) => {
                    return Err(Wrong::new(self.began, format!("a form was to follow `#_`, found {}", token.told())));
                }
                _ => hidden -= 1,
            }
        }
    }

    /// Skips one form.
    pub fn skip(&mut self) -> Result<(), Wrong> {
        match self.next()? {
            Token::Open(bracket) => self.skip_rest(bracket),
            token @ (Token::Close(_) | Token::End) => {
                Err(Wrong::new(self.began, format!("a value was expected, found {}", token.told())))
            }
            _ => Ok(()),
        }
    }

    /// Skips to the end of what was opened, without looking at each word: most of a history is skipped once and read once.
    pub fn skip_rest(&mut self, bracket: u8) -> Result<(), Wrong> {
        let (opened, bytes) = (self.began, self.text.as_bytes());
        let mut open = vec![bracket];
        while let Some(bracket) = open.last() {
            self.began = self.at;
            let Some(byte) = bytes.get(self.at) else { return Err(self.cut(opened)) };
            self.at += 1;
            match byte {
                b'{' | b'[' | b'(' => open.push(*byte),
                b'}' | b']' | b')' if *byte == closing(*bracket) => {
                    open.pop();
                }
                b'}' | b']' | b')' => return Err(self.mismatch(*bracket, *byte)),
                b'"' => {
                    self.at -= 1;
                    self.string()?;
                }
                b'\\' => self.at += self.text[self.at..].chars().next().map_or(0, char::len_utf8),
                b';' => self.at += line_left(&bytes[self.at..]),
                _ => {}
            }
        }
        Ok(())
    }

    pub fn mismatch(&self, open: u8, close: u8) -> Wrong {
        let wanted = closing(open) as char;
        Wrong::new(self.began, format!("`{wanted}` was expected, found `{}`", close as char))
    }

    /// The text ends inside of what began at `opened`.
    pub fn cut(&self, opened: usize) -> Wrong {
        let line = Wrong::new(opened, "").in_text(self.text).line;
        Wrong::new(self.text.len(), format!("the history is cut: it ends inside of what begins on line {line}"))
    }

    fn word(&mut self) -> Result<Token<'a>, Wrong> {
        let bytes = self.text.as_bytes();
        loop {
            self.skip_space();
            self.began = self.at;
            let Some(byte) = bytes.get(self.at) else { return Ok(Token::End) };
            match (*byte, bytes.get(self.at + 1)) {
                (bracket @ (b'{' | b'[' | b'('), _) => return Ok(self.took(1, Token::Open(bracket))),
                (bracket @ (b'}' | b']' | b')'), _) => return Ok(self.took(1, Token::Close(bracket))),
                (b'"', _) => return self.string(),
                (b'#', Some(b'{')) => return Ok(self.took(2, Token::Open(b'{'))),
                (b'#', Some(b'_')) => return Ok(self.took(2, Token::Discard)),
                (b'#', Some(b'#')) => return Ok(Token::Other(self.atom(2))),
                // A tag: what it tags is read as it stands.
                (b'#', _) => {
                    self.atom(1);
                }
                (b'\\', _) => {
                    let character = self.text[self.at + 1..].chars().next().map_or(0, char::len_utf8);
                    return Ok(Token::Other(self.atom(1 + character)));
                }
                (b'0'..=b'9', _) => return Ok(self.number()),
                (b':', _) => return Ok(Token::Keyword(&self.atom(1)[1..])),
                _ => return Ok(plain(self.atom(1))),
            }
        }
    }

    fn took(&mut self, bytes: usize, token: Token<'a>) -> Token<'a> {
        self.at += bytes;
        token
    }

    fn skip_space(&mut self) {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            match byte {
                b';' => self.at += line_left(&bytes[self.at..]),
                b',' => self.at += 1,
                byte if byte.is_ascii_whitespace() => self.at += 1,
                _ => return,
            }
        }
    }

    /// At least so many bytes, and then to the next that ends a word.
    fn atom(&mut self, least: usize) -> &'a str {
        let bytes = self.text.as_bytes();
        let mut end = self.at + least;
        // What ends a word is ASCII: so a word ends where a character does.
        while bytes.get(end).is_some_and(|byte| !ends_word(*byte)) {
            end += 1;
        }
        let word = &self.text[self.at..end];
        self.at = end;
        word
    }

    /// Most words are whole numbers of a few digits.
    fn number(&mut self) -> Token<'a> {
        let bytes = self.text.as_bytes();
        let (mut end, mut number) = (self.at, 0i64);
        while let Some(digit @ b'0'..=b'9') = bytes.get(end) {
            if end - self.at == 18 {
                break;
            }
            number = number * 10 + i64::from(digit - b'0');
            end += 1;
        }
        if bytes.get(end).is_none_or(|byte| ends_word(*byte)) {
            self.at = end;
            return Token::Int(number);
        }
        plain(self.atom(1))
    }

    fn string(&mut self) -> Result<Token<'a>, Wrong> {
        let bytes = self.text.as_bytes();
        let mut end = self.at + 1;
        loop {
            match bytes.get(end) {
                Some(b'"') => break,
                Some(b'\\') => end += 2,
                Some(_) => end += 1,
                None => return Err(self.cut(self.began)),
            }
        }
        let text = &self.text[self.at + 1..end];
        self.at = end + 1;
        Ok(Token::Text(text))
    }
}

fn line_left(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len())
}

fn ends_word(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, b',' | b'{' | b'}' | b'[' | b']' | b'(' | b')' | b'"' | b';')
}

fn closing(bracket: u8) -> u8 {
    match bracket {
        b'{' => b'}',
        b'[' => b']',
        _ => b')',
    }
}

fn plain(word: &str) -> Token<'_> {
    match word {
        "nil" => Token::Nil,
        "true" => Token::Bool(true),
        "false" => Token::Bool(false),
        _ => match word.strip_suffix('N').unwrap_or(word).parse() {
            Ok(number) => Token::Int(number),
            Err(_) => Token::Other(word),
        },
    }
}
