//! A real client at the real broker: kcat, over TCP, on real files. Without kcat each test says so and passes.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "real processes, files, sockets and time are what is tested"
)]

mod stage;

use serde_json::Value;
use stage::{Broker, Producing, assert_same, consume, has_kcat, kcat, klamm, produce, run};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

fn numbered(lines: std::ops::Range<u32>) -> Vec<u8> {
    lines
        .map(|n| format!("line {n:06} of a text that compresses well, as texts of numbered lines do\n"))
        .collect::<String>()
        .into()
}

#[test]
fn kcat_lists_the_broker_and_a_topic() {
    if !has_kcat("kcat_lists_the_broker_and_a_topic") {
        return;
    }
    let folder = TempDir::new().unwrap();
    let broker = Broker::start(folder.path());
    produce(&broker.address, "orders", &[], b"one\n");
    let listed: Value = serde_json::from_slice(&kcat(&broker.address, &["-L", "-J"], b"")).unwrap();
    assert_eq!(listed["brokers"][0]["name"], broker.address.as_str(), "{listed}");
    assert_eq!(listed["topics"][0]["topic"], "orders", "{listed}");
    assert_eq!(listed["topics"][0]["partitions"][0]["leader"], 1, "{listed}");
    assert_eq!(listed["topics"].as_array().unwrap().len(), 1, "internal topics are not shown: {listed}");
}

/// Kafka's codec numbers, as they stand in a batch's attributes.
const CODECS: [(&str, i16); 5] = [("none", 0), ("gzip", 1), ("snappy", 2), ("lz4", 3), ("zstd", 4)];

/// The codecs that this kcat was built with.
fn codecs() -> Vec<(&'static str, i16)> {
    let version = Command::new("kcat").arg("-V").output().unwrap();
    let text = String::from_utf8_lossy(&version.stdout).into_owned() + &String::from_utf8_lossy(&version.stderr);
    let features = text.split("builtin.features=").nth(1).unwrap_or_default().trim_end().trim_end_matches(')');
    let built: BTreeSet<&str> = features.split(',').collect();
    CODECS.into_iter().filter(|(name, _)| *name == "none" || built.contains(name)).collect()
}

/// The codec of each batch in a topic's first segment: attributes stand 21 bytes into a batch, its length 8 bytes.
fn stored_codecs(dir: &Path, topic: &str) -> BTreeSet<i16> {
    let log = std::fs::read(dir.join(format!("logs/{topic}-0/00000000000000000000.log"))).unwrap();
    let mut found = BTreeSet::new();
    let mut rest = log.as_slice();
    while let Some(header) = rest.first_chunk::<61>() {
        found.insert(i16::from_be_bytes([header[21], header[22]]) & 7);
        rest = &rest[12 + u32::from_be_bytes(header[8..12].try_into().unwrap()) as usize..];
    }
    assert!(rest.is_empty(), "the log ends with a whole batch");
    found
}

#[test]
fn records_come_back_the_same_with_every_codec_plain_and_idempotent() {
    if !has_kcat("records_come_back_the_same_with_every_codec_plain_and_idempotent") {
        return;
    }
    let folder = TempDir::new().unwrap();
    let broker = Broker::start(folder.path());
    let text = numbered(0..2000);
    let codecs = codecs();
    assert!(codecs.len() > 1, "kcat has no codec but none");
    std::thread::scope(|scope| {
        for (codec, number) in codecs {
            for idempotent in ["false", "true"] {
                let (text, address, dir) = (&text, &broker.address, folder.path());
                scope.spawn(move || there_and_back(address, dir, (codec, number), idempotent, text));
            }
        }
    });
}

fn there_and_back(address: &str, dir: &Path, (codec, number): (&str, i16), idempotent: &str, text: &[u8]) {
    let topic = format!("{codec}-{idempotent}");
    produce(address, &topic, &["-z", codec, "-X", &format!("enable.idempotence={idempotent}")], text);
    assert_same(&consume(address, &topic), text, &topic);
    let stored = stored_codecs(dir, &topic);
    // A batch that compression would make larger is sent as it is.
    assert!(stored.contains(&number) && stored.is_subset(&BTreeSet::from([0, number])), "{topic}: {stored:?}");
}

/// The project's own sources, one after the other in the order of their paths, empty lines dropped.
fn real_text() -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Vec::new();
    for folder in ["benches", "broker", "checkers", "reports", "scenarios", "sim"] {
        texts_below(&root.join(folder), &mut files);
    }
    files.sort();
    let mut text = Vec::new();
    for file in files {
        let content = std::fs::read(file).unwrap();
        for line in content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            text.extend_from_slice(line);
            text.push(b'\n');
        }
    }
    text
}

