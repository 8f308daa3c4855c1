//! `klamm log` on directories that Kafka wrote: a dump tells what Kafka's own dumper tells, and verify names every damage and
//! nothing else.

#![allow(clippy::disallowed_methods, reason = "test files")]

use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn klamm(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_klamm")).args(args).env_remove("RUST_LOG").output().unwrap()
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../broker/log/tests/data").join(name)
}

/// A log directory of the test data, unpacked.
fn unpacked(archive: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let packed = std::fs::File::open(data(archive)).unwrap();
    tar::Archive::new(flate2::read::GzDecoder::new(packed)).unpack(dir.path()).unwrap();
    dir
}

fn expected(name: &str) -> String {
    // Two of them are the codec's test data, too.
    let codecs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../broker/wire/tests/data").join(name);
    let path = Some(data("expected").join(name)).filter(|path| path.exists()).unwrap_or(codecs);
    let mut text = String::new();
    let packed = std::fs::read(path).unwrap();
    flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut text).unwrap();
    text
}

/// The lines about each file.
type Files = BTreeMap<String, Vec<String>>;

fn by_file(text: &str) -> Files {
    let mut files = Files::new();
    let mut name = String::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        match line.strip_prefix("Dumping ") {
            Some(next) => {
                name = next.to_owned();
                files.entry(name.clone()).or_default();
            }
            None => files.entry(name.clone()).or_default().push(line.to_owned()),
        }
    }
    files
}

/// What `klamm log dump --records` prints.
fn dumped(dir: &Path) -> Files {
    let output = klamm(&["log", "dump", dir.to_str().unwrap(), "--records"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    by_file(std::str::from_utf8(&output.stdout).unwrap())
}

/// `name: value name: value`; Java's way to say that there is none, and a timestamp that is printed twice, are taken out.
fn facts(line: &str) -> BTreeMap<&str, &str> {
    let words: Vec<&str> = line.split_whitespace().collect();
    assert!(words.len().is_multiple_of(2), "{line}");
    let mut facts: BTreeMap<&str, &str> =
        words.chunks(2).map(|pair| (pair[0].trim_end_matches(':'), pair[1])).collect();
    for told in facts.values_mut() {
        if *told == "OptionalLong.empty" {
            *told = "none";
        }
        *told = told.strip_prefix("OptionalLong[").and_then(|told| told.strip_suffix(']')).unwrap_or(told);
    }
    if facts.contains_key("lastTimestamp") {
        facts.remove("timestamp");
    }
    facts
}

fn is_batch(line: &&String) -> bool {
    line.starts_with("baseOffset:")
}

fn is_record(line: &&String) -> bool {
    line.starts_with('|')
}

/// Compares lines of each file that Kafka's dumper told something about; returns how many there were.
fn same_facts(ours: &Files, theirs: &Files, of_interest: impl Fn(&&String) -> bool) -> usize {
    let mut seen = 0;
    for (file, theirs) in theirs.iter().filter(|(file, _)| !file.contains('*')) {
        let ours: Vec<_> = ours[file].iter().filter(&of_interest).map(|line| facts(line)).collect();
        let theirs: Vec<_> = theirs.iter().filter(&of_interest).map(|line| facts(line)).collect();
        assert_eq!(ours, theirs, "{file}");
        seen += theirs.len();
    }
    seen
}

#[test]
fn every_batch_of_every_log_is_told_as_kafka_tells_it() {
    let dir = unpacked("data-dir-clean.tar.gz");
    let ours = dumped(dir.path());
    let theirs = by_file(&expected("dump-all-batches.txt.gz"));
    assert_eq!(same_facts(&ours, &theirs, is_batch), 1264);
    let logs = |files: &Files| files.keys().filter(|file| file.ends_with(".log")).cloned().collect::<Vec<_>>();
    assert_eq!(logs(&ours), logs(&theirs), "no log is left out");
}

#[test]
fn every_entry_of_indexes_and_producer_snapshots_is_told_as_kafka_tells_it() {
    let dir = unpacked("data-dir-clean.tar.gz");
    let ours = dumped(dir.path());
    // An empty index has a line of its own there.
    let is_entry = |line: &&String| line.contains(": ") && !line.ends_with("is empty.");
    for (name, entries) in
        [("dump-indexes.txt.gz", 327 - 5), ("dump-txnindex.txt.gz", 26), ("dump-producer-snapshots.txt.gz", 20)]
    {
        assert_eq!(same_facts(&ours, &by_file(&expected(name)), is_entry), entries, "{name}");
    }
}

/// Our line of a record with the keys of its headers only, as Kafka's has them.
fn with_header_keys(line: &str) -> String {
    let (head, rest) = line.split_once(" headers: [").expect("headers");
    let (headers, tail) = rest.split_once(']').expect("their end");
    let keys: Vec<&str> = headers.split(',').map(|header| header.split('=').next().unwrap_or("")).collect();
    format!("{head} headerKeys: [{}]{tail}", keys.join(","))
}

#[test]
fn every_record_is_told_as_kafka_tells_it() {
    let dir = unpacked("data-dir-clean.tar.gz");
    let ours = dumped(dir.path());
    let mut seen = 0;
    for (file, theirs) in by_file(&expected("dump-logs-records.txt.gz")) {
        let ours: Vec<String> = ours[&file].iter().filter(is_record).map(|line| with_header_keys(line)).collect();
        let theirs: Vec<&str> = theirs.iter().filter(is_record).map(|line| line.trim_end()).collect();
        assert_eq!(ours, theirs, "{file}");
        seen += ours.len();
    }
    assert_eq!(seen, 3773);
}

/// Every field of theirs is one of ours with the same value. Ours tells those, too, that a version does not have.
fn assert_has(ours: &Value, theirs: &Value, place: &str) {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            for (name, value) in theirs {
                let own = ours.get(name).unwrap_or_else(|| panic!("{place}: no {name}"));
                assert_has(own, value, &format!("{place}.{name}"));
            }
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            assert_eq!(ours.len(), theirs.len(), "{place}");
            ours.iter().zip(theirs).for_each(|(ours, theirs)| assert_has(ours, theirs, place));
        }
        _ => assert_eq!(ours, theirs, "{place}"),
    }
}

