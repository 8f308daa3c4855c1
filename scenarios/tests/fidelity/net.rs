//! Byte streams.

use crate::differences::*;
use crate::{MS, Side, Stage, accept, expectations, kind};
use bytes::Bytes;
use klamm_env::{Address, Stream};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::Poll;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

expectations!(
    a_close_is_an_end_of_file_behind_all_that_was_written,
    a_half_closed_stream_still_carries_the_other_direction,
    both_ends_may_half_close_and_what_was_written_before_arrives,
    an_end_that_was_read_stays_and_writing_goes_on_until_the_peer_resets,
    the_backlog_keeps_connections_in_the_order_of_their_coming,
    an_abort_reaches_the_peer_as_a_reset_behind_what_had_arrived,
    an_abort_wakes_a_reader_that_waits,
    unread_bytes_turn_a_close_into_a_reset,
    a_write_to_a_peer_that_closed_fails_once_it_has_answered,
    a_port_where_nobody_listens_refuses,
    who_waits_to_be_accepted_is_reset_when_the_listener_goes,
    bytes_and_the_end_wait_for_whoever_accepts_late,
    a_taken_port_is_in_use_until_its_listener_goes,
    port_0_gives_ports_of_their_own,
    each_end_knows_the_other,
    a_reader_that_does_not_read_makes_the_writer_wait,
    reads_take_as_much_as_they_have_room_for,
    pieces_arrive_joined_and_an_empty_write_is_nothing,
    shared_pieces_and_slices_make_one_stream_and_its_end_is_an_empty_piece,
    a_megabyte_arrives_whole_in_both_directions,
);

async fn rest(stream: &mut Box<dyn Stream>) -> Vec<u8> {
    let mut all = vec![];
    stream.read_to_end(&mut all).await.expect("an end in good order");
    all
}

async fn write_pieces(stream: &mut Box<dyn Stream>, pieces: impl IntoIterator<Item = Bytes>) {
    let mut pieces: VecDeque<Bytes> = pieces.into_iter().collect();
    while !pieces.is_empty() {
        let left: usize = pieces.iter().map(Bytes::len).sum();
        let written = poll_fn(|cx| stream.poll_write_pieces(cx, &mut pieces)).await.unwrap();
        assert_eq!(pieces.iter().map(Bytes::len).sum::<usize>(), left - written, "what is written is taken out");
    }
}

async fn shared_pieces_and_slices_make_one_stream_and_its_end_is_an_empty_piece(stage: Stage) {
    let (mut client, mut server) = stage.pair().await;
    let sending = async move {
        write_pieces(&mut client, [Bytes::from_static(b"one "), Bytes::from(vec![b'x'; 200_000])]).await;
        client.write_all(b" two ").await.unwrap();
        write_pieces(&mut client, (0..40).map(|number| Bytes::from(vec![number; 3]))).await;
        drop(client);
    };
    stage.client.tasks.spawn("sending", Box::pin(sending));
    let mut all = vec![0; 6];
    server.read_exact(&mut all).await.unwrap();
    loop {
        match poll_fn(|cx| server.poll_read_piece(cx)).await.unwrap() {
            piece if piece.is_empty() => break,
            piece => all.extend_from_slice(&piece),
        }
    }
    let expected =
        [&b"one "[..], &[b'x'; 200_000], b" two ", &(0..40).flat_map(|number| [number; 3]).collect::<Vec<u8>>()];
    assert!(all == expected.concat(), "{} bytes", all.len());
}

async fn a_close_is_an_end_of_file_behind_all_that_was_written(stage: Stage) {
    let (mut client, mut server) = stage.pair().await;
    client.write_all(b"hello").await.unwrap();
    drop(client);
    assert_eq!(rest(&mut server).await, b"hello");
    assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0, "and it stays at its end");
}

async fn a_half_closed_stream_still_carries_the_other_direction(stage: Stage) {
    let (mut client, mut server) = stage.pair().await;
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut server).await, b"question");
    assert_eq!(kind(client.write(b"more").await), ErrorKind::BrokenPipe);
    server.write_all(&[7; 10_000]).await.unwrap();
    drop(server);
    assert_eq!(rest(&mut client).await, [7; 10_000]);
}

async fn both_ends_may_half_close_and_what_was_written_before_arrives(stage: Stage) {
    let (mut client, mut server) = stage.pair().await;
    client.write_all(b"one").await.unwrap();
    client.shutdown().await.unwrap();
    client.shutdown().await.expect("once more is nothing");
    server.write_all(b"two").await.unwrap();
    server.shutdown().await.unwrap();
    assert_eq!(rest(&mut server).await, b"one");
    assert_eq!(rest(&mut client).await, b"two");
    assert_eq!(kind(server.write(b"more").await), ErrorKind::BrokenPipe);
}