fn texts_below(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            texts_below(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "md") {
            files.push(path);
        }
    }
}

#[test]
fn a_real_text_of_ten_thousand_lines_comes_back_complete_and_in_order() {
    if !has_kcat("a_real_text_of_ten_thousand_lines_comes_back_complete_and_in_order") {
        return;
    }
    let text = real_text();
    let lines = text.iter().filter(|byte| **byte == b'\n').count();
    assert!(lines >= 10_000, "the text has {lines} lines only");
    let folder = TempDir::new().unwrap();
    let broker = Broker::start(folder.path());
    produce(&broker.address, "text", &["-z", "lz4", "-X", "enable.idempotence=true"], &text);
    assert_same(&consume(&broker.address, "text"), &text, "text");
}

/// How much kcat is given before the kill, and after it: so it is certainly not done when the broker dies.
const BEFORE: u32 = 15_000;
const ALL: u32 = 20_000;
/// How many acknowledgements are awaited before the kill.
const ACKED: usize = 1000;

#[test]
fn a_broker_killed_while_kcat_produces_goes_on_with_every_line_once_and_in_order() {
    if !has_kcat("a_broker_killed_while_kcat_produces_goes_on_with_every_line_once_and_in_order") {
        return;
    }
    let folder = TempDir::new().unwrap();
    let broker = Broker::start(folder.path());
    let address = broker.address.clone();
    let mut producing = Producing::start(&address, "lines", numbered(0..BEFORE), numbered(BEFORE..ALL));
    producing.wait_for(ACKED);
    broker.kill();
    assert!(producing.is_producing(), "the kill struck during the produce");
    let broker = Broker::start_with(folder.path(), &address, &[]);
    let acked = producing.finish();
    assert_eq!(acked.len(), ALL as usize, "kcat reports each line acknowledged once");
    assert_same(&consume(&broker.address, "lines"), &numbered(0..ALL), "after the kill");
}

#[test]
fn a_broker_and_kcat_killed_in_the_middle_leave_every_acknowledged_line() {
    if !has_kcat("a_broker_and_kcat_killed_in_the_middle_leave_every_acknowledged_line") {
        return;
    }
    let folder = TempDir::new().unwrap();
    let broker = Broker::start(folder.path());
    let address = broker.address.clone();
    let mut producing = Producing::start(&address, "lines", numbered(0..BEFORE), numbered(BEFORE..ALL));
    producing.wait_for(ACKED);
    broker.kill();
    let acked = producing.kill();
    let broker = Broker::start_with(folder.path(), &address, &[]);
    let there = consume(&broker.address, "lines");
    let count = there.iter().filter(|byte| **byte == b'\n').count();
    // The n-th line sits at offset n: with no line lost or twice, the log is a beginning of what was sent.
    assert_same(&there, &numbered(0..count as u32), "what is there");
    let last = acked.iter().max().copied().unwrap();
    assert!(acked.len() >= ACKED && count < ALL as usize, "{} acknowledged, {count} there", acked.len());
    assert!(last < count as i64, "offset {last} was acknowledged, {count} lines are there");
    assert!(acked.len() <= count, "{} lines were acknowledged, {count} are there", acked.len());
}

#[test]
fn a_stop_in_good_order_leaves_everything_and_the_next_start_serves_at_once() {
    if !has_kcat("a_stop_in_good_order_leaves_everything_and_the_next_start_serves_at_once") {
        return;
    }
    let folder = TempDir::new().unwrap();
    let text = numbered(0..3000);
    // A successor that had to wait for the session's end would not serve before the test's deadline.
    let patient = ["--set", "broker.session.timeout.ms=600000"];
    let mut broker = Broker::start_with(folder.path(), "127.0.0.1:0", &patient);
    produce(&broker.address, "text", &["-z", "zstd"], &text);
    for signal in ["INT", "TERM"] {
        let address = broker.address.clone();
        let status = broker.stop(signal);
        assert!(status.success(), "SIG{signal}: {status}");
        assert!(folder.path().join("logs/.kafka_cleanshutdown").exists(), "SIG{signal}: the stop was clean");
        broker = Broker::start_with(folder.path(), &address, &patient);
        assert_same(&consume(&address, "text"), &text, signal);
    }
    assert!(!folder.path().join("logs/.kafka_cleanshutdown").exists(), "a running broker is not cleanly stopped");
}

/// Exit 2 and one message: it.
fn refused(dir: &Path, listen: &str, words: &[&str]) -> String {
    let (status, output, errors) = run(klamm(dir, listen, words), vec![]);
    assert_eq!(status.code(), Some(2), "{listen} {words:?}: {errors}");
    assert!(output.is_empty(), "it never listened");
    assert_eq!(errors.lines().filter(|line| line.starts_with("error: ")).count(), 1, "one message: {errors}");
    assert!(!errors.contains("panicked"), "{errors}");
    errors
}

