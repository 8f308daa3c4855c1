//! Reading schema text.

use crate::model::{Field, Kind, Message, Prim, Struct, Tag, Type, Versions};
use crate::{SchemaError, Source};

struct Line<'a> {
    number: usize,
    depth: usize,
    text: &'a str,
    docs: Vec<String>,
}

/// The lines of one file, and how to complain about them.
struct Reader<'a> {
    file: &'a str,
    lines: std::iter::Peekable<std::vec::IntoIter<Line<'a>>>,
}

/// What `api` set for the requests and responses that follow.
#[derive(Clone)]
struct Api {
    name: String,
    key: i16,
    flexible_from: i16,
}

pub(crate) fn file(source: &Source<'_>, messages: &mut Vec<Message>) -> Result<(), SchemaError> {
    let lines = lines(source)?;
    let mut reader = Reader { file: source.name, lines: lines.into_iter().peekable() };
    let mut api = None;
    while let Some(line) = reader.lines.next() {
        if line.depth > 0 {
            return Err(reader.error(&line, "a field outside of a message".to_owned()));
        }
        if line.text.starts_with("api ") {
            api = Some(reader.api(&line)?);
        } else {
            let message = reader.message(&line, api.as_ref())?;
            if messages.iter().any(|other| other.name() == message.name()) {
                return Err(reader.error(&line, format!("{} is declared twice", message.name())));
            }
            messages.push(message);
        }
    }
    Ok(())
}

fn lines<'a>(source: &Source<'a>) -> Result<Vec<Line<'a>>, SchemaError> {
    let mut lines = Vec::new();
    let mut docs = Vec::new();
    for (at, raw) in source.text.lines().enumerate() {
        let text = raw.trim();
        if let Some(comment) = text.strip_prefix('#') {
            docs.push(comment.trim().to_owned());
        } else if text.is_empty() {
            docs.clear();
        } else {
            let spaces = raw.len() - raw.trim_start_matches(' ').len();
            if spaces % 2 != 0 || raw.contains('\t') {
                let message = "indent with two spaces a level".to_owned();
                return Err(SchemaError { file: source.name.to_owned(), line: at + 1, message });
            }
            lines.push(Line { number: at + 1, depth: spaces / 2, text, docs: std::mem::take(&mut docs) });
        }
    }
    Ok(lines)
}

