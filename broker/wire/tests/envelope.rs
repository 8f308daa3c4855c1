//! Frames, headers and what the trait promises beside the messages' own bytes.

use bytes::{BufMut, Bytes, BytesMut};
use klamm_base::Uuid;
use klamm_wire::frame::{self, FrameReader, write_length};
use klamm_wire::messages::fetch_request::FetchTopic;
use klamm_wire::messages::metadata_request::MetadataRequestTopic;
use klamm_wire::messages::{
    ApiVersionsRequest, FetchRequest, FindCoordinatorRequest, ListOffsetsRequest, MetadataRequest,
};
use klamm_wire::metadata::MetadataRecord;
use klamm_wire::{ApiKey, Message, RequestHeader, Str, WireError, response_header_encode};

fn encode(message: &impl Message, version: i16) -> Bytes {
    let mut out = Vec::new();
    message.encode(&mut out, version);
    Bytes::from(out)
}

#[test]
fn frames_come_out_whole_however_the_stream_is_cut() {
    let frames: [&[u8]; 3] = [b"first", b"", b"the third one"];
    let stream: Vec<u8> = frames.iter().flat_map(|frame| [&write_length(frame.len())[..], frame].concat()).collect();
    for step in 1..stream.len() {
        let mut reader = FrameReader::new(100);
        let mut seen = Vec::new();
        for piece in stream.chunks(step) {
            reader.push(Bytes::copy_from_slice(piece));
            while let Some(frame) = reader.pop().expect("no frame is too large") {
                seen.push(frame);
            }
        }
        assert_eq!(seen, frames, "pieces of {step}");
        assert_eq!(reader.pending(), 0);
    }
}

#[test]
fn a_frame_begins_with_its_length() {
    for body in [&b""[..], b"x", b"a longer one"] {
        let mut frame = frame::begin(5);
        frame.extend_from_slice(body);
        assert_eq!(frame::finish(frame), [&write_length(body.len())[..], body].concat());
    }
}

#[test]
fn a_frame_over_the_limit_or_of_negative_length_is_refused_by_its_length_alone() {
    let mut reader = FrameReader::new(100);
    reader.push(Bytes::copy_from_slice(&101i32.to_be_bytes()));
    assert_eq!(reader.pop(), Err(WireError::FrameTooLarge { length: 101, limit: 100 }));
    let mut reader = FrameReader::new(100);
    reader.push(Bytes::from_static(&[0xff, 0xff, 0xff, 0xff]));
    assert_eq!(reader.pop(), Err(WireError::FrameTooLarge { length: -1, limit: 100 }));
}

#[test]
fn a_header_of_a_version_not_known_yet_can_be_read() {
    let header = RequestHeader {
        api_key: ApiKey::ApiVersions,
        api_version: 99,
        correlation_id: 7,
        client_id: Some(Str::from("new")),
    };
    let mut out = Vec::new();
    header.encode(&mut out);
    out.put_slice(b"a body of tomorrow");
    let mut rest = Bytes::from(out);
    assert_eq!(RequestHeader::decode(&mut rest), Ok(header));
    assert_eq!(rest, &b"a body of tomorrow"[..]);
    assert!(!ApiKey::ApiVersions.supports(99));
    let refused = WireError::UnsupportedVersion { message: "ApiVersionsRequest", version: 99 };
    assert_eq!(ApiVersionsRequest::decode(&mut rest, 99), Err(refused));
}

#[test]
fn an_api_without_a_codec_is_named() {
    let mut bytes = Bytes::from_static(&[0, 77, 0, 0, 0, 0, 0, 1, 0xff, 0xff]);
    assert_eq!(RequestHeader::decode(&mut bytes), Err(WireError::UnknownApi(77)));
}

#[test]
fn api_versions_answers_under_a_header_without_tags() {
    let mut out = Vec::new();
    response_header_encode(&mut out, ApiKey::ApiVersions, 4, 1);
    assert_eq!(out.len(), 4);
    response_header_encode(&mut out, ApiKey::Fetch, 12, 1);
    assert_eq!(out.len(), 9);
}

#[test]
fn bytes_after_a_request_are_left_alone() {
    let mut bytes = BytesMut::from(&encode(&FetchRequest::default(), 4)[..]);
    bytes.put_u8(42);
    let mut rest = bytes.freeze();
    assert_eq!(FetchRequest::decode(&mut rest, 4).map(|request| request.max_bytes), Ok(i32::MAX));
    assert_eq!(rest, &[42][..]);
}

