//! Another codec as the oracle: arbitrary messages mean the same to it, field by field and byte by byte.

mod common;

use bytes::{Bytes, BytesMut};
use common::debug::to_json;
use common::generate::{Choices, bytes_of, schemas};
use common::table::{Entry, table};
use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::{Decodable, Encodable};
use proptest::prelude::*;
use serde_json::Value;
use std::fmt::Debug;

type Their = fn(&mut Bytes, i16) -> (String, Bytes);

fn trip<M: Decodable + Encodable + Debug>(buf: &mut Bytes, version: i16) -> (String, Bytes) {
    let message =
        M::decode(buf, version).unwrap_or_else(|error| panic!("{} {version}: {error}", std::any::type_name::<M>()));
    let mut out = BytesMut::new();
    message.encode(&mut out, version).expect("the oracle encodes it");
    (format!("{message:?}"), out.freeze())
}

fn their(name: &str) -> Option<Their> {
    macro_rules! pick {
        ($($name:ident)*) => { match name { $(stringify!($name) => trip::<theirs::$name>,)* _ => return None } };
    }
    let their: Their = pick! {
        ProduceRequest ProduceResponse FetchRequest FetchResponse ListOffsetsRequest ListOffsetsResponse
        DeleteRecordsRequest DeleteRecordsResponse
        MetadataRequest MetadataResponse FindCoordinatorRequest FindCoordinatorResponse
        ApiVersionsRequest ApiVersionsResponse CreateTopicsRequest CreateTopicsResponse
        InitProducerIdRequest InitProducerIdResponse OffsetForLeaderEpochRequest OffsetForLeaderEpochResponse
        AlterPartitionRequest AlterPartitionResponse BrokerRegistrationRequest BrokerRegistrationResponse
        BrokerHeartbeatRequest BrokerHeartbeatResponse AllocateProducerIdsRequest AllocateProducerIdsResponse
        AssignReplicasToDirsRequest AssignReplicasToDirsResponse
        LeaderChangeMessage SnapshotHeaderRecord SnapshotFooterRecord KRaftVersionRecord VotersRecord
        ConsumerProtocolSubscription ConsumerProtocolAssignment
    };
    Some(their)
}

/// Every field of ours is one of theirs with the same value.
fn assert_same(ours: &Value, theirs: &Value, place: &str) {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            for (name, value) in ours {
                let other = theirs.get(name).unwrap_or_else(|| panic!("{place}: the oracle has no {name}"));
                assert_same(value, other, &format!("{place}.{name}"));
            }
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            assert_eq!(ours.len(), theirs.len(), "{place}");
            for (at, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                assert_same(ours, theirs, &format!("{place}[{at}]"));
            }
        }
        _ => assert_eq!(ours, theirs, "{place}"),
    }
}

fn check(entry: &Entry, version: i16, bytes: &Bytes, their: Their) {
    let place = format!("{} version {version}", entry.name);
    let mut rest = bytes.clone();
    let ours = (entry.trip)(&mut rest, version).unwrap_or_else(|error| panic!("{place}: {error}"));
    assert!(rest.is_empty(), "{place}: bytes left over");
    assert_eq!(ours.encoded, bytes, "{place}");
    assert_eq!(ours.lost, None, "{place}");
    let mut rest = bytes.clone();
    let (debug, encoded) = their(&mut rest, version);
    assert!(rest.is_empty(), "{place}: the oracle leaves bytes over");
    assert_eq!(encoded, bytes, "{place}: the oracle encodes it differently");
    assert_same(&to_json(&ours.debug), &to_json(&debug), &place);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_codecs_read_the_same_fields_and_write_the_same_bytes(choices in prop::collection::vec(any::<u8>(), 0..400)) {
        let schemas = schemas();
        for entry in table() {
            let Some(their) = their(entry.name) else { continue };
            let message = schemas.iter().find(|message| message.name() == entry.name).expect("its schema");
            for version in entry.versions.clone() {
                let mut bytes = bytes_of(message, version, &mut Choices::new(&choices));
                if message.structs[0].fields.first().is_some_and(|field| field.name == "version") {
                    // Control records carry their version, and the oracle reads on by what stands there.
                    bytes[..2].copy_from_slice(&version.to_be_bytes());
                }
                let bytes = Bytes::from(bytes);
                check(&entry, version, &bytes, their);
            }
        }
    }

    #[test]
    fn metadata_records_come_back_byte_for_byte(choices in prop::collection::vec(any::<u8>(), 0..400)) {
        let schemas = schemas();
        for entry in table().iter().filter(|entry| their(entry.name).is_none()) {
            let message = schemas.iter().find(|message| message.name() == entry.name).expect("its schema");
            for version in entry.versions.clone() {
                let bytes = Bytes::from(bytes_of(message, version, &mut Choices::new(&choices)));
                let trip = (entry.trip)(&mut bytes.clone(), version).expect("it decodes");
                prop_assert_eq!(&trip.encoded, &bytes, "{} version {}", entry.name, version);
            }
        }
    }
}

#[test]
fn defaults_are_the_oracles_defaults() {
    for entry in table() {
        let Some(their) = their(entry.name) else { continue };
        let version = *entry.versions.end();
        let bytes = (entry.default)(version);
        let (_, encoded) = their(&mut bytes.clone(), version);
        assert_eq!(encoded, bytes, "{}", entry.name);
    }
    assert_eq!(format!("{:?}", theirs::FetchRequest::default().max_bytes), "2147483647");
    assert_eq!(klamm_wire::messages::FetchRequest::default().max_bytes, i32::MAX);
    assert!(klamm_wire::messages::BrokerHeartbeatResponse::default().is_fenced);
}
