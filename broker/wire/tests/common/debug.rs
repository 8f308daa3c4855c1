//! Reads what `{:?}` prints of a message into JSON, so that messages can be compared by field names.

use serde_json::{Map, Value};

/// Parses the debug text of a struct.
pub fn to_json(text: &str) -> Value {
    let mut parser = Parser { rest: text };
    let value = parser.value();
    assert!(parser.rest.trim().is_empty(), "left over: {}", parser.rest);
    value
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, token: &str) -> bool {
        self.skip();
        let found = self.rest.strip_prefix(token);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    fn word(&mut self) -> &'a str {
        self.skip();
        let end = self.rest.find(|c: char| !(c.is_alphanumeric() || "_-+.".contains(c))).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn value(&mut self) -> Value {
        self.skip();
        if self.eat("[") {
            return self.list();
        }
        if self.eat("{") {
            assert!(self.eat("}"), "only empty maps are expected");
            return Value::Null;
        }
        if self.eat("b\"") {
            return Value::String(format!(
                "0x{}",
                self.quoted_bytes().iter().map(|b| format!("{b:02x}")).collect::<String>()
            ));
        }
        if self.eat("\"") {
            return Value::String(self.quoted());
        }
        let word = self.word();
        if self.eat("{") {
            return self.fields();
        }
        if self.eat("(") {
            let inner = if word == "Uuid" { uuid(self.word()) } else { self.value() };
            assert!(self.eat(")"), "a closing parenthesis");
            return inner;
        }
        scalar(word)
    }

    fn list(&mut self) -> Value {
        let mut items = Vec::new();
        while !self.eat("]") {
            items.push(self.value());
            self.eat(",");
        }
        Value::Array(items)
    }

    fn fields(&mut self) -> Value {
        let mut fields = Map::new();
        while !self.eat("}") {
            let name = self.word().to_owned();
            assert!(self.eat(":"), "a colon after {name}");
            let value = self.value();
            fields.insert(name, value);
            self.eat(",");
        }
        Value::Object(fields)
    }

    /// The text up to the closing quote, with its escapes.
    fn raw(&mut self) -> &'a str {
        let mut escaped = false;
        for (at, c) in self.rest.char_indices() {
            match c {
                '"' if !escaped => {
                    let raw = &self.rest[..at];
                    self.rest = &self.rest[at + 1..];
                    return raw;
                }
                '\\' => escaped = !escaped,
                _ => escaped = false,
            }
        }
        panic!("no closing quote");
    }

    fn quoted(&mut self) -> String {
        let mut out = String::new();
        let mut chars = self.raw().chars();
        while let Some(c) = chars.next() {
            if c != '\\' {
                out.push(c);
                continue;
            }
            match chars.next().expect("an escape") {
                'n' => out.push('\n'),
                'r' => out.push('\r'),
                't' => out.push('\t'),
                '0' => out.push('\0'),
                'u' => {
                    let digits: String = chars.by_ref().skip(1).take_while(|c| *c != '}').collect();
                    let code = u32::from_str_radix(&digits, 16).expect("hex digits");
                    out.push(char::from_u32(code).expect("a scalar value"));
                }
                other => out.push(other),
            }
        }
        out
    }

    fn quoted_bytes(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut chars = self.raw().chars();
        while let Some(c) = chars.next() {
            if c != '\\' {
                out.push(c as u8);
                continue;
            }
            out.push(match chars.next().expect("an escape") {
                'n' => b'\n',
                'r' => b'\r',
                't' => b'\t',
                '0' => 0,
                'x' => {
                    let digits: String = chars.by_ref().take(2).collect();
                    u8::from_str_radix(&digits, 16).expect("hex digits")
                }
                other => other as u8,
            });
        }
        out
    }
}

fn scalar(word: &str) -> Value {
    match word {
        "None" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        // A struct without fields.
        name if name.starts_with(char::is_uppercase) => Value::Object(Map::new()),
        // The other codec prints UUIDs in groups of hex digits.
        hex if hex.len() == 36 => {
            uuid(&u128::from_str_radix(&hex.replace('-', ""), 16).expect("hex digits").to_string())
        }
        number => Value::from(number.parse::<i64>().unwrap_or_else(|_| panic!("`{number}` is no number"))),
    }
}

fn uuid(decimal: &str) -> Value {
    Value::String(klamm_base::Uuid(decimal.parse().expect("a number of 128 bits")).to_string())
}

/// `currentLeaderEpoch` to `current_leader_epoch`.
pub fn snake(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// Asserts that `ours` has every field of Kafka's own decoding with the same value. Returns how many scalars were compared.
pub fn assert_has(ours: &Value, kafka: &Value, place: &str) -> usize {
    match kafka {
        Value::Object(fields) => {
            let mut compared = 0;
            for (name, value) in fields {
                if name == "recordsSizeInBytes" {
                    let bytes = ours["records"].as_str().map_or(0, |text| (text.len() - 2) / 2);
                    assert_eq!(Value::from(bytes), *value, "{place}.{name}");
                    compared += 1;
                    continue;
                }
                let field = ours.get(snake(name)).unwrap_or_else(|| panic!("{place}: no field {name}"));
                compared += assert_has(field, value, &format!("{place}.{name}"));
            }
            compared
        }
        Value::Array(items) => {
            let ours = ours.as_array().unwrap_or_else(|| panic!("{place}: {ours} is no array"));
            assert_eq!(ours.len(), items.len(), "{place}");
            items
                .iter()
                .zip(ours)
                .enumerate()
                .map(|(at, (kafka, ours))| assert_has(ours, kafka, &format!("{place}[{at}]")))
                .sum()
        }
        scalar => {
            assert_eq!(ours, scalar, "{place}");
            1
        }
    }
}