/// What stands behind `name: ` in a record's line, up to the next of the names that may follow it.
fn part<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(&format!(" {name}: "))?;
    Some(rest.split(" payload: ").next().unwrap_or(rest).trim_end())
}

/// Two texts of JSON, or two texts.
fn same_json(ours: Option<&str>, theirs: Option<&str>, place: &str) {
    let (Some(ours), Some(theirs)) = (ours, theirs) else { return assert_eq!(ours, theirs, "{place}") };
    match serde_json::from_str::<Value>(theirs) {
        Ok(theirs) => assert_has(&serde_json::from_str(ours).expect(ours), &theirs, place),
        Err(_) => assert_eq!(ours, theirs, "{place}"),
    }
}

/// Decoded records of a log; returns how many.
fn same_decoded(ours: &Files, theirs: &Files) -> usize {
    let mut seen = 0;
    for (file, theirs) in theirs.iter().filter(|(file, _)| !file.contains('*')) {
        let ours: Vec<&String> = ours[file].iter().filter(is_record).collect();
        let theirs: Vec<&String> = theirs.iter().filter(is_record).collect();
        assert_eq!(ours.len(), theirs.len(), "{file}");
        for (own, their) in ours.iter().zip(&theirs) {
            let plain = |line: &str| line.split(" header").next().unwrap_or("").to_owned();
            assert_eq!(plain(own), plain(their), "{file}");
            for name in ["key", "payload", "endTxnMarker", "SnapshotHeader", "SnapshotFooter"].iter().copied() {
                let json =
                    |line| part(line, name).or_else(|| line.split_once(&format!(" {name} ")).map(|(_, json)| json));
                same_json(json(own), json(their), &format!("{file}: {their}"));
            }
            seen += 1;
        }
    }
    seen
}