#[test]
fn a_second_broker_on_the_same_folder_or_port_is_refused() {
    let (folder, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut broker = Broker::start(folder.path());
    let name = folder.path().display().to_string();
    assert!(refused(folder.path(), "127.0.0.1:0", &[]).contains(&format!("{name} is in use by another broker")));
    assert!(refused(other.path(), &broker.address, &[]).contains(&format!("cannot listen on {}", broker.address)));
    assert!(broker.is_alive());
    broker.kill();
    Broker::start(folder.path());
}

#[test]
fn bad_input_of_the_broker_gives_exit_2_and_one_message() {
    let folder = TempDir::new().unwrap();
    let dir = folder.path();
    for listen in ["nonsense", "127.0.0.1", "127.0.0.1:65536", ":9092", "::1:9092", ""] {
        let text = refused(dir, listen, &[]);
        assert!(text.contains(&format!("`{listen}` is not HOST:PORT")), "{text}");
    }
    assert!(refused(dir, "name.invalid:0", &[]).contains("cannot listen on name.invalid:0"));
    let set = |setting: &str| refused(dir, "127.0.0.1:0", &["--set", setting]);
    assert!(set("broker.sesion.timeout.ms=1").contains("did you mean `broker.session.timeout.ms`?"));
    assert!(set("num.partitions=none").contains("`num.partitions` cannot be `none`"));
    assert!(set("num.partitions").contains("`num.partitions` is not KEY=VALUE"));
    let file = dir.join("file");
    std::fs::write(&file, "").unwrap();
    assert!(refused(&file, "127.0.0.1:0", &[]).contains(&format!("{} cannot be used", file.display())));
}

/// A frame with its length before it.
fn frame(body: &[u8]) -> Vec<u8> {
    [&(body.len() as i32).to_be_bytes(), body].concat()
}

/// Bytes that no client sends. Each is a connection of its own.
fn hostile() -> Vec<Vec<u8>> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise = |len: usize| -> Vec<u8> {
        let step = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..len).map(step).collect()
    };
    // Produce, Fetch, ListOffsets, Metadata, ApiVersions, CreateTopics, InitProducerId, and two that there are not.
    let keys = [0_u8, 1, 2, 3, 18, 19, 22, 77, 255];
    let mut all: Vec<Vec<u8>> = vec![
        vec![],
        i32::MAX.to_be_bytes().to_vec(),
        (-1_i32).to_be_bytes().to_vec(),
        frame(&[]),
        frame(&[0, 18]),
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        [&1000_i32.to_be_bytes(), &[0_u8; 500][..]].concat(),
    ];
    all.extend((0..20).map(|_| noise(64 << 10)));
    for key in keys {
        for version in 0..14 {
            let head = [0, key, 0, version, 0, 0, 0, 7, 0xff, 0xff, 0];
            all.push(frame(&[&head[..], &noise(200)].concat()));
            all.push(frame(&[&head[..], &[0x7f; 40]].concat()));
        }
    }
    all
}

#[test]
fn hostile_bytes_and_idle_connections_do_not_keep_the_broker_from_serving() {
    let folder = TempDir::new().unwrap();
    let mut broker = Broker::start(folder.path());
    let connect = || TcpStream::connect(&broker.address).unwrap();
    let idle: Vec<TcpStream> = (0..200).map(|_| connect()).collect();
    // Lengths that are served, of frames that do not come: nothing may be set aside for them.
    let promised = (100_i32 << 20).to_be_bytes();
    let promising: Vec<TcpStream> = (0..50).map(|_| connect()).collect();
    promising.iter().for_each(|mut stream| stream.write_all(&promised).unwrap());
    for bytes in hostile() {
        // It may hang up in the middle.
        let _ = connect().write_all(&bytes);
    }
    let mut too_long = connect();
    too_long.set_read_timeout(Some(stage::DEADLINE)).unwrap();
    too_long.write_all(&i32::MAX.to_be_bytes()).unwrap();
    assert!(matches!(too_long.read(&mut [0; 1]), Ok(0)), "a frame of 2 GiB ends its connection");
    assert!(broker.is_alive());
    assert!(broker.resident_bytes().is_none_or(|bytes| bytes < 300 << 20), "{:?}", broker.resident_bytes());
    if has_kcat("that kcat is served after hostile bytes") {
        let text = numbered(0..1000);
        produce(&broker.address, "after", &[], &text);
        assert_same(&consume(&broker.address, "after"), &text, "after");
    }
    assert!(broker.is_alive());
    drop((idle, promising));
    let errors = broker.errors();
    assert!(!errors.contains("panicked"), "{errors}");
}
