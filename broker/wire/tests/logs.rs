//! Log segments that Kafka wrote: every batch is what Kafka's own dumper says it is, every record what a consumer got.

mod common;

use bytes::{Bytes, BytesMut};
use common::debug::{assert_has, to_json};
use common::table::entry;
use klamm_base::NodeId;
use klamm_wire::metadata::MetadataRecord;
use klamm_wire::records::{
    Batch, BatchBuilder, BatchHeader, Codec, ControlType, leader_change, read_leader_change, records, split,
    split_whole,
};
use serde_json::Value;
use std::collections::BTreeMap;

fn batches(bytes: &Bytes) -> Vec<Batch> {
    split(bytes).collect::<Result<_, _>>().expect("a segment of whole batches")
}

/// The dumper's lines about each segment: `PARTITION.BASE.log` to one map of fields per batch.
fn dumped() -> BTreeMap<String, Vec<BTreeMap<String, String>>> {
    let mut all = BTreeMap::new();
    let mut name = String::new();
    for line in common::unzip_text("dump-all-batches.txt.gz").lines() {
        if let Some(path) = line.strip_prefix("Dumping ") {
            name = path.replace('/', ".");
        } else if line.starts_with("baseOffset:") {
            let words: Vec<&str> = line.split_whitespace().collect();
            let fields = words.chunks(2).map(|pair| (pair[0].trim_end_matches(':').to_owned(), pair[1].to_owned()));
            all.entry(name.clone()).or_insert_with(Vec::new).push(fields.collect());
        }
    }
    all
}

fn as_dumped(header: &BatchHeader) -> BTreeMap<&'static str, String> {
    let codec = format!("{:?}", header.codec().expect("a codec")).to_lowercase();
    BTreeMap::from([
        ("baseOffset", header.base_offset.to_string()),
        ("lastOffset", header.last_offset().to_string()),
        ("count", header.record_count.to_string()),
        ("baseSequence", header.base_sequence.to_string()),
        ("lastSequence", header.last_sequence().to_string()),
        ("producerId", header.producer_id.to_string()),
        ("producerEpoch", header.producer_epoch.to_string()),
        ("partitionLeaderEpoch", header.partition_leader_epoch.to_string()),
        ("isTransactional", header.is_transactional().to_string()),
        ("isControl", header.is_control().to_string()),
        ("size", header.size().to_string()),
        ("magic", header.magic.to_string()),
        ("compresscodec", codec),
        ("crc", header.crc.to_string()),
    ])
}

#[test]
fn every_batch_is_what_kafkas_dumper_says() {
    let dumped = dumped();
    let mut seen = 0;
    for (name, bytes) in common::segments().iter().filter(|(name, _)| name.ends_with(".log")) {
        let (ours, theirs) = (batches(bytes), &dumped[name]);
        assert_eq!(ours.len(), theirs.len(), "{name}");
        let mut position = 0;
        for (batch, line) in ours.iter().zip(theirs) {
            for (field, value) in as_dumped(&batch.header) {
                assert_eq!(line.get(field), Some(&value), "{name}: {field} at {position}");
            }
            assert_eq!(line["position"], position.to_string());
            assert!(batch.crc_ok(), "{name}: {position}");
            assert_eq!(batch.header.to_bytes()[..], batch.bytes[..61]);
            position += batch.header.size();
            seen += 1;
        }
        assert_eq!(position, bytes.len());
    }
    assert_eq!(seen, 836, "batches of the segments in the test data");
}

#[test]
fn every_batch_of_every_codec_iterates_to_its_record_count() {
    let (mut count, mut codecs) = (0, BTreeMap::<Codec, usize>::new());
    for (name, bytes) in common::segments() {
        for batch in batches(&bytes) {
            let records: Vec<_> =
                records(&batch).collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(records.len(), batch.header.record_count as usize, "{name}");
            assert!(records.windows(2).all(|pair| pair[0].offset < pair[1].offset), "{name}");
            let inside = |offset| (batch.header.base_offset..=batch.header.last_offset()).contains(&offset);
            assert!(records.iter().all(|record| inside(record.offset)), "{name}");
            *codecs.entry(batch.header.codec().expect("a codec")).or_default() += 1;
            count += records.len();
        }
    }
    assert!(count > 5000 && codecs.len() == 5, "{count} records, {codecs:?}");
}