#[test]
fn group_and_metadata_records_are_decoded_as_kafka_decodes_them() {
    let clean = unpacked("data-dir-clean.tar.gz");
    let ours = dumped(clean.path());
    assert_eq!(same_decoded(&ours, &by_file(&expected("dump-consumer-offsets.txt.gz"))), 35);
    assert_eq!(same_decoded(&ours, &by_file(&expected("dump-cluster-metadata.txt.gz"))), 346);
    let metadata = unpacked("metadata-snapshot.tar.gz");
    let (ours, theirs) = (dumped(metadata.path()), by_file(&expected("dump-metadata-snapshot.txt.gz")));
    assert_eq!(same_decoded(&ours, &theirs), 306);
    assert_eq!(same_facts(&ours, &theirs, is_batch), 62);
    let end = |files: &Files| files.values().flatten().find(|line| line.starts_with("Snapshot end")).cloned();
    assert_eq!(end(&ours), end(&theirs));
}

/// `producerId:2,producerEpoch:0,state=Ongoing,partitions=[txn-0],…` of a value as we decode it.
fn as_kafkas(value: &Value) -> String {
    let data = &value["data"];
    let mut partitions = Vec::new();
    for topic in data["transactionPartitions"].as_array().into_iter().flatten() {
        for id in topic["partitionIds"].as_array().unwrap() {
            partitions.push(format!("{}-{id}", topic["topic"].as_str().unwrap()));
        }
    }
    partitions.sort();
    format!(
        "producerId:{},producerEpoch:{},state={},partitions=[{}],txnLastUpdateTimestamp={},txnTimeoutMs={}",
        data["producerId"],
        data["producerEpoch"],
        data["state"].as_str().unwrap_or("?"),
        partitions.join(","),
        data["transactionLastUpdateTimestampMs"],
        data["transactionTimeoutMs"]
    )
}

/// The same line with its partitions in order; Kafka's are in a hash table's.
fn in_order(text: &str) -> String {
    let (head, rest) = text.split_once("partitions=[").expect("partitions");
    let (list, tail) = rest.split_once(']').expect("their end");
    let mut partitions: Vec<&str> = list.split(',').collect();
    partitions.sort_unstable();
    format!("{head}partitions=[{}]{tail}", partitions.join(","))
}

#[test]
fn transaction_records_are_decoded_as_kafka_decodes_them() {
    let dir = unpacked("data-dir-clean.tar.gz");
    let ours = dumped(dir.path());
    let mut seen = 0;
    for (file, theirs) in by_file(&expected("dump-transaction-state.txt.gz")) {
        let ours: Vec<&String> = ours[&file].iter().filter(is_record).collect();
        let theirs: Vec<&String> = theirs.iter().filter(is_record).collect();
        assert_eq!(ours.len(), theirs.len(), "{file}");
        for (own, their) in ours.iter().zip(theirs) {
            let json = |name| serde_json::from_str::<Value>(part(own, name).expect("decoded")).expect("JSON");
            let key = format!(
                "transaction_metadata::transactionalId={}",
                json("key")["data"]["transactionalId"].as_str().unwrap()
            );
            assert_eq!(Some(key.as_str()), part(their, "key"));
            assert_eq!(as_kafkas(&json("payload")), in_order(part(their, "payload").expect("a value")));
            seen += 1;
        }
    }
    assert_eq!(seen, 212);
}

#[test]
fn the_text_files_are_told_line_by_line() {
    let dir = unpacked("data-dir-clean.tar.gz");
    let ours = dumped(dir.path());
    let mut seen = 0;
    for (file, lines) in by_file(&expected("checkpoints-clean.txt.gz").replace("== ", "Dumping ")) {
        let Some(entries) = lines.get(2..).filter(|_| file.ends_with("checkpoint")) else { continue };
        let values: Vec<String> = ours[&file].iter().map(|line| facts_in_order(line).join(" ")).collect();
        assert_eq!(values, entries, "{file}");
        seen += entries.len();
    }
    assert_eq!(seen, 136);
}

/// The values of `name: value name: value`.
fn facts_in_order(line: &str) -> Vec<&str> {
    line.split_whitespace().skip(1).step_by(2).collect()
}

#[test]
fn a_damaged_log_is_told_up_to_its_damage() {
    let dir = unpacked("data-dir-unclean.tar.gz");
    let (ours, theirs) = (dumped(dir.path()), by_file(&expected("dump-unclean-batches.txt.gz")));
    assert_eq!(same_facts(&ours, &theirs, is_batch), 597);
    let found = |files: &Files| {
        let lines = &files["tiny-batches-0/00000000000000000000.log"];
        lines.iter().any(|line| line.starts_with("Found 61 invalid bytes at the end of 00000000000000000000.log"))
    };
    assert!(found(&ours) && found(&theirs));
}