impl Reader<'_> {
    fn error(&self, line: &Line<'_>, message: String) -> SchemaError {
        SchemaError { file: self.file.to_owned(), line: line.number, message }
    }

    fn number<T: std::str::FromStr>(&self, line: &Line<'_>, text: &str) -> Result<T, SchemaError> {
        text.parse().map_err(|_| self.error(line, format!("`{text}` is not a number of the kind wanted here")))
    }

    fn versions(&self, line: &Line<'_>, text: &str) -> Result<Versions, SchemaError> {
        let (min, max) = if let Some(min) = text.strip_suffix('+') {
            (self.number(line, min)?, i16::MAX)
        } else if let Some((min, max)) = text.split_once('-') {
            (self.number(line, min)?, self.number(line, max)?)
        } else {
            let only = self.number(line, text)?;
            (only, only)
        };
        if min < 0 || min > max {
            return Err(self.error(line, format!("`{text}` is not a range of versions")));
        }
        Ok(Versions { min, max })
    }

    /// `flexible 6+`, or nothing.
    fn flexible(&self, line: &Line<'_>, words: &[&str]) -> Result<i16, SchemaError> {
        match words {
            [] => Ok(i16::MAX),
            ["flexible", from] => Ok(self.versions(line, from)?.min),
            [word, ..] => Err(self.error(line, format!("`{word}` is not known here; wanted `flexible VERSION+`"))),
        }
    }

    fn api(&self, line: &Line<'_>) -> Result<Api, SchemaError> {
        let words: Vec<&str> = line.text.split_whitespace().collect();
        let ["api", key, name, flexible @ ..] = &words[..] else {
            return Err(self.error(line, "wanted `api KEY Name [flexible VERSION+]`".to_owned()));
        };
        self.camel(line, name)?;
        let flexible_from = self.flexible(line, flexible)?;
        Ok(Api { name: (*name).to_owned(), key: self.number(line, key)?, flexible_from })
    }

    fn message(&mut self, line: &Line<'_>, api: Option<&Api>) -> Result<Message, SchemaError> {
        let words: Vec<&str> = line.text.split_whitespace().collect();
        let (kind, name, key, versions, flexible_from) = match &words[..] {
            [word @ ("request" | "response"), versions] => {
                let api = api.ok_or_else(|| self.error(line, format!("`{word}` before any `api`")))?;
                let kind = if *word == "request" { Kind::Request } else { Kind::Response };
                let suffix = if kind == Kind::Request { "Request" } else { "Response" };
                (kind, format!("{}{suffix}", api.name), api.key, *versions, api.flexible_from)
            }
            ["record", key, name, versions, flexible @ ..] => {
                let flexible = self.flexible(line, flexible)?;
                (Kind::Record, (*name).to_owned(), self.number(line, key)?, *versions, flexible)
            }
            ["data", name, versions, flexible @ ..] => {
                (Kind::Data, (*name).to_owned(), -1, *versions, self.flexible(line, flexible)?)
            }
            _ => {
                return Err(self.error(
                    line,
                    format!("`{}` is not known; wanted api, request, response, record or data", line.text),
                ));
            }
        };
        self.camel(line, &name)?;
        let versions = self.versions(line, versions)?;
        if versions.max == i16::MAX {
            return Err(self.error(line, "a message needs a last version".to_owned()));
        }
        let api_name = api.filter(|_| key >= 0 && kind != Kind::Record).map_or(name.clone(), |api| api.name.clone());
        let mut message = Message { kind, api: api_name, key, versions, flexible_from, structs: Vec::new() };
        message.structs.push(Struct { name, docs: line.docs.clone(), fields: Vec::new() });
        self.fields(line.depth + 1, 0, &mut message)?;
        Ok(message)
    }

    /// Reads the fields of `message.structs[owner]`, at `depth`.
    fn fields(&mut self, depth: usize, owner: usize, message: &mut Message) -> Result<(), SchemaError> {
        while let Some(line) = self.lines.next_if(|line| line.depth >= depth) {
            if line.depth > depth {
                return Err(self.error(&line, "indented too deep: nothing above it can hold fields".to_owned()));
            }
            let field = self.field(&line, message)?;
            let fields = &message.structs[owner].fields;
            if fields.iter().any(|other| other.name == field.name) {
                return Err(self.error(&line, format!("field `{}` is declared twice", field.name)));
            }
            if field.tag.is_some_and(|tag| fields.iter().any(|other| other.tag.is_some_and(|o| o.number == tag.number)))
            {
                return Err(self.error(&line, format!("the tag of `{}` is taken", field.name)));
            }
            let target = struct_of(&field.ty).map(str::to_owned);
            let docs = field.docs.clone();
            message.structs[owner].fields.push(field);
            if let Some(target) = target {
                self.body(&line, depth, &target, docs, message)?;
            }
        }
        Ok(())
    }

    /// The struct `name` that a field at `depth` uses: declared here, or before.
    fn body(
        &mut self,
        line: &Line<'_>,
        depth: usize,
        name: &str,
        docs: Vec<String>,
        message: &mut Message,
    ) -> Result<(), SchemaError> {
        let declares = self.lines.peek().is_some_and(|next| next.depth > depth);
        let known = message.structs.iter().any(|item| item.name == name);
        match (declares, known) {
            (true, true) => Err(self.error(line, format!("struct `{name}` is declared twice"))),
            (false, false) => Err(self.error(line, format!("type `{name}` is not known and no fields follow"))),
            (false, true) => Ok(()),
            (true, false) => {
                message.structs.push(Struct { name: name.to_owned(), docs, fields: Vec::new() });
                let owner = message.structs.len() - 1;
                self.fields(depth + 1, owner, message)
            }
        }
    }

    fn field(&self, line: &Line<'_>, message: &Message) -> Result<Field, SchemaError> {
        let (name, rest) = line
            .text
            .split_once(':')
            .ok_or_else(|| self.error(line, format!("`{}` is not a field; wanted `name: type …`", line.text)))?;
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if name.is_empty() || !name.chars().all(legal) {
            return Err(self.error(line, format!("field name `{name}` is not in snake_case")));
        }
        let words: Vec<&str> = rest.split_whitespace().collect();
        let [ty, rest @ ..] = &words[..] else {
            return Err(self.error(line, format!("field `{name}` has no type")));
        };
        let (is_nullable, ty) = self.ty(line, ty)?;
        let mut field = Field {
            name: name.to_owned(),
            docs: line.docs.clone(),
            ty,
            versions: message.versions,
            nullable: is_nullable.then_some(message.versions),
            tag: None,
            default: None,
            ignorable: false,
        };
        self.options(line, rest, &mut field, message)?;
        self.check(line, &field, is_nullable, message)?;
        Ok(field)
    }

    fn options(
        &self,
        line: &Line<'_>,
        mut words: &[&str],
        field: &mut Field,
        message: &Message,
    ) -> Result<(), SchemaError> {
        let mut tag = None;
        let clip = |versions: Versions, what: &str| {
            versions.overlap(message.versions).ok_or_else(|| {
                self.error(line, format!("{what} {versions} lie outside of the message's {}", message.versions))
            })
        };
        while let [word, rest @ ..] = words {
            words = rest;
            match *word {
                "ignorable" => field.ignorable = true,
                "=" | "tag" | "null" => {
                    let [value, rest @ ..] = words else {
                        return Err(self.error(line, format!("nothing follows `{word}`")));
                    };
                    words = rest;
                    match *word {
                        "=" => field.default = Some((*value).to_owned()),
                        "null" => field.nullable = Some(clip(self.versions(line, value)?, "nullable versions")?),
                        _ => tag = Some((self.number(line, value)?, None)),
                    }
                }
                versions => {
                    let versions = clip(self.versions(line, versions)?, "versions")?;
                    match &mut tag {
                        Some((_, tagged @ None)) => *tagged = Some(versions),
                        _ => field.versions = versions,
                    }
                }
            }
        }
        field.tag = tag.map(|(number, versions)| Tag { number, versions: versions.unwrap_or(field.versions) });
        Ok(())
    }

    fn check(&self, line: &Line<'_>, field: &Field, is_nullable: bool, message: &Message) -> Result<(), SchemaError> {
        let name = &field.name;
        if field.nullable.is_some() && !is_nullable {
            return Err(self.error(line, format!("`{name}` has `null` but its type does not begin with `?`")));
        }
        if is_nullable && matches!(&field.ty, Type::Struct(_)) && field.tag.is_none() {
            return Err(self.error(line, format!("`{name}`: a nullable struct is supported as a tagged field only")));
        }
        if is_nullable && matches!(&field.ty, Type::Prim(prim) if !prim.has_length()) {
            return Err(self.error(line, format!("`{name}`: its type cannot be null")));
        }
        if field.tag.is_some_and(|tag| tag.versions.min < message.flexible_from) {
            return Err(self.error(line, format!("`{name}` is tagged in versions that are not flexible")));
        }
        let default = field.default.as_deref();
        if default == Some("null") && !is_nullable {
            return Err(self.error(line, format!("`{name}` defaults to null but cannot be null")));
        }
        if let Some(text) = default.filter(|text| !default_fits(&field.ty, text)) {
            return Err(self.error(line, format!("`{text}` is no default for `{name}`")));
        }
        Ok(())
    }

    fn ty(&self, line: &Line<'_>, text: &str) -> Result<(bool, Type), SchemaError> {
        let (nullable, text) = text.strip_prefix('?').map_or((false, text), |text| (true, text));
        let (array, item) = text.strip_prefix("[]").map_or((false, text), |item| (true, item));
        let item = match Prim::named(item) {
            Some(prim) => Type::Prim(prim),
            None => {
                self.camel(line, item)?;
                Type::Struct(item.to_owned())
            }
        };
        let nullable = nullable || (!array && item == Type::Prim(Prim::Records));
        Ok((nullable, if array { Type::Array(Box::new(item)) } else { item }))
    }

    fn camel(&self, line: &Line<'_>, name: &str) -> Result<(), SchemaError> {
        let fits =
            name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(|c| c.is_ascii_alphanumeric());
        if fits { Ok(()) } else { Err(self.error(line, format!("`{name}` is neither a type nor a name in CamelCase"))) }
    }
}

fn struct_of(ty: &Type) -> Option<&str> {
    match ty {
        Type::Prim(_) => None,
        Type::Struct(name) => Some(name),
        Type::Array(item) => struct_of(item),
    }
}

fn default_fits(ty: &Type, text: &str) -> bool {
    match ty {
        _ if text == "null" => true,
        Type::Prim(Prim::Bool) => matches!(text, "true" | "false"),
        Type::Prim(Prim::Int8) => text.parse::<i8>().is_ok(),
        Type::Prim(Prim::Int16) => text.parse::<i16>().is_ok(),
        Type::Prim(Prim::Uint16) => text.parse::<u16>().is_ok(),
        Type::Prim(Prim::Int32) => text.parse::<i32>().is_ok(),
        Type::Prim(Prim::Uint32) => text.parse::<u32>().is_ok(),
        Type::Prim(Prim::Int64) => text.parse::<i64>().is_ok(),
        Type::Prim(Prim::Float64) => text.parse::<f64>().is_ok(),
        _ => false,
    }
}