fn text(bytes: Option<&[u8]>) -> Value {
    let Some(bytes) = bytes else { return Value::Null };
    let printable = bytes.iter().all(|byte| (0x20..0x7f).contains(byte));
    if printable {
        return Value::from(String::from_utf8_lossy(bytes));
    }
    serde_json::json!({ "hex": bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>() })
}

#[test]
fn records_of_each_codec_are_what_a_consumer_got() {
    let segments: BTreeMap<String, Bytes> = common::segments().into_iter().collect();
    for topic in ["codec-none", "codec-gzip", "codec-snappy", "codec-lz4", "codec-zstd", "append-time"] {
        let consumed = common::unzip_text(&format!("consumed-{topic}-read_committed.jsonl.gz"));
        let mut consumed = consumed.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        for batch in batches(&segments[&format!("{topic}-0.00000000000000000000.log")]) {
            for record in records(&batch) {
                let (record, line) = (record.expect("a record"), consumed.next().expect("as many lines"));
                assert_eq!(line["offset"], record.offset, "{topic}");
                assert_eq!(line["ts"], record.timestamp, "{topic} {}", record.offset);
                assert_eq!(line["key"], text(record.key.as_deref()), "{topic} {}", record.offset);
                assert_eq!(line["value"], text(record.value.as_deref()), "{topic} {}", record.offset);
                let header = |(key, value): &(klamm_wire::Str, Option<Bytes>)| {
                    Value::Array(vec![Value::from(key.as_str()), text(value.as_deref())])
                };
                assert_eq!(line["headers"], Value::Array(record.headers.iter().map(header).collect()), "{topic}");
            }
        }
        assert!(consumed.next().expect("the closing line").get("end").is_some(), "{topic}");
    }
}

/// `RegisterBrokerRecord` as Kafka's dumper names it.
fn shouted(name: &str) -> String {
    let mut out = String::new();
    for (at, c) in name.char_indices() {
        if c.is_ascii_uppercase() && at > 0 {
            out.push('_');
        }
        out.push(c.to_ascii_uppercase());
    }
    out
}

#[test]
fn every_metadata_record_decodes_to_the_dumped_fields_and_encodes_to_the_same_bytes() {
    let segments: BTreeMap<String, Bytes> = common::segments().into_iter().collect();
    let dump = common::unzip_text("dump-cluster-metadata.txt.gz");
    let mut dump = dump.lines().filter_map(|line| {
        let (head, payload) = line.split_once(" payload: ")?;
        let offset: i64 = head.split_whitespace().nth(2)?.parse().ok()?;
        Some((offset, serde_json::from_str::<Value>(payload).ok()?))
    });
    let mut seen = 0;
    for batch in batches(&segments["__cluster_metadata-0.00000000000000000000.log"]) {
        for record in records(&batch).filter(|_| !batch.header.is_control()) {
            let record = record.expect("a record");
            let value = record.value.expect("a metadata record has a value");
            let (decoded, version) = MetadataRecord::decode_versioned(&value).expect("a known record");
            let (offset, line) = dump.next().expect("a dumped record");
            assert_eq!((offset, &line["version"]), (record.offset, &Value::from(version)));
            assert_eq!(line["type"], shouted(decoded.name()));
            assert_has(&to_json(&format!("{decoded:?}")), &line["data"], &format!("offset {offset}"));
            assert_eq!(decoded.encode_version(version), value, "offset {offset}");
            assert_eq!(MetadataRecord::decode(&decoded.encode()), Ok(decoded), "offset {offset}");
            seen += 1;
        }
    }
    assert_eq!((seen, dump.next()), (342, None));
}

#[test]
fn a_snapshot_opens_and_closes_with_control_records_around_metadata_records() {
    let (_, bytes) = common::segments().into_iter().find(|(name, _)| name.ends_with("checkpoint")).expect("a snapshot");
    let (mut kinds, mut records_seen) = (Vec::new(), 0);
    for batch in batches(&bytes) {
        for record in records(&batch) {
            let record = record.expect("a record");
            if batch.header.is_control() {
                kinds.push(ControlType::of(&record).expect("a key").expect("a known type"));
            } else {
                let value = record.value.expect("a value");
                let (decoded, version) = MetadataRecord::decode_versioned(&value).expect("a known record");
                assert_eq!(decoded.encode_version(version), value);
                records_seen += 1;
            }
        }
    }
    assert_eq!(kinds, [ControlType::SnapshotHeader, ControlType::SnapshotFooter]);
    assert_eq!(records_seen, 87);
}

