//! Every mistake in a schema is told with file and line; what is right comes out as written.

use klamm_wire_schema::{Prim, SchemaError, Source, Type, Versions, compile, parse};

fn error(text: &str) -> String {
    parse(&[Source { name: "a.schema", text }]).expect_err("a mistake").to_string()
}

#[test]
fn mistakes_name_file_line_and_value() {
    let cases = [
        ("  name: string\n", "a.schema:1: a field outside of a message"),
        ("request 0\n", "a.schema:1: `request` before any `api`"),
        ("api x Fetch\n", "a.schema:1: `x` is not a number of the kind wanted here"),
        ("api 1 fetch\n", "a.schema:1: `fetch` is neither a type nor a name in CamelCase"),
        ("api 1\n", "a.schema:1: wanted `api KEY Name [flexible VERSION+]`"),
        ("api 1 Fetch bendy 3+\n", "a.schema:1: `bendy` is not known here; wanted `flexible VERSION+`"),
        ("api 1 F\nrequest 0+\n", "a.schema:2: a message needs a last version"),
        ("api 1 F\nrequest 3-1\n", "a.schema:2: `3-1` is not a range of versions"),
        ("api 1 F\nanswer 0\n", "a.schema:2: `answer 0` is not known; wanted api, request, response, record or data"),
        ("data A 0\n   b: int8\n", "a.schema:2: indent with two spaces a level"),
        ("data A 0\n  b int8\n", "a.schema:2: `b int8` is not a field; wanted `name: type …`"),
        ("data A 0\n  Bee: int8\n", "a.schema:2: field name `Bee` is not in snake_case"),
        ("data A 0\n  b:\n", "a.schema:2: field `b` has no type"),
        ("data A 0\n  b: integer\n", "a.schema:2: `integer` is neither a type nor a name in CamelCase"),
        ("data A 0\n  b: []Item\n", "a.schema:2: type `Item` is not known and no fields follow"),
        ("data A 0\n  b: int8\n    c: int8\n", "a.schema:3: indented too deep: nothing above it can hold fields"),
        ("data A 0\n  b: int8\n  b: int8\n", "a.schema:3: field `b` is declared twice"),
        ("data A 0-2\n  b: int8 3+\n", "a.schema:2: versions 3-32767 lie outside of the message's 0-2"),
        ("data A 0-2\n  b: int8 soon\n", "a.schema:2: `soon` is not a number of the kind wanted here"),
        ("data A 0-2\n  b: int8 =\n", "a.schema:2: nothing follows `=`"),
        ("data A 0-2\n  b: int8 = 300\n", "a.schema:2: `300` is no default for `b`"),
        ("data A 0-2\n  b: string = null\n", "a.schema:2: `b` defaults to null but cannot be null"),
        ("data A 0-2\n  b: string null 1+\n", "a.schema:2: `b` has `null` but its type does not begin with `?`"),
        ("data A 0-2\n  b: ?int8\n", "a.schema:2: `b`: its type cannot be null"),
        (
            "data A 0-2\n  b: ?B\n    c: int8\n",
            "a.schema:2: `b`: a nullable struct is supported as a tagged field only",
        ),
        ("data A 0-2 flexible 1+\n  b: int8 tag 0\n", "a.schema:2: `b` is tagged in versions that are not flexible"),
        ("data A 0 flexible 0+\n  b: int8 tag 0\n  c: int8 tag 0\n", "a.schema:3: the tag of `c` is taken"),
        ("data A 0\n  b: B\n    x: int8\n  c: B\n    y: int8\n", "a.schema:4: struct `B` is declared twice"),
        ("data A 0\ndata A 1\n", "a.schema:2: A is declared twice"),
    ];
    for (text, message) in cases {
        assert_eq!(error(text), message, "{text:?}");
    }
}

#[test]
fn the_error_carries_its_parts() {
    let source = Source { name: "x.schema", text: "\n\nnonsense\n" };
    let error = parse(&[source]).expect_err("a mistake");
    assert!(matches!(error, SchemaError { file, line: 3, .. } if file == "x.schema"));
}

const EXAMPLE: &str = "
api 9 Thing flexible 2+

# Asks.
request 0-3
  # How much.
  amount: int32 1+ = -1 ignorable
  items: ?[]Item null 1+
    name: ?string 0-2 = null
    late: bool 2+ tag 4 3+
  again: []Item 3
response 0-3
";

#[test]
fn a_field_keeps_all_that_its_line_says() {
    let messages = parse(&[Source { name: "a", text: EXAMPLE }]).expect("no mistake");
    let request = &messages[0];
    assert_eq!((request.name(), request.key, request.flexible_from), ("ThingRequest", 9, 2));
    assert_eq!(request.structs.iter().map(|item| item.name.as_str()).collect::<Vec<_>>(), ["ThingRequest", "Item"]);
    let amount = &request.structs[0].fields[0];
    assert_eq!((amount.ty.clone(), amount.versions), (Type::Prim(Prim::Int32), Versions { min: 1, max: 3 }));
    assert_eq!((amount.default.as_deref(), amount.ignorable), (Some("-1"), true));
    assert_eq!(
        (&amount.docs[..], &request.structs[0].docs[..]),
        (&["How much.".to_owned()][..], &["Asks.".to_owned()][..])
    );
    assert_eq!(request.structs[0].fields[1].nullable, Some(Versions { min: 1, max: 3 }));
    let late = request.get("Item").fields[1].tag.expect("a tag");
    assert_eq!((late.number, late.versions), (4, Versions { min: 3, max: 3 }));
    assert_eq!(messages[1].name(), "ThingResponse");
    assert!(messages[1].structs[0].fields.is_empty());
}

#[test]
fn counts_are_bounded_by_the_fewest_bytes_of_an_item() {
    let generated = compile(&[Source { name: "a", text: EXAMPLE }]).expect("no mistake");
    // Item, flexible without its name: version 3 has only the tag count, version 0 has a 16-bit length.
    let bounded = generated.messages.contains("c::opt_array(buf, flexible, 1, |buf| Item::read(buf, version))");
    assert!(bounded, "{}", generated.messages);
    assert!(generated.apis.contains("(ApiKey::Thing, 0, 3),"));
    assert!(generated.messages.contains("pub use thing_request::ThingRequest;"));
}

#[test]
fn the_same_sources_compile_to_the_same_text() {
    let source = [Source { name: "a", text: EXAMPLE }];
    assert_eq!(compile(&source), compile(&source));
}