async fn an_end_that_was_read_stays_and_writing_goes_on_until_the_peer_resets(stage: Stage) {
    let (mut client, mut server) = stage.pair().await;
    client.shutdown().await.unwrap();
    assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
    server.write_all(b"heard").await.unwrap();
    client.read_exact(&mut [0; 5]).await.unwrap();
    client.abort();
    stage.sleep_ms(50).await;
    assert_eq!(kind(server.write(b"x").await), ErrorKind::BrokenPipe, "an RST behind a FIN");
    assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
}

async fn the_backlog_keeps_connections_in_the_order_of_their_coming(stage: Stage) {
    let mut listener = stage.listen().await;
    let mut clients = vec![];
    for number in 0..10 {
        let mut client = stage.connect(stage.address(&*listener)).await.unwrap();
        client.write_u8(number).await.unwrap();
        stage.sleep_ms(2).await;
        clients.push(client);
    }
    for number in 0..10 {
        assert_eq!(accept(&mut listener).await.read_u8().await.unwrap(), number);
    }
}

async fn an_abort_reaches_the_peer_as_a_reset_behind_what_had_arrived(stage: Stage) {
    let (mut client, mut server) = stage.pair().await;
    client.write_all(b"hello").await.unwrap();
    assert_eq!(server.read_u8().await.unwrap(), b'h', "so all of it has arrived");
    client.abort();
    let found = kind(client.write(b"x").await);
    stage.differs(&WRITE_AFTER_OWN_ABORT, found, ErrorKind::NotConnected, ErrorKind::ConnectionAborted);
    stage.sleep_ms(50).await;
    let mut arrived = [0; 4];
    server.read_exact(&mut arrived).await.unwrap();
    assert_eq!(&arrived, b"ello");
    assert_eq!(kind(server.read(&mut arrived).await), ErrorKind::ConnectionReset);
}

async fn an_abort_wakes_a_reader_that_waits(stage: Stage) {
    let (mut client, mut server) = stage.pair().await;
    let mut buffer = [0; 8];
    let mut reading = Box::pin(server.read(&mut buffer));
    poll_fn(|cx| {
        assert!(reading.as_mut().poll(cx).is_pending(), "nothing was written");
        Poll::Ready(())
    })
    .await;
    client.abort();
    assert_eq!(kind(reading.await), ErrorKind::ConnectionReset);
    let again = server.read(&mut [0; 8]).await.map_err(|error| error.kind());
    stage.differs(&READ_AFTER_THE_ERROR_WAS_TOLD, again, Err(ErrorKind::ConnectionReset), Ok(0));
    assert!(server.write(b"x").await.is_err(), "and nothing can be written");
}

async fn unread_bytes_turn_a_close_into_a_reset(stage: Stage) {
    let (mut client, mut server) = stage.pair().await;
    client.write_all(b"ab").await.unwrap();
    assert_eq!(server.read_u8().await.unwrap(), b'a', "so the other one has arrived too");
    drop(server);
    assert_eq!(kind(client.read(&mut [0; 8]).await), ErrorKind::ConnectionReset);
}

async fn a_write_to_a_peer_that_closed_fails_once_it_has_answered(stage: Stage) {
    let (mut client, server) = stage.pair().await;
    drop(server);
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    assert_eq!(client.write(b"x").await.unwrap(), 1, "a peer that closed may still be reading");
    let error = loop {
        match client.write(b"x").await {
            Ok(_) => stage.sleep_ms(1).await,
            Err(error) => break error.kind(),
        }
    };
    assert_eq!(error, ErrorKind::BrokenPipe, "an RST behind a FIN");
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0, "the end that was read stays");
}

async fn a_port_where_nobody_listens_refuses(stage: Stage) {
    let listener = stage.listen().await;
    let at = stage.address(&*listener);
    drop(listener);
    assert_eq!(kind(stage.connect(at).await), ErrorKind::ConnectionRefused);
}

async fn who_waits_to_be_accepted_is_reset_when_the_listener_goes(stage: Stage) {
    let listener = stage.listen().await;
    let mut client = stage.connect(stage.address(&*listener)).await.unwrap();
    stage.sleep_ms(20).await;
    drop(listener);
    assert_eq!(kind(client.read(&mut [0; 8]).await), ErrorKind::ConnectionReset);
}

async fn bytes_and_the_end_wait_for_whoever_accepts_late(stage: Stage) {
    let mut listener = stage.listen().await;
    let mut client = stage.connect(stage.address(&*listener)).await.unwrap();
    client.write_all(b"early").await.unwrap();
    drop(client);
    stage.sleep_ms(20).await;
    let mut server = accept(&mut listener).await;
    assert_eq!(rest(&mut server).await, b"early");
}

async fn a_taken_port_is_in_use_until_its_listener_goes(stage: Stage) {
    let listener = stage.listen().await;
    let at = Address::new("", listener.address().port);
    assert_eq!(kind(stage.server.net.listen(at.clone()).await), ErrorKind::AddrInUse);
    drop(listener);
    assert_eq!(stage.server.net.listen(at.clone()).await.unwrap().address().port, at.port);
}

