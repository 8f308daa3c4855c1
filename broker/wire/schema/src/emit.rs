//! Writing Rust.

use crate::model::{Field, Kind, Message, Prim, Struct, Type, Versions};
use crate::size::smallest;
use std::fmt::Write;

/// The generated source, to be included in the crate that has the codec's primitives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// One module a message, and each message re-exported.
    pub messages: String,
    /// The enum `ApiKey` and the version table.
    pub apis: String,
    /// The enum `MetadataRecord` over all records.
    pub records: String,
}

pub(crate) fn generate(messages: &[Message]) -> Generated {
    let mut out = String::new();
    for message in messages {
        module(&mut out, message);
    }
    Generated { messages: out, apis: apis(messages), records: records(messages) }
}

macro_rules! put {
    ($out:expr, $($arg:tt)*) => { writeln!($out, $($arg)*).expect("writing to a string does not fail") };
}

/// `FetchRequest` to `fetch_request`.
fn snake(name: &str) -> String {
    let mut out = String::new();
    for (at, c) in name.char_indices() {
        if c.is_ascii_uppercase() && at > 0 {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

fn docs(out: &mut String, lines: &[String], otherwise: &str) {
    if lines.is_empty() {
        put!(out, "/// {otherwise}");
    }
    for line in lines {
        put!(out, "/// {line}");
    }
}

fn module(out: &mut String, message: &Message) {
    let (name, module) = (message.name(), snake(message.name()));
    put!(out, "/// {name} and its parts.");
    put!(out, "pub mod {module} {{");
    put!(out, "#[allow(unused_imports)] use crate::codec::{{self as c, BufMut, Bytes, Str, Uuid, WireError}};");
    for item in &message.structs {
        declare(out, item, matches!(message.kind, Kind::Record | Kind::Data));
        default(out, item);
        put!(out, "impl {} {{", item.name);
        constants(out, message, item);
        read(out, message, item);
        write(out, message, item);
        lost(out, message, item);
        put!(out, "}}");
    }
    implement(out, message);
    put!(out, "}}");
    put!(out, "pub use {module}::{name};");
}

/// What stands in a log can be told as JSON, under Kafka's names; nobody asks for that of requests and responses.
fn declare(out: &mut String, item: &Struct, told: bool) {
    docs(out, &item.docs, &format!("Kafka's {}.", item.name));
    put!(out, "#[derive(Clone, Debug, PartialEq)]");
    if told {
        put!(out, "#[derive(serde::Serialize)]\n#[serde(rename_all = \"camelCase\")]");
    }
    put!(out, "pub struct {} {{", item.name);
    for field in &item.fields {
        docs(out, &field.docs, &format!("Versions {}.", field.versions));
        if told && field.ty == Type::Prim(Prim::Bytes) {
            let with = if field.nullable.is_some() { "hex_or_null" } else { "hex" };
            put!(out, "#[serde(serialize_with = \"c::{with}\")]");
        }
        put!(out, "pub {}: {},", field.name, rust_type(field));
    }
    put!(out, "}}");
}

fn rust_type(field: &Field) -> String {
    let plain = rust_plain(&field.ty);
    if field.nullable.is_some() { format!("Option<{plain}>") } else { plain }
}

fn rust_plain(ty: &Type) -> String {
    match ty {
        Type::Array(item) => format!("Vec<{}>", rust_plain(item)),
        Type::Struct(name) => name.clone(),
        Type::Prim(prim) => match prim {
            Prim::Bool => "bool",
            Prim::Int8 => "i8",
            Prim::Int16 => "i16",
            Prim::Uint16 => "u16",
            Prim::Int32 => "i32",
            Prim::Uint32 => "u32",
            Prim::Int64 => "i64",
            Prim::Float64 => "f64",
            Prim::Uuid => "Uuid",
            Prim::String => "Str",
            Prim::Bytes | Prim::Records => "Bytes",
        }
        .to_owned(),
    }
}

fn default_value(field: &Field) -> String {
    match (&field.default, field.nullable) {
        (Some(text), _) if text == "null" => "None".to_owned(),
        (Some(text), _) => text.clone(),
        (None, Some(_)) => "Some(Default::default())".to_owned(),
        (None, None) => "Default::default()".to_owned(),
    }
}

fn default(out: &mut String, item: &Struct) {
    put!(out, "impl Default for {} {{", item.name);
    put!(out, "fn default() -> Self {{ Self {{");
    for field in &item.fields {
        put!(out, "{}: {},", field.name, default_value(field));
    }
    put!(out, "}} }} }}");
}

/// `MIN`: fewest bytes on the wire. `ALLOC`: most bytes of memory a decoder takes for one byte of input.
fn constants(out: &mut String, message: &Message, item: &Struct) {
    let own = Type::Struct(item.name.clone());
    put!(out, "#[allow(dead_code)] pub(crate) const MIN: usize = {};", smallest(message, &own));
    put!(out, "pub(crate) const ALLOC: usize = c::most(&[0,");
    for field in &item.fields {
        match &field.ty {
            Type::Struct(name) => put!(out, "{name}::ALLOC,"),
            Type::Array(element) => {
                let inner = if let Type::Struct(name) = &**element { format!("{name}::ALLOC") } else { "0".to_owned() };
                let (ty, min) = (rust_plain(element), smallest(message, element));
                put!(out, "size_of::<{ty}>().div_ceil({min}) + {inner},");
            }
            Type::Prim(_) => {}
        }
    }
    put!(out, "]);");
}

/// The condition under which `version`, known to lie in `all`, lies in `some`; `None` if it always does.
fn within(some: Versions, all: Versions) -> Option<String> {
    match (some.min > all.min, some.max < all.max) {
        (false, false) => None,
        (true, false) => Some(format!("version >= {}", some.min)),
        (false, true) => Some(format!("version <= {}", some.max)),
        (true, true) => Some(format!("({}..={}).contains(&version)", some.min, some.max)),
    }
}

fn flexible(message: &Message) -> String {
    if message.flexible_from <= message.versions.min {
        "true".to_owned()
    } else if message.flexible_from > message.versions.max {
        "false".to_owned()
    } else {
        format!("version >= {}", message.flexible_from)
    }
}

/// The condition under which a field stands among the plain ones; `None` for always, `Some("false")` for never.
fn plain_condition(message: &Message, field: &Field) -> Option<String> {
    match field.tag {
        None => within(field.versions, message.versions),
        Some(tag) if tag.versions.covers(field.versions) => Some("false".to_owned()),
        Some(tag) => {
            let present = within(field.versions, message.versions).unwrap_or("true".to_owned());
            let tagged = within(tag.versions, message.versions).unwrap_or("true".to_owned());
            Some(format!("{present} && !({tagged})"))
        }
    }
}

fn read_type(message: &Message, ty: &Type) -> String {
    match ty {
        Type::Struct(name) => format!("{name}::read(buf, version)"),
        Type::Array(item) => {
            format!("c::array(buf, flexible, {}, |buf| {})", smallest(message, item), read_type(message, item))
        }
        Type::Prim(prim) => match prim {
            Prim::Bool => "c::boolean(buf)",
            Prim::Int8 => "c::i8(buf)",
            Prim::Int16 => "c::i16(buf)",
            Prim::Uint16 => "c::u16(buf)",
            Prim::Int32 => "c::i32(buf)",
            Prim::Uint32 => "c::u32(buf)",
            Prim::Int64 => "c::i64(buf)",
            Prim::Float64 => "c::f64(buf)",
            Prim::Uuid => "c::uuid(buf)",
            Prim::String => "c::string(buf, flexible)",
            Prim::Bytes | Prim::Records => "c::bytes(buf, flexible)",
        }
        .to_owned(),
    }
}

fn read_field(message: &Message, field: &Field) -> String {
    let Some(nullable) = field.nullable else {
        return read_type(message, &field.ty);
    };
    let raw = match &field.ty {
        Type::Array(item) => {
            format!("c::opt_array(buf, flexible, {}, |buf| {})", smallest(message, item), read_type(message, item))
        }
        Type::Prim(Prim::String) => "c::opt_string(buf, flexible)".to_owned(),
        Type::Struct(name) => format!("c::opt_struct(buf, |buf| {name}::read(buf, version))"),
        _ => "c::opt_bytes(buf, flexible)".to_owned(),
    };
    match within(nullable, message.versions) {
        None => raw,
        Some(condition) => format!("c::null_if({condition}, {raw})"),
    }
}

fn read(out: &mut String, message: &Message, item: &Struct) {
    put!(out, "#[allow(unused_variables, unused_mut)]");
    put!(out, "pub(crate) fn read(buf: &mut Bytes, version: i16) -> Result<Self, WireError> {{");
    put!(out, "let flexible = {};", flexible(message));
    put!(out, "let mut this = Self {{");
    for field in &item.fields {
        let (name, read) = (&field.name, read_field(message, field));
        match plain_condition(message, field).as_deref() {
            None => put!(out, "{name}: {read}?,"),
            Some("false") => put!(out, "{name}: {},", default_value(field)),
            Some(condition) => put!(out, "{name}: if {condition} {{ {read}? }} else {{ {} }},", default_value(field)),
        }
    }
    put!(out, "}};");
    read_tags(out, message, item);
    put!(out, "Ok(this)");
    put!(out, "}}");
}

fn tagged(item: &Struct) -> Vec<&Field> {
    let mut fields: Vec<&Field> = item.fields.iter().filter(|field| field.tag.is_some()).collect();
    fields.sort_by_key(|field| field.tag.map(|tag| tag.number));
    fields
}

fn tag_condition(message: &Message, field: &Field) -> Option<String> {
    within(field.tag.expect("a tagged field").versions, message.versions)
}

fn read_tags(out: &mut String, message: &Message, item: &Struct) {
    if message.flexible_from > message.versions.max {
        return;
    }
    put!(out, "if flexible {{ c::tags(buf, |tag, buf| {{ match tag {{");
    for field in tagged(item) {
        let number = field.tag.expect("a tagged field").number;
        let guard = tag_condition(message, field).map_or(String::new(), |condition| format!("if {condition}"));
        put!(out, "{number} {guard} => this.{} = {}?,", field.name, read_field(message, field));
    }
    put!(out, "_ => {{}} }} Ok(()) }})?; }}");
}

fn put_type(ty: &Type, value: &str) -> String {
    match ty {
        Type::Struct(_) => format!("{value}.write(out, version);"),
        Type::Array(item) => {
            let each = put_type(item, "item");
            format!("c::put_count(out, {value}.len(), flexible); for item in {value}.iter() {{ {each} }}")
        }
        Type::Prim(prim) => match prim {
            Prim::Bool => format!("out.put_u8(u8::from({value}.clone()));"),
            Prim::Int8 => format!("out.put_i8({value}.clone());"),
            Prim::Int16 => format!("out.put_i16({value}.clone());"),
            Prim::Uint16 => format!("out.put_u16({value}.clone());"),
            Prim::Int32 => format!("out.put_i32({value}.clone());"),
            Prim::Uint32 => format!("out.put_u32({value}.clone());"),
            Prim::Int64 => format!("out.put_i64({value}.clone());"),
            Prim::Float64 => format!("out.put_f64({value}.clone());"),
            Prim::Uuid => format!("out.put_u128({value}.0);"),
            Prim::String => format!("c::put_string(out, &{value}, flexible);"),
            Prim::Bytes | Prim::Records => format!("c::put_bytes(out, &{value}, flexible);"),
        },
    }
}

fn put_field(message: &Message, field: &Field) -> String {
    let name = &field.name;
    let Some(nullable) = field.nullable else {
        return put_type(&field.ty, &format!("self.{name}"));
    };
    let may = within(nullable, message.versions).unwrap_or("true".to_owned());
    let string = field.ty == Type::Prim(Prim::String);
    let some = put_type(&field.ty, "value");
    if matches!(field.ty, Type::Struct(_)) {
        // KIP-893: a number that says whether it follows.
        return format!(
            "match &self.{name} {{ Some(value) => {{ c::put_uvarint(out, 1); {some} }} None => c::put_uvarint(out, 0) }}"
        );
    }
    format!("match &self.{name} {{ Some(value) => {{ {some} }} None => c::put_null(out, flexible, {string}, {may}) }}")
}

fn write(out: &mut String, message: &Message, item: &Struct) {
    put!(out, "#[allow(unused_variables)]");
    put!(out, "pub(crate) fn write(&self, out: &mut Vec<u8>, version: i16) {{");
    put!(out, "let flexible = {};", flexible(message));
    for field in &item.fields {
        let text = put_field(message, field);
        match plain_condition(message, field).as_deref() {
            None => put!(out, "{text}"),
            Some("false") => {}
            Some(condition) => put!(out, "if {condition} {{ {text} }}"),
        }
    }
    write_tags(out, message, item);
    put!(out, "}}");
}

fn differs(field: &Field) -> String {
    let name = &field.name;
    match (&field.ty, field.default.as_deref(), field.nullable) {
        (_, Some("null"), _) => format!("self.{name}.is_some()"),
        (Type::Array(_), None, None) => format!("!self.{name}.is_empty()"),
        (Type::Struct(ty), _, None) => format!("self.{name} != {ty}::default()"),
        (Type::Prim(Prim::String), None, None) => format!("!self.{name}.is_empty()"),
        (Type::Prim(_), _, None) => {
            format!("self.{name} != {}", field.default.clone().unwrap_or(format!("<{}>::default()", rust_type(field))))
        }
        _ => format!("self.{name} != {}", default_value(field)),
    }
}

fn write_tags(out: &mut String, message: &Message, item: &Struct) {
    if message.flexible_from > message.versions.max {
        return;
    }
    put!(out, "if flexible {{ let mut tags = 0u32;");
    let mut bodies = String::new();
    for field in tagged(item) {
        let (name, number) = (&field.name, field.tag.expect("a tagged field").number);
        let condition = tag_condition(message, field).unwrap_or("true".to_owned());
        put!(out, "let has_{name} = {condition} && {}; tags += u32::from(has_{name});", differs(field));
        put!(bodies, "if has_{name} {{ c::put_tag(out, {number}, |out| {{ {} }}); }}", put_field(message, field));
    }
    put!(out, "c::put_uvarint(out, tags);\n{bodies} }}");
}

fn lost(out: &mut String, message: &Message, item: &Struct) {
    put!(out, "#[allow(unused_variables)]");
    put!(out, "pub(crate) fn lost(&self, version: i16) -> Option<&'static str> {{");
    for field in &item.fields {
        let name = &field.name;
        let present = within(field.versions, message.versions);
        if let Some(condition) = present.as_ref().filter(|_| !field.ignorable) {
            put!(out, "if !({condition}) && {} {{ return Some(\"{}.{name}\"); }}", differs(field), item.name);
        }
        let present = present.unwrap_or("true".to_owned());
        let nullable = field.nullable.and_then(|nullable| within(nullable, message.versions));
        if let Some(condition) = nullable {
            let fits = format!("!({condition}) && self.{name}.is_none()");
            put!(out, "if {present} && {fits} {{ return Some(\"{}.{name}\"); }}", item.name);
        }
        lost_inside(out, field, &present);
    }
    put!(out, "None }}");
}

fn lost_inside(out: &mut String, field: &Field, present: &str) {
    let name = &field.name;
    match &field.ty {
        Type::Struct(_) => {
            let lost = if field.nullable.is_some() {
                ".as_ref().and_then(|inner| inner.lost(version))"
            } else {
                ".lost(version)"
            };
            put!(out, "if {present} {{ if let Some(field) = self.{name}{lost} {{ return Some(field); }} }}")
        }
        Type::Array(item) if matches!(**item, Type::Struct(_)) => {
            let items = if field.nullable.is_some() { ".iter().flatten()" } else { ".iter()" };
            put!(out, "if {present} {{ for item in self.{name}{items} {{");
            put!(out, "if let Some(field) = item.lost(version) {{ return Some(field); }} }} }}");
        }
        _ => {}
    }
}

fn implement(out: &mut String, message: &Message) {
    let (name, Versions { min, max }) = (message.name(), message.versions);
    let key = message.key;
    let flexible = message.flexible_from;
    put!(out, "const _: () = assert!({name}::ALLOC <= c::ALLOC_LIMIT, \"a decoder would allocate too much\");");
    put!(out, "impl crate::Message for {name} {{");
    put!(out, "const NAME: &'static str = \"{name}\"; const API_KEY: i16 = {key};");
    put!(out, "const VERSIONS: std::ops::RangeInclusive<i16> = {min}..={max}; const FLEXIBLE_FROM: i16 = {flexible};");
    put!(out, "fn decode(buf: &mut Bytes, version: i16) -> Result<Self, WireError> {{");
    put!(out, "if !({min}..={max}).contains(&version) {{");
    put!(out, "return Err(WireError::UnsupportedVersion {{ message: \"{name}\", version }}); }}");
    put!(out, "Self::read(buf, version) }}");
    put!(out, "fn encode(&self, buf: &mut Vec<u8>, version: i16) {{ self.write(buf, version) }}");
    put!(out, "fn inexpressible(&self, version: i16) -> Option<&'static str> {{ self.lost(version) }}");
    put!(out, "}}");
}

fn apis(messages: &[Message]) -> String {
    let mut requests: Vec<&Message> = messages.iter().filter(|message| message.kind == Kind::Request).collect();
    requests.sort_by_key(|message| message.key);
    let mut out = String::new();
    put!(out, "/// An API that this crate has a codec for.");
    put!(out, "#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]\n#[repr(i16)]\npub enum ApiKey {{");
    for message in &requests {
        docs(&mut out, &message.structs[0].docs, &format!("Kafka's {}.", message.api));
        put!(out, "{} = {},", message.api, message.key);
    }
    put!(out, "}}");
    put!(out, "/// Every API with the first and the last version that the codec covers, by key.");
    put!(out, "pub const SUPPORTED: &[(ApiKey, i16, i16)] = &[");
    for message in &requests {
        put!(out, "(ApiKey::{}, {}, {}),", message.api, message.versions.min, message.versions.max);
    }
    put!(out, "];");
    api_match(&mut out, "name", "&'static str", "Kafka's name of the API.", &requests, |m| format!("\"{}\"", m.api));
    let flexible = "First version with compact lengths and tagged fields (KIP-482).";
    api_match(&mut out, "flexible_from", "i16", flexible, &requests, |m| m.flexible_from.to_string());
    out
}

fn api_match(out: &mut String, name: &str, ty: &str, doc: &str, all: &[&Message], value: impl Fn(&Message) -> String) {
    put!(out, "impl ApiKey {{ /// {doc}");
    put!(out, "#[inline] pub const fn {name}(self) -> {ty} {{ match self {{");
    for message in all {
        put!(out, "ApiKey::{} => {},", message.api, value(message));
    }
    put!(out, "}} }} }}");
}

fn records(messages: &[Message]) -> String {
    let all: Vec<&Message> = messages.iter().filter(|message| message.kind == Kind::Record).collect();
    let mut out = String::new();
    put!(out, "/// A record of the metadata log.");
    put!(out, "#[derive(Clone, Debug, PartialEq, serde::Serialize)]\n#[serde(untagged)]\npub enum MetadataRecord {{");
    for message in &all {
        docs(&mut out, &message.structs[0].docs, &format!("Kafka's {}.", message.api));
        put!(out, "{0}(messages::{0}),", message.api);
    }
    put!(out, "}}");
    for message in &all {
        let name = &message.api;
        put!(out, "impl From<messages::{name}> for MetadataRecord {{");
        put!(out, "fn from(record: messages::{name}) -> Self {{ MetadataRecord::{name}(record) }} }}");
    }
    put!(out, "fn decode_body(kind: u32, version: i16, body: &mut Bytes) -> Result<MetadataRecord, WireError> {{");
    put!(out, "Ok(match kind {{");
    for message in &all {
        put!(out, "{} => messages::{}::decode(body, version)?.into(),", message.key, message.api);
    }
    put!(out, "_ => return Err(WireError::UnknownRecordType(kind)) }}) }}");
    put!(out, "impl MetadataRecord {{ /// Kafka's name of the record's type.");
    put!(out, "pub fn name(&self) -> &'static str {{ match self {{");
    for message in &all {
        put!(out, "MetadataRecord::{0}(_) => \"{0}\",", message.api);
    }
    put!(out, "}} }}\nfn visit<V: Visit>(&self, visit: V) -> V::Out {{ match self {{");
    for message in &all {
        put!(out, "MetadataRecord::{}(record) => visit.visit(record),", message.api);
    }
    put!(out, "}} }} }}");
    out
}