#[test]
fn a_leader_change_is_the_very_batch_that_kafka_writes() {
    let segments: BTreeMap<String, Bytes> = common::segments().into_iter().collect();
    let batch = &batches(&segments["__cluster_metadata-0.00000000000000000000.log"])[0];
    let header = &batch.header;
    let ours =
        leader_change(0, header.partition_leader_epoch, header.base_timestamp, NodeId(1), &[NodeId(1)], &[NodeId(1)]);
    assert_eq!(&ours, batch);
    let message = read_leader_change(batch).expect("it reads").expect("a leader change");
    assert_eq!((message.leader_id, message.voters.len()), (1, 1));
}

#[test]
fn a_batch_rebuilt_from_its_records_has_the_same_bytes() {
    let segments: BTreeMap<String, Bytes> = common::segments().into_iter().collect();
    let mut rebuilt = 0;
    for name in ["idem-0", "idem-1", "codec-none-0", "tiny-batches-0", "groups-0"] {
        for batch in batches(&segments[&format!("{name}.00000000000000000000.log")]) {
            let mut builder = BatchBuilder::new(0);
            for record in records(&batch) {
                let record = record.expect("a record");
                let headers: Vec<_> =
                    record.headers.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
                builder.push(record.timestamp, record.key.as_deref(), record.value.as_deref(), &headers);
            }
            let header = &batch.header;
            builder.producer(header.producer_id, header.producer_epoch, header.base_sequence);
            assert_eq!(builder.estimated_size(), batch.bytes.len(), "{name}");
            let ours = builder.at(header.base_offset, header.partition_leader_epoch).build();
            assert_eq!(ours, batch, "{name} at {}", header.base_offset);
            rebuilt += 1;
        }
    }
    assert!(rebuilt > 400, "{rebuilt}");
}

#[test]
fn a_placed_batch_keeps_its_checksum_and_its_identity() {
    for (_, bytes) in common::segments() {
        for batch in batches(&bytes) {
            let placed = batch.placed(1 << 40, 77);
            assert_eq!((placed.header.base_offset, placed.header.partition_leader_epoch), (1 << 40, 77));
            assert!(placed.crc_ok());
            assert_eq!(placed.header.identity(), batch.header.identity());
            assert_eq!(placed.payload(), batch.payload());
            let alone = Batch { bytes: Bytes::from(batch.bytes.to_vec()), ..batch };
            let (at, shared) = (alone.bytes.as_ptr(), alone.clone());
            assert_eq!(shared.into_placed(1 << 40, 77), placed, "a copy, as another holds the bytes");
            let in_place = alone.into_placed(1 << 40, 77);
            assert_eq!((&in_place, in_place.bytes.as_ptr()), (&placed, at), "no copy");
            assert_eq!(Batch::parse(&placed.bytes), Ok(placed));
        }
    }
}

#[test]
fn different_batches_have_different_identities() {
    let mut seen: BTreeMap<u64, Bytes> = BTreeMap::new();
    for (_, bytes) in common::segments() {
        for batch in batches(&bytes) {
            let content = batch.bytes.slice(17..);
            let other = seen.insert(batch.header.identity(), content.clone());
            assert!(other.is_none_or(|other| other == content));
        }
    }
    assert_eq!(seen.len(), 839);
}

#[test]
fn a_truncated_last_batch_ends_a_fetch_and_is_an_error_in_a_produce() {
    let segments: BTreeMap<String, Bytes> = common::segments().into_iter().collect();
    let whole = &segments["idem-0.00000000000000000000.log"];
    let count = batches(whole).len();
    for cut in [1, 12, 30, 61, 62] {
        let torn = whole.slice(..whole.len() - cut);
        assert_eq!(split_whole(&torn).filter(Result::is_ok).count(), count - 1);
        assert_eq!(split_whole(&torn).count(), count - 1);
        let items: Vec<_> = split(&torn).collect();
        assert_eq!(items.len(), count);
        assert!(items[count - 1].is_err());
    }
    let mut broken = BytesMut::from(&whole[..]);
    broken[16] = 1;
    assert_eq!(split_whole(&broken.freeze()).collect::<Vec<_>>(), [Err(klamm_wire::WireError::BadMagic(1))]);
}

#[test]
fn an_unchanged_default_record_names_its_frame() {
    let record = MetadataRecord::from(klamm_wire::messages::NoOpRecord {});
    assert_eq!(record.encode()[..], [1, 20, 0, 0]);
    assert_eq!(entry("NoOpRecord").key, 20);
}
