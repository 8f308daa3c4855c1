//! What stands in the `:value` of an operation.

use super::Wrong;
use super::lexer::{Lexer, Token};
use crate::blackbox::operations::{FOREIGN, Interner, Key, NO_OFFSET, Numbers, Operations, Record};

/// Keys and values by their names, and what the operation that is being read did with them.
#[derive(Default)]
pub(super) struct Values {
    pub operations: Operations,
    keys: Numbers<i64>,
    values: Interner,
    /// What the operation sent and polled.
    pub records: Vec<Record>,
    /// The keys that it asked for, or that moved meanwhile.
    pub listed: Vec<u32>,
}

impl Values {
    /// Another operation begins.
    pub fn clear(&mut self) {
        self.records.clear();
        self.listed.clear();
    }

    fn key(&mut self, number: i64) -> u32 {
        let operations = &mut self.operations;
        self.keys.number(number, || operations.add_key(Key { number, partition: None }))
    }

    fn value(&mut self, key: u32, name: i64) -> u32 {
        let (value, is_new) = self.values.number(key, name);
        if is_new {
            self.operations.add_value(name);
        }
        value
    }

    /// `[[:send 3 [41 17]] [:poll {2 [[8 5] [9 6]]}]]`
    pub fn micro_ops(&mut self, lexer: &mut Lexer) -> Result<(), Wrong> {
        open(lexer, "a vector of micro-operations")?;
        while enter(lexer, "a micro-operation such as `[:poll]` or `[:send 3 17]`")? {
            match lexer.next()? {
                Token::Keyword("send") => self.sent(lexer)?,
                Token::Keyword("poll") => self.polled(lexer)?,
                token => return Err(expected(lexer, &token, "`:send` or `:poll`")),
            }
        }
        Ok(())
    }

    /// `3 17]` or `3 [41 17]]`, where the offset may be `nil`.
    fn sent(&mut self, lexer: &mut Lexer) -> Result<(), Wrong> {
        let number = whole(lexer, "a key, a whole number")?;
        let key = self.key(number);
        let (offset, name) = match lexer.next()? {
            Token::Int(name) => (NO_OFFSET, name),
            Token::Open(b'[' | b'(') => {
                let offset = match lexer.next()? {
                    Token::Int(offset) => offset,
                    Token::Nil => NO_OFFSET,
                    token => return Err(expected(lexer, &token, "an offset, a whole number or `nil`")),
                };
                let name = whole(lexer, "a value, a whole number")?;
                close(lexer)?;
                (offset, name)
            }
            token => return Err(expected(lexer, &token, "a value, or `[offset value]`")),
        };
        close(lexer)?;
        let value = self.value(key, name);
        self.records.push(Record::sent(key, offset, value));
        Ok(())
    }

    /// `]` or `{2 [[8 5] [9 6]]}]`
    fn polled(&mut self, lexer: &mut Lexer) -> Result<(), Wrong> {
        match lexer.next()? {
            Token::Close(b']' | b')') => return Ok(()),
            Token::Nil => return close(lexer),
            Token::Open(b'{') => {}
            token => return Err(expected(lexer, &token, "a map from keys to pairs `[offset value]`")),
        }
        loop {
            let key = match lexer.next()? {
                Token::Close(b'}') => return close(lexer),
                Token::Int(number) => self.key(number),
                token => return Err(expected(lexer, &token, "a key, a whole number")),
            };
            open(lexer, "a vector of pairs `[offset value]`")?;
            while enter(lexer, "a pair `[offset value]`")? {
                self.pair(key, lexer)?;
            }
        }
    }

    fn pair(&mut self, key: u32, lexer: &mut Lexer) -> Result<(), Wrong> {
        let offset = whole(lexer, "an offset, a whole number")?;
        if offset < 0 {
            return Err(expected(lexer, &Token::Int(offset), "an offset, which is not negative"));
        }
        let value = match lexer.next()? {
            Token::Int(name) => self.value(key, name),
            Token::Nil => FOREIGN,
            token => return Err(expected(lexer, &token, "a value, a whole number or `nil`")),
        };
        close(lexer)?;
        self.records.push(Record::polled(key, offset, value));
        Ok(())
    }

    /// `[{:keys [1 2]} …]`: the keys that moved.
    pub fn moved(&mut self, lexer: &mut Lexer) -> Result<(), Wrong> {
        open(lexer, "a vector of maps `{:keys […]}`")?;
        loop {
            match lexer.next()? {
                Token::Close(b']' | b')') => return Ok(()),
                Token::Open(b'{') => {}
                token => return Err(expected(lexer, &token, "a map `{:keys […]}`")),
            }
            loop {
                match lexer.next()? {
                    Token::Close(b'}') => break,
                    Token::Keyword("keys") => self.key_list(lexer)?,
                    Token::Open(bracket) => {
                        lexer.skip_rest(bracket)?;
                        lexer.skip()?;
                    }
                    _ => lexer.skip()?,
                }
            }
        }
    }

    pub fn key_list(&mut self, lexer: &mut Lexer) -> Result<(), Wrong> {
        match lexer.next()? {
            Token::Open(_) => {}
            Token::Nil => return Ok(()),
            token => return Err(expected(lexer, &token, "a vector of keys")),
        }
        loop {
            match lexer.next()? {
                Token::Close(_) => return Ok(()),
                Token::Int(number) => {
                    let key = self.key(number);
                    self.listed.push(key);
                }
                token => return Err(expected(lexer, &token, "a key, a whole number")),
            }
        }
    }
}

/// True if a vector opens, false if the one around it closes.
fn enter(lexer: &mut Lexer, what: &str) -> Result<bool, Wrong> {
    match lexer.next()? {
        Token::Open(b'[' | b'(') => Ok(true),
        Token::Close(b']' | b')') => Ok(false),
        token => Err(expected(lexer, &token, what)),
    }
}

fn expected(lexer: &Lexer, token: &Token, what: &str) -> Wrong {
    Wrong::new(lexer.began, format!("expected {what}, found {}", token.told()))
}

fn whole(lexer: &mut Lexer, what: &str) -> Result<i64, Wrong> {
    match lexer.next()? {
        Token::Int(number) => Ok(number),
        token => Err(expected(lexer, &token, what)),
    }
}

fn open(lexer: &mut Lexer, what: &str) -> Result<(), Wrong> {
    match lexer.next()? {
        Token::Open(b'[' | b'(') => Ok(()),
        token => Err(expected(lexer, &token, what)),
    }
}

fn close(lexer: &mut Lexer) -> Result<(), Wrong> {
    match lexer.next()? {
        Token::Close(b']' | b')') => Ok(()),
        token => Err(expected(lexer, &token, "`]`")),
    }
}
