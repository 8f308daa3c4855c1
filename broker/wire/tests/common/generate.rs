//! Writes arbitrary valid messages, straight from the schemas and without the generated code.

use klamm_wire_schema::{Field, Message, Prim, Source, Struct, Type};

/// Decisions, drawn from bytes so that proptest can shrink them; zero when they are used up.
pub struct Choices<'a> {
    bytes: std::slice::Iter<'a, u8>,
}

impl<'a> Choices<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Choices { bytes: bytes.iter() }
    }

    fn next(&mut self) -> u8 {
        self.bytes.next().copied().unwrap_or(0)
    }

    fn below(&mut self, below: u8) -> u8 {
        self.next() % below
    }
}

/// All schemas.
pub fn schemas() -> Vec<Message> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let mut texts: Vec<(String, String)> = Vec::new();
    for entry in std::fs::read_dir(folder).expect("schemas") {
        let path = entry.expect("an entry").path();
        texts.push((path.display().to_string(), std::fs::read_to_string(path).expect("a schema")));
    }
    texts.sort();
    let sources: Vec<Source<'_>> = texts.iter().map(|(name, text)| Source { name, text }).collect();
    klamm_wire_schema::parse(&sources).expect("the crate's own schemas")
}

/// An arbitrary message in `version`, as bytes.
pub fn bytes_of(message: &Message, version: i16, choices: &mut Choices<'_>) -> Vec<u8> {
    let mut writer = Writer { message, version, flexible: version >= message.flexible_from, out: Vec::new() };
    writer.fields(&message.structs[0], Some(choices));
    writer.out
}

struct Writer<'m> {
    message: &'m Message,
    version: i16,
    flexible: bool,
    out: Vec<u8>,
}

/// Where there are no choices, the default is written.
type Maybe<'c, 'b> = Option<&'c mut Choices<'b>>;

impl Writer<'_> {
    fn fields(&mut self, item: &Struct, mut choices: Maybe<'_, '_>) {
        let present: Vec<&Field> = item.fields.iter().filter(|field| field.versions.contains(self.version)).collect();
        let is_tagged = |field: &Field| field.tag.filter(|tag| tag.versions.contains(self.version)).is_some();
        let (mut tagged, plain): (Vec<&Field>, Vec<&Field>) = present.iter().partition(|field| is_tagged(field));
        for field in plain {
            self.field(field, choices.as_deref_mut());
        }
        if !self.flexible {
            return;
        }
        tagged.sort_by_key(|field| field.tag.map(|tag| tag.number));
        let mut bodies = Vec::new();
        for field in tagged {
            let body = self.apart(|writer| writer.field(field, choices.as_deref_mut()));
            let default = self.apart(|writer| writer.field(field, None));
            if body != default {
                bodies.push((field.tag.map_or(0, |tag| tag.number), body));
            }
        }
        self.unsigned(bodies.len() as u64);
        for (tag, body) in bodies {
            self.unsigned(u64::from(tag));
            self.unsigned(body.len() as u64);
            self.out.extend(body);
        }
    }

    fn apart(&mut self, write: impl FnOnce(&mut Self)) -> Vec<u8> {
        let before = std::mem::take(&mut self.out);
        write(self);
        std::mem::replace(&mut self.out, before)
    }

    fn unsigned(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }

    /// A length or count; `None` for null.
    fn length(&mut self, length: Option<usize>, short: bool) {
        if self.flexible {
            self.unsigned(length.map_or(0, |length| length as u64 + 1));
        } else if short {
            self.out.extend(length.map_or(-1, |length| length as i16).to_be_bytes());
        } else {
            self.out.extend(length.map_or(-1, |length| length as i32).to_be_bytes());
        }
    }

    fn field(&mut self, field: &Field, choices: Maybe<'_, '_>) {
        let Some(choices) = choices else {
            return self.default(field);
        };
        let may_be_null = field.nullable.is_some_and(|versions| versions.contains(self.version));
        if may_be_null && choices.below(4) == 1 {
            return self.null(&field.ty);
        }
        if may_be_null && matches!(field.ty, Type::Struct(_)) {
            self.out.push(1);
        }
        self.value(&field.ty, choices);
    }

    fn null(&mut self, ty: &Type) {
        match ty {
            Type::Struct(_) => self.out.push(0),
            ty => self.length(None, *ty == Type::Prim(Prim::String)),
        }
    }

    fn default(&mut self, field: &Field) {
        match (&field.ty, field.default.as_deref()) {
            (ty, Some("null")) => self.null(ty),
            (Type::Struct(name), _) => {
                self.out.extend(field.nullable.map(|_| 1));
                self.fields(self.message.get(name), None)
            }
            (Type::Array(_), _) => self.length(Some(0), false),
            (Type::Prim(prim), _) if prim.has_length() => self.length(Some(0), *prim == Prim::String),
            (Type::Prim(Prim::Bool), text) => self.out.push(u8::from(text == Some("true"))),
            (Type::Prim(prim), text) => {
                let number: i64 = text.unwrap_or("0").parse().expect("an integer default");
                self.out.extend(&number.to_be_bytes()[8 - width(*prim).min(8)..]);
                self.out.extend(vec![0; width(*prim) - width(*prim).min(8)]);
            }
        }
    }

    fn value(&mut self, ty: &Type, choices: &mut Choices<'_>) {
        match ty {
            Type::Struct(name) => self.fields(self.message.get(name), Some(choices)),
            Type::Array(item) => {
                let count = choices.below(4);
                self.length(Some(usize::from(count)), false);
                for _ in 0..count {
                    self.value(item, choices);
                }
            }
            Type::Prim(Prim::Bool) => self.out.push(choices.below(2)),
            Type::Prim(Prim::String) => {
                let text: String = (0..choices.below(9))
                    .map(|_| ['a', 'Z', '-', 'é', '"', '\\', '\n', '雪'][usize::from(choices.below(8))])
                    .collect();
                self.length(Some(text.len()), true);
                self.out.extend(text.as_bytes());
            }
            Type::Prim(prim) if prim.has_length() => {
                let length = choices.below(20);
                self.length(Some(usize::from(length)), false);
                self.out.extend((0..length).map(|_| choices.next()));
            }
            Type::Prim(prim) => {
                // Small numbers are as likely as any.
                let (wide, fill) = (choices.below(2) == 0, if choices.below(2) == 0 { 0 } else { 0xff });
                let width = width(*prim);
                for at in 0..width {
                    let byte = if wide || at + 1 == width { choices.next() } else { fill };
                    self.out.push(byte);
                }
            }
        }
    }
}

fn width(prim: Prim) -> usize {
    match prim {
        Prim::Bool | Prim::Int8 => 1,
        Prim::Int16 | Prim::Uint16 => 2,
        Prim::Int32 | Prim::Uint32 => 4,
        Prim::Int64 | Prim::Float64 => 8,
        Prim::Uuid => 16,
        Prim::String | Prim::Bytes | Prim::Records => 0,
    }
}