#[test]
fn unknown_tagged_fields_are_skipped() {
    let plain = encode(&ListOffsetsRequest::default(), 6);
    assert_eq!(plain.last(), Some(&0));
    let mut bytes = BytesMut::from(&plain[..plain.len() - 1]);
    // Two tags, 5 and 300, of three and zero bytes.
    bytes.put_slice(&[2, 5, 3, 9, 9, 9, 0xac, 2, 0]);
    let mut rest = bytes.freeze();
    assert_eq!(ListOffsetsRequest::decode(&mut rest, 6), Ok(ListOffsetsRequest::default()));
    assert!(rest.is_empty());
}

#[test]
fn null_is_refused_in_versions_without_null() {
    let all = MetadataRequest { topics: None, ..MetadataRequest::default() };
    let mut bytes = encode(&all, 1);
    assert_eq!(bytes[..4], [0xff; 4]);
    assert_eq!(MetadataRequest::decode(&mut bytes.clone(), 1), Ok(all.clone()));
    assert_eq!(MetadataRequest::decode(&mut bytes, 0), Err(WireError::UnexpectedNull));
    assert_eq!((all.inexpressible(0), all.inexpressible(1)), (Some("MetadataRequest.topics"), None));
    assert_eq!(encode(&all, 0), &[0; 4][..]);
}

#[test]
fn a_loss_that_matters_is_named_and_an_ignorable_one_is_not() {
    let by_id = MetadataRequestTopic { topic_id: Uuid(5), name: None };
    let request = MetadataRequest { topics: Some(vec![by_id]), ..MetadataRequest::default() };
    assert_eq!(request.inexpressible(10), None);
    assert_eq!(request.inexpressible(9), Some("MetadataRequestTopic.name"));
    let keys = FindCoordinatorRequest { coordinator_keys: vec![Str::from("g")], ..FindCoordinatorRequest::default() };
    assert_eq!(keys.inexpressible(3), Some("FindCoordinatorRequest.coordinator_keys"));
    let topic = FetchTopic { topic_id: Uuid(9), ..FetchTopic::default() };
    let fetch = FetchRequest { rack_id: Str::from("r1"), topics: vec![topic], ..FetchRequest::default() };
    assert_eq!(fetch.inexpressible(4), None);
}

#[test]
fn a_string_too_long_for_its_length_is_cut_at_a_character() {
    let key = Str::from("é".repeat(20_000));
    let request = FindCoordinatorRequest { key: key.clone(), ..FindCoordinatorRequest::default() };
    let short = FindCoordinatorRequest::decode(&mut encode(&request, 2), 2).expect("it decodes");
    assert_eq!((short.key.len(), key.starts_with(&*short.key)), (32_766, true));
    assert_eq!(FindCoordinatorRequest::decode(&mut encode(&request, 3), 3), Ok(request));
}

#[test]
fn four_bytes_do_not_ask_for_memory() {
    let mut bytes = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff]);
    assert_eq!(MetadataRequest::decode(&mut bytes, 1), Err(WireError::BadLength(i64::from(i32::MAX))));
}

#[test]
fn records_stay_a_slice_of_the_frame() {
    use klamm_wire::messages::ProduceRequest;
    use klamm_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
    let records = Some(Bytes::from(vec![7; 1000]));
    let partition_data = vec![PartitionProduceData { index: 1, records }];
    let topic = TopicProduceData { name: Str::from("t"), partition_data, ..TopicProduceData::default() };
    let request = ProduceRequest { topic_data: vec![topic], ..ProduceRequest::default() };
    let frame = encode(&request, 9);
    let decoded = ProduceRequest::decode(&mut frame.clone(), 9).expect("it decodes");
    let slice = decoded.topic_data[0].partition_data[0].records.as_ref().expect("records");
    assert!(frame.as_ptr_range().contains(&slice.as_ptr()), "the records were copied");
    assert_eq!(decoded, request);
}

#[test]
fn a_metadata_record_in_an_unknown_frame_or_of_an_unknown_type_is_refused() {
    let decode = |bytes: &'static [u8]| MetadataRecord::decode(&Bytes::from_static(bytes));
    assert_eq!(decode(&[2, 20, 0, 0]), Err(WireError::BadRecordFrame(2)));
    assert_eq!(decode(&[1, 99, 0, 0]), Err(WireError::UnknownRecordType(99)));
    let refused = WireError::UnsupportedVersion { message: "NoOpRecord", version: 1 };
    assert_eq!(decode(&[1, 20, 1, 0]), Err(refused));
    assert_eq!(decode(&[1]), Err(WireError::Truncated));
}

#[test]
fn a_str_compares_and_sorts_as_its_text() {
    let (a, b) = (Str::from("a"), Str::from(String::from("b")));
    assert!(a < b && a == "a" && b == *"b" && a.detached() == a);
    assert_eq!((a.to_string(), format!("{b:?}"), Str::default().len()), ("a".to_owned(), "\"b\"".to_owned(), 0));
    assert_eq!(Str::try_from(Bytes::from_static(&[0xff])), Err(WireError::BadUtf8));
}