async fn port_0_gives_ports_of_their_own(stage: Stage) {
    let (one, two) = (stage.listen().await, stage.listen().await);
    let ports = [one.address().port, two.address().port];
    assert!(ports[0] != 0 && ports[1] != 0 && ports[0] != ports[1], "{ports:?}");
}

async fn each_end_knows_the_other(stage: Stage) {
    let mut listener = stage.listen().await;
    let at = stage.address(&*listener);
    let (one, two) = (stage.connect(at.clone()).await.unwrap(), stage.connect(at.clone()).await.unwrap());
    assert_eq!((one.peer(), two.peer()), (at.clone(), at));
    let ports = [accept(&mut listener).await.peer().port, accept(&mut listener).await.peer().port];
    assert!(ports[0] != 0 && ports[0] != ports[1], "every connection has a port of its own: {ports:?}");
}

/// Writes until the stream takes no more for a while; how many bytes it took.
async fn fill(stage: &Stage, stream: &mut Box<dyn Stream>) -> u64 {
    let (mut taken, chunk) = (0, [5; 65_536]);
    while taken < 1 << 30 {
        let until = stage.client.clock.mono_ns() + 300 * MS;
        match stage.client.clock.before(until, stream.write(&chunk)).await {
            Some(count) => taken += count.unwrap() as u64,
            None => return taken,
        }
    }
    panic!("a gigabyte was taken that nobody reads");
}

async fn a_reader_that_does_not_read_makes_the_writer_wait(stage: Stage) {
    let (mut client, mut server) = stage.pair().await;
    let taken = fill(&stage, &mut client).await;
    stage.differs(&ROOM_OF_A_STREAM, taken > 65_536, false, true);
    assert!(taken >= 65_536, "one frame must have room: {taken}");
    let mut buffer = vec![0; 65_536];
    let mut read = 0;
    while read < taken {
        read += server.read(&mut buffer).await.unwrap() as u64;
    }
    let until = stage.client.clock.mono_ns() + 10_000 * MS;
    let more = stage.client.clock.before(until, client.write_all(&[6; 1000])).await;
    more.expect("a reader that reads makes room").unwrap();
    server.read_exact(&mut buffer[..1000]).await.unwrap();
    assert_eq!((read, buffer[0], buffer[999]), (taken, 6, 6));
}

async fn reads_take_as_much_as_they_have_room_for(stage: Stage) {
    let (mut client, mut server) = stage.pair().await;
    client.write_all(b"0123456789").await.unwrap();
    drop(client);
    let mut all: Vec<u8> = vec![];
    loop {
        let mut room = [0; 3];
        let count = server.read(&mut room).await.unwrap();
        assert!(count <= 3);
        if count == 0 {
            break;
        }
        all.extend(&room[..count]);
    }
    assert_eq!(all, b"0123456789");
}

async fn pieces_arrive_joined_and_an_empty_write_is_nothing(stage: Stage) {
    let (mut client, mut server) = stage.pair().await;
    assert_eq!(client.write(b"").await.unwrap(), 0);
    let pieces = [IoSlice::new(b"he"), IoSlice::new(b""), IoSlice::new(b"llo")];
    // As any write, it may take less than all.
    let count = poll_fn(|cx| Pin::new(&mut client).poll_write_vectored(cx, &pieces)).await.unwrap();
    assert!((1..=5).contains(&count), "{count}");
    client.write_all(&b"hello"[count..]).await.unwrap();
    drop(client);
    assert_eq!(rest(&mut server).await, b"hello");
}

async fn a_megabyte_arrives_whole_in_both_directions(stage: Stage) {
    let (client, server) = stage.pair().await;
    let bytes: Vec<u8> = (0..1_000_000u32).map(|n| ((n * 31) >> 3) as u8).collect();
    let (mut ends, mut told) = (vec![], vec![]);
    for (env, stream) in [(&stage.client, client), (&stage.server, server)] {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let (tell, heard) = tokio::sync::oneshot::channel();
        let bytes = bytes.clone();
        env.tasks.spawn(
            "writer",
            Box::pin(async move {
                writer.write_all(&bytes).await.unwrap();
                writer.shutdown().await.unwrap();
                tell.send(writer).ok().expect("the test waits");
            }),
        );
        let (tell_all, heard_all) = tokio::sync::oneshot::channel();
        env.tasks.spawn(
            "reader",
            Box::pin(async move {
                let mut all = vec![];
                reader.read_to_end(&mut all).await.unwrap();
                tell_all.send(all).expect("the test waits");
            }),
        );
        ends.push(heard);
        told.push(heard_all);
    }
    for heard in told {
        assert!(heard.await.unwrap() == bytes, "other bytes than were written, {:?}", stage.side == Side::Real);
    }
    for end in ends {
        drop(end.await.unwrap());
    }
}