/// Exit code, text, and the JSON of the last line.
fn verified(dir: &Path) -> (Option<i32>, String, Value) {
    let output = klamm(&["log", "verify", dir.to_str().unwrap(), "--json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!error.contains("panicked"), "{error}");
    let json = text.lines().last().map_or(Value::Null, |line| serde_json::from_str(line).unwrap());
    (output.status.code(), text, json)
}

/// File and byte of each damage.
fn damages(json: &Value) -> Vec<(String, u64)> {
    let one = |damage: &Value| (damage["file"].as_str().unwrap().to_owned(), damage["position"].as_u64().unwrap());
    json["damages"].as_array().unwrap().iter().map(one).collect()
}

#[test]
fn what_kafka_closed_has_no_damage_and_nothing_to_note() {
    let dir = unpacked("data-dir-clean.tar.gz");
    let (code, text, json) = verified(dir.path());
    assert_eq!(code, Some(0), "{text}");
    assert_eq!((damages(&json), json["notes"].as_array().unwrap().len()), (Vec::new(), 0), "{text}");
    assert_eq!((json["files"].as_u64(), json["batches"].as_u64()), (Some(252), Some(1267)));
    let metadata = unpacked("metadata-snapshot.tar.gz");
    let (code, text, json) = verified(&metadata.path().join("__cluster_metadata-0"));
    assert_eq!((code, damages(&json)), (Some(0), Vec::new()), "{text}");
}

#[test]
fn of_a_killed_brokers_directory_exactly_the_two_damaged_logs_are_named() {
    let dir = unpacked("data-dir-unclean.tar.gz");
    let (code, text, json) = verified(dir.path());
    assert_eq!(code, Some(1), "{text}");
    let wrong = [
        ("codec-none-0/00000000000000000000.log".to_owned(), 21534),
        ("tiny-batches-0/00000000000000000000.log".to_owned(), 40065),
    ];
    assert_eq!(damages(&json), wrong, "{text}");
    assert_eq!(json["preallocated_files"], 66, "indexes that a killed broker leaves as they are");
    let notes = json["notes"].as_array().unwrap();
    let follows = |note: &&Value| note["what"].as_str().unwrap().contains("follows from");
    assert!(notes.iter().all(|note| follows(&note)), "{text}");
    assert_eq!(notes.len(), 4, "what claims offset 399 of the torn log: {text}");
}

/// What verify says of the directory with one file changed; the file is put back.
fn with_change(dir: &Path, file: &str, change: impl FnOnce(&mut Vec<u8>)) -> (Option<i32>, String, Value) {
    let path = dir.join(file);
    let before = std::fs::read(&path).ok();
    let mut bytes = before.clone().unwrap_or_default();
    change(&mut bytes);
    std::fs::write(&path, bytes).unwrap();
    let said = verified(dir);
    match before {
        Some(before) => std::fs::write(&path, before).unwrap(),
        None => std::fs::remove_file(&path).unwrap(),
    }
    said
}

fn is_named(dir: &Path, file: &str, position: u64, words: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let (code, text, json) = with_change(dir, file, change);
    assert_eq!(code, Some(1), "{file}: {text}");
    assert_eq!(damages(&json), [(file.to_owned(), position)], "{text}");
    let what = json["damages"][0]["what"].as_str().unwrap();
    assert!(what.contains(words), "{file}: {what}");
}

#[test]
fn each_damage_is_named_with_its_file_its_byte_and_what_was_expected() {
    let dir = unpacked("data-dir-clean.tar.gz");
    let is_named = |file: &str, position, words: &str, change: &dyn Fn(&mut Vec<u8>)| {
        is_named(dir.path(), file, position, words, change);
    };
    let flip = |at: usize| move |bytes: &mut Vec<u8>| bytes[at] ^= 1;
    is_named("txn-0/00000000000000000018.log", 0, "checksum", &flip(70));
    is_named("txn-0/00000000000000000018.index", 152, "an entry has 8", &|bytes: &mut Vec<u8>| bytes.truncate(159));
    is_named("txn-0/00000000000000000018.index", 0, "lies inside of the batch", &flip(7));
    is_named("txn-0/00000000000000000018.index", 8, "but a batch there ends with offset", &|bytes: &mut Vec<u8>| {
        bytes[11] -= 1
    });
    is_named("txn-0/00000000000000000018.timeindex", 108 - 12, "an entry has 12", &|bytes: &mut Vec<u8>| {
        bytes.truncate(107)
    });
    is_named("txn-0/00000000000000000018.timeindex", 12, "but up to there the log has", &flip(19));
    is_named("txn-0/00000000000000000018.timeindex", 96, "it must end with", &|bytes: &mut Vec<u8>| bytes.truncate(96));
    is_named("txn-0/00000000000000000018.txnindex", 34, "but the log has", &flip(34 + 9));
    is_named("txn-0/00000000000000000018.txnindex", 136, "missing", &|bytes: &mut Vec<u8>| bytes.truncate(136));
    is_named("txn-0/00000000000000000160.snapshot", 2, "checksum", &flip(40));
    is_named("txn-0/leader-epoch-checkpoint", 4, "but the batch at offset 0 is of epoch 0", &|bytes: &mut Vec<u8>| {
        bytes[4] = b'1'
    });
    is_named("txn-0/partition.metadata", 11, "topic_id", &|bytes: &mut Vec<u8>| bytes.truncate(20));
    is_named("__cluster_metadata-0/quorum-state", 124, "JSON", &|bytes: &mut Vec<u8>| bytes.truncate(124));
    is_named("meta.properties", 88, "cluster.id", &|bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - 34));
    is_named("bootstrap.checkpoint", 201, "footer", &|bytes: &mut Vec<u8>| bytes.truncate(201));
}

#[test]
fn a_segment_that_is_gone_from_the_midst_is_damage_and_one_at_the_end_a_note() {
    let lost = |base: u64| {
        let dir = unpacked("data-dir-clean.tar.gz");
        std::fs::remove_file(dir.path().join(format!("big-batches-0/{base:020}.log"))).unwrap();
        verified(&dir.path().join("big-batches-0"))
    };
    let (code, text, json) = lost(400);
    let indexes = ["index", "timeindex"].map(|kind| (format!("{:020}.{kind}", 400), 0));
    assert_eq!((code, damages(&json)), (Some(1), indexes.to_vec()), "{text}");
    let (code, text, json) = lost(0);
    assert_eq!((code, json["notes"].as_array().unwrap().len()), (Some(0), 2), "{text}");
}

#[test]
fn a_producer_snapshot_that_says_other_than_the_log_is_damage_though_its_checksum_fits() {
    let forged = |bytes: &mut Vec<u8>| {
        bytes[10 + 13] ^= 1;
        let crc = crc32c::crc32c(&bytes[6..]);
        bytes[2..6].copy_from_slice(&crc.to_be_bytes());
    };
    let dir = unpacked("data-dir-clean.tar.gz");
    let words = "producer 2: last sequence 46, but the log gives 47";
    is_named(dir.path(), "txn-0/00000000000000000160.snapshot", 10, words, forged);
}

#[test]
fn a_checkpoint_that_claims_more_than_the_log_is_damage() {
    let raised = |bytes: &mut Vec<u8>| {
        let text = String::from_utf8(bytes.clone()).unwrap();
        *bytes = text.replace("txn 0 160\n", "txn 0 161\n").into_bytes();
    };
    let dir = unpacked("data-dir-clean.tar.gz");
    let place = |file: &str| {
        let text = std::fs::read_to_string(dir.path().join(file)).unwrap();
        text.find("\ntxn 0 160\n").unwrap() as u64 + 1
    };
    for file in ["recovery-point-offset-checkpoint", "replication-offset-checkpoint"] {
        is_named(dir.path(), file, place(file), "161 of txn-0, but the log ends at 160", raised);
    }
}

#[test]
fn what_is_left_on_its_way_is_noted_and_no_damage() {
    let dir = unpacked("data-dir-clean.tar.gz");
    for name in
        ["txn-0/00000000000000000000.log.deleted", "txn-0/00000000000000000018.log.swap", "txn-0/x.tmp", "notes.txt"]
    {
        let (code, text, json) = with_change(dir.path(), name, |bytes| bytes.push(0));
        assert_eq!((code, damages(&json)), (Some(0), Vec::new()), "{text}");
        assert_eq!(json["notes"][0]["file"], name, "{text}");
    }
}

#[test]
fn what_is_no_log_directory_is_refused_with_what_to_do() {
    let empty = tempfile::tempdir().unwrap();
    let text = empty.path().join("orders.txt");
    std::fs::write(&text, "no log").unwrap();
    let missing = empty.path().join("missing");
    for (path, words) in
        [(empty.path(), "no log directory"), (&text, "no file of a log directory"), (&missing, "No such file")]
    {
        for what in ["dump", "verify"] {
            let output = klamm(&["log", what, path.to_str().unwrap()]);
            let error = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{what}: {error}");
            assert!(error.contains(words) && error.contains("log.dirs"), "{what}: {error}");
            assert!(error.contains(path.to_str().unwrap()), "{what}: {error}");
        }
    }
}

#[test]
fn a_log_directory_right_below_is_named() {
    let dir = unpacked("data-dir-clean.tar.gz");
    let outer = tempfile::tempdir().unwrap();
    let logs = outer.path().join("logs");
    std::fs::create_dir(&logs).unwrap();
    std::fs::copy(dir.path().join("meta.properties"), logs.join("meta.properties")).unwrap();
    let output = klamm(&["log", "verify", outer.path().to_str().unwrap()]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains(&format!("{} is one", logs.display())), "{error}");
}

#[test]
fn one_partition_and_one_file_can_be_named_alone() {
    let dir = unpacked("data-dir-clean.tar.gz");
    let files = dir.path().join("txn-0").read_dir().unwrap();
    let alone = files.map(|file| (format!("txn-0/{}", file.unwrap().file_name().to_str().unwrap()), 1));
    let others = [("txn-0".to_owned(), 11), ("log-start-offset-checkpoint".to_owned(), 1)];
    for (path, files) in alone.chain(others) {
        let (code, text, json) = verified(&dir.path().join(&path));
        assert_eq!((code, json["files"].as_u64()), (Some(0), Some(files)), "{text}");
        assert!(json["notes"].as_array().unwrap().is_empty(), "{text}");
    }
    let index = dir.path().join("txn-0/00000000000000000018.timeindex");
    let output = klamm(&["log", "dump", index.to_str().unwrap(), "--json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let json: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!((json["files"].as_u64(), json["entries"].as_u64()), (Some(1), Some(9)), "{text}");
    assert!(text.contains("timestamp: 1795151952341 offset: 19"), "{text}");
}

#[test]
fn bytes_that_mean_nothing_never_panic() {
    let dir = tempfile::tempdir().unwrap();
    let partition = dir.path().join("orders-0");
    std::fs::create_dir(&partition).unwrap();
    for (seed, length) in [(1u64, 0usize), (2, 5), (3, 61), (4, 4096), (5, 70_000)] {
        let mut word = seed;
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (word >> 56) as u8
        })
        .take(length)
        .collect();
        for name in ["00000000000000000000.log", "00000000000000000000.index", "00000000000000000000.timeindex"] {
            std::fs::write(partition.join(name), &bytes).unwrap();
        }
        for name in ["00000000000000000000.txnindex", "00000000000000000000.snapshot", "leader-epoch-checkpoint"] {
            std::fs::write(partition.join(name), &bytes).unwrap();
        }
        let (code, text, _) = verified(dir.path());
        assert_eq!(code, Some(1), "{text}");
        assert_eq!(klamm(&["log", "dump", dir.path().to_str().unwrap(), "--records"]).status.code(), Some(0));
    }
}

#[test]
fn a_leader_epoch_that_leaps_is_named_in_the_log_and_against_the_checkpoint() {
    let file = "txn-0/00000000000000000018.log";
    let dir = unpacked("data-dir-clean.tar.gz");
    let (code, text, json) = with_change(dir.path(), file, |bytes| bytes[78 + 15] = 0xff);
    assert_eq!(code, Some(1));
    let both = [("txn-0/leader-epoch-checkpoint".to_owned(), 4), (file.to_owned(), 156)];
    assert_eq!(damages(&json), both, "the batch at 156 is of a lower epoch than the one before it: {text}");
}
