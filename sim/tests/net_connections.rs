//! What goes wrong with connections: links that answer with RST, faults that strike one of many, peers that are gone without
//! a word, listeners that nobody reaches.

mod common;

use common::*;
use klamm_env::Address;
use klamm_sim::{
    ConnectionFault, ConnectionMatch, Host, KeepAlive, LinkState, Listening, NetProfile, SimConfig, World, WorldEvent,
};
use std::future::poll_fn;
use std::io::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LATENCY: u64 = 200 * US;

/// Whether a read of that end gets nothing, good or bad, for so long.
async fn is_silent(world: &World, host: Host, stream: &mut Duplex, ns: u64) -> bool {
    let clock = world.env(host).clock;
    clock.before(world.now_ns() + ns, stream.read_u8()).await.is_none()
}

async fn read_error(stream: &mut Duplex) -> ErrorKind {
    stream.read_u8().await.unwrap_err().kind()
}

#[test]
fn who_sends_into_a_reset_link_is_reset_after_a_round_trip_and_the_other_end_hears_nothing() {
    simulate(1, |world| async move {
        let (server, client) = two_hosts(&world, LATENCY);
        let (mut mine, mut theirs) = joined(&world, client, server, "test").await;
        world.set_link(client, server, LinkState::Reset).unwrap();
        assert!(is_silent(&world, client, &mut mine, S).await, "who sends nothing learns nothing");
        mine.write_all(b"lost").await.unwrap();
        let sent = world.now_ns();
        assert_eq!(read_error(&mut mine).await, ErrorKind::ConnectionReset);
        assert_eq!(world.now_ns() - sent, 2 * LATENCY);
        world.set_link(client, server, LinkState::Up).unwrap();
        assert!(is_silent(&world, server, &mut theirs, 60 * S).await, "half open");
        theirs.write_u8(1).await.unwrap();
        assert_eq!(read_error(&mut theirs).await, ErrorKind::ConnectionReset, "until it sends");
    });
}

#[test]
fn who_acknowledges_into_a_reset_link_has_the_bytes_and_is_reset() {
    simulate(1, |world| async move {
        let (server, client) = two_hosts(&world, LATENCY);
        let (mut mine, mut theirs) = joined(&world, client, server, "test").await;
        world.set_link(client, server, LinkState::Reset).unwrap();
        let sent = world.now_ns();
        theirs.write_u8(7).await.unwrap();
        assert_eq!(mine.read_u8().await.unwrap(), 7);
        assert_eq!(world.now_ns() - sent, LATENCY);
        assert_eq!(read_error(&mut mine).await, ErrorKind::ConnectionReset);
        assert_eq!(world.now_ns() - sent, 3 * LATENCY);
        assert_eq!(read_error(&mut theirs).await, ErrorKind::TimedOut, "its byte was never acknowledged");
        assert_eq!(world.now_ns() - sent, 30 * S);
    });
}

#[test]
fn connecting_over_a_reset_link_is_refused_after_a_round_trip() {
    simulate(1, |world| async move {
        let (server, client) = two_hosts(&world, LATENCY);
        world.boot(server, |env| Box::pin(echo(env)));
        rest(&world, MS).await;
        world.set_link(client, server, LinkState::Reset).unwrap();
        let asked = world.now_ns();
        let refused = connect(&world.env(client), "server").await.err().unwrap();
        assert_eq!((refused.kind(), world.now_ns() - asked), (ErrorKind::ConnectionRefused, 2 * LATENCY));
        world.set_link(client, server, LinkState::Up).unwrap();
        world.set_link(server, client, LinkState::Reset).unwrap();
        let lost = connect(&world.env(client), "server").await.err().unwrap();
        assert_eq!(lost.kind(), ErrorKind::TimedOut, "an answer that meets a reset is no answer");
    });
}

#[test]
fn bytes_that_wait_when_a_cut_becomes_a_reset_meet_it_and_are_kept_where_the_rst_is_lost() {
    simulate(2, |world| async move {
        let (server, client) = two_hosts(&world, LATENCY);
        let (mut mine, _theirs) = joined(&world, client, server, "test").await;
        world.set_link(client, server, LinkState::Stalled).unwrap();
        mine.write_u8(1).await.unwrap();
        rest(&world, S).await;
        world.set_link(client, server, LinkState::Reset).unwrap();
        let reset = world.now_ns();
        assert_eq!(read_error(&mut mine).await, ErrorKind::ConnectionReset);
        assert!(world.now_ns() - reset <= 200 * MS + 2 * LATENCY);

        world.set_link(client, server, LinkState::Reset).unwrap();
        world.heal_all_links();
        let (mut mine, mut theirs) = joined(&world, client, server, "test").await;
        world.set_link(client, server, LinkState::Reset).unwrap();
        world.set_link(server, client, LinkState::BlackHole).unwrap();
        mine.write_all(b"kept").await.unwrap();
        rest(&world, 10 * S).await;
        world.heal_all_links();
        mine.write_all(b" and more").await.unwrap();
        let mut all = [0; 13];
        theirs.read_exact(&mut all).await.unwrap();
        assert_eq!(&all, b"kept and more", "nothing is missing in between");
    });
}

/// A fault of connections of that role from client to server.
fn of_role(role: &str) -> ConnectionMatch {
    ConnectionMatch { role: Some(role.to_owned()), ..ConnectionMatch::default() }
}

#[test]
fn a_fault_strikes_the_connections_that_match_and_says_how_many() {
    simulate(3, |world| async move {
        let (server, client) = two_hosts(&world, LATENCY);
        let third = world.add_host("third");
        let (mut fetch, _a) = joined(&world, client, server, "fetch").await;
        let (mut heartbeat, mut far) = joined(&world, client, server, "heartbeat").await;
        let (mut other, _b) = joined(&world, third, server, "fetch").await;
        let both = of_role("fetch");
        let one = ConnectionMatch { from: Some(client), to: Some(server), ..both.clone() };
        assert_eq!((world.connections(&both), world.connections(&one)), (2, 1));
        let id = world.add_connection_fault(one, ConnectionFault::Reset).unwrap();
        let struck = world.now_ns();
        assert_eq!(id.struck(), 1);
        assert_eq!(read_error(&mut fetch).await, ErrorKind::ConnectionReset);
        assert_eq!(world.now_ns() - struck, LATENCY, "an RST comes over its link");
        heartbeat.write_u8(1).await.unwrap();
        assert_eq!(far.read_u8().await.unwrap(), 1, "the same link, another role");
        assert!(is_silent(&world, third, &mut other, S).await, "the same role, another host");
        let (mut again, mut far) = joined(&world, client, server, "fetch").await;
        again.write_u8(2).await.unwrap();
        assert_eq!(far.read_u8().await.unwrap(), 2, "a new one is well");
        let none = world.add_connection_fault(of_role("nobody's"), ConnectionFault::Stall).unwrap();
        assert_eq!(none.struck(), 0);
    });
}

#[test]
fn both_ends_of_a_connection_that_is_reset_get_an_rst_behind_what_had_left() {
    simulate(3, |world| async move {
        let (server, client) = two_hosts(&world, LATENCY);
        let (mut mine, mut theirs) = joined(&world, client, server, "test").await;
        mine.write_u8(1).await.unwrap();
        world.add_connection_fault(ConnectionMatch::default(), ConnectionFault::Reset).unwrap();
        assert_eq!(theirs.read_u8().await.unwrap(), 1);
        assert_eq!(read_error(&mut theirs).await, ErrorKind::ConnectionReset);
        assert_eq!(read_error(&mut mine).await, ErrorKind::ConnectionReset);
        assert_eq!(mine.write_u8(1).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_stalled_connection_waits_while_others_pass_and_then_delivers_all_in_order() {
    for seed in 0..10 {
        simulate(seed, |world| async move {
            let (server, client) = two_hosts(&world, LATENCY);
            let (mut slow, mut slow_far) = joined(&world, client, server, "fetch").await;
            let (mut quick, mut quick_far) = joined(&world, client, server, "produce").await;
            slow.write_u8(0).await.unwrap();
            let id = world.add_connection_fault(of_role("fetch"), ConnectionFault::Stall).unwrap();
            assert_eq!(slow_far.read_u8().await.unwrap(), 0, "what had left arrives");
            slow.write_all(&[1, 2]).await.unwrap();
            slow.shutdown().await.unwrap();
            slow_far.write_u8(9).await.unwrap();
            quick.write_u8(1).await.unwrap();
            quick_far.read_u8().await.unwrap();
            assert!(is_silent(&world, server, &mut slow_far, 20 * S).await);
            world.clear_connection_fault(id);
            let cleared = world.now_ns();
            let mut all = vec![];
            slow_far.read_to_end(&mut all).await.unwrap();
            assert_eq!(all, [1, 2]);
            assert!(world.now_ns() - cleared <= 3 * S + LATENCY);
            assert_eq!(slow.read_u8().await.unwrap(), 9);
            world.clear_connection_fault(id); // twice is nothing
        });
    }
}

#[test]
fn an_rst_waits_behind_a_stall_of_its_connection_too() {
    simulate(3, |world| async move {
        let (server, client) = two_hosts(&world, LATENCY);
        let (mut mine, mut theirs) = joined(&world, client, server, "test").await;
        let id = world.add_connection_fault(of_role("test"), ConnectionFault::Stall).unwrap();
        mine.abort();
        assert!(is_silent(&world, server, &mut theirs, 100 * S).await);
        world.clear_connection_fault(id);
        assert_eq!(read_error(&mut theirs).await, ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_stall_longer_than_the_limit_ends_the_stream_of_who_had_sent() {
    simulate(3, |world| async move {
        let (server, client) = two_hosts(&world, LATENCY);
        let (mut mine, mut theirs) = joined(&world, client, server, "test").await;
        world.add_connection_fault(of_role("test"), ConnectionFault::Stall).unwrap();
        mine.write_u8(1).await.unwrap();
        let sent = world.now_ns();
        assert_eq!(read_error(&mut mine).await, ErrorKind::TimedOut);
        assert_eq!(world.now_ns() - sent, 30 * S);
        world.clear_connection_faults();
        assert!(is_silent(&world, server, &mut theirs, 10 * S).await);
    });
}

#[test]
fn a_connection_that_a_box_forgot_is_silent_for_who_waits_and_reset_for_who_sends() {
    simulate(4, |world| async move {
        let (server, client) = two_hosts(&world, LATENCY);
        let (mut mine, mut theirs) = joined(&world, client, server, "test").await;
        let id = world.add_connection_fault(of_role("test"), ConnectionFault::HalfOpen).unwrap();
        world.clear_connection_fault(id); // it stays forgotten
        assert!(is_silent(&world, client, &mut mine, 100 * S).await);
        theirs.write_u8(1).await.unwrap();
        let sent = world.now_ns();
        assert_eq!(read_error(&mut theirs).await, ErrorKind::ConnectionReset);
        assert_eq!(world.now_ns() - sent, 2 * LATENCY);
        drop(theirs);
        assert!(is_silent(&world, client, &mut mine, 100 * S).await, "and still the other end believes");
        mine.write_u8(1).await.unwrap();
        assert_eq!(read_error(&mut mine).await, ErrorKind::ConnectionReset);
        drop(mine);
        rest(&world, 60 * S).await;
        assert_eq!(world.census()[2], 0, "nothing is left of it");
    });
}

#[test]
fn a_slow_close_is_late_by_just_that() {
    simulate(5, |world| async move {
        let (server, client) = two_hosts(&world, LATENCY);
        for abort in [false, true] {
            let (mut mine, mut theirs) = joined(&world, client, server, "test").await;
            let fault = ConnectionFault::SlowClose { ns: 700 * MS };
            let id = world.add_connection_fault(of_role("test"), fault).unwrap();
            mine.write_u8(1).await.unwrap();
            let sent = world.now_ns();
            if abort {
                theirs.read_u8().await.unwrap();
                mine.abort();
            } else {
                drop(mine);
                theirs.read_u8().await.unwrap();
            }
            assert_eq!(world.now_ns() - sent, LATENCY, "bytes are not late");
            let end = theirs.read_u8().await.unwrap_err().kind();
            let closed_at = sent + if abort { LATENCY } else { 0 };
            assert_eq!(world.now_ns() - closed_at, 700 * MS + LATENCY);
            assert_eq!(end, if abort { ErrorKind::ConnectionReset } else { ErrorKind::UnexpectedEof });
            world.clear_connection_fault(id);
        }
    });
}

#[test]
fn a_delayed_connection_is_slower_by_just_that_until_it_is_over() {
    simulate(5, |world| async move {
        let (server, client) = two_hosts(&world, LATENCY);
        let (mut mine, mut theirs) = joined(&world, client, server, "test").await;
        let id = world.add_connection_fault(of_role("test"), ConnectionFault::Delay { ns: 30 * MS }).unwrap();
        for delay in [30 * MS, 0] {
            let sent = world.now_ns();
            mine.write_u8(1).await.unwrap();
            theirs.read_u8().await.unwrap();
            assert_eq!(world.now_ns() - sent, delay + LATENCY);
            world.clear_connection_fault(id);
        }
    });
}

#[test]
fn one_connection_is_corrupted_and_the_others_are_not() {
    simulate(6, |world| async move {
        let (server, client) = two_hosts(&world, LATENCY);
        let (mut bad, mut bad_far) = joined(&world, client, server, "fetch").await;
        let (mut good, mut good_far) = joined(&world, client, server, "produce").await;
        let id = world.add_connection_fault(of_role("fetch"), ConnectionFault::Corrupt { ppm: 1_000_000 }).unwrap();
        for _ in 0..50 {
            bad.write_u64(0).await.unwrap();
            good.write_u64(0).await.unwrap();
            assert_eq!(bad_far.read_u64().await.unwrap().count_ones(), 1);
            assert_eq!(good_far.read_u64().await.unwrap(), 0);
        }
        world.clear_connection_fault(id);
        bad.write_u64(0).await.unwrap();
        assert_eq!(bad_far.read_u64().await.unwrap(), 0);
    });
}

#[test]
fn a_fault_may_also_wait_for_connections_to_come() {
    let notes = Notes::default();
    let said = notes.clone();
    simulate(7, move |world| async move {
        let (server, client) = two_hosts(&world, LATENCY);
        world.on_event(Box::new(move |_, event| match event {
            WorldEvent::ConnectionFaultBegan { role, struck, .. } => notes.say(format!("began {role:?} {struck}")),
            WorldEvent::ConnectionFaultEnded { from, fault, .. } => notes.say(format!("ended {from:?} {fault:?}")),
            _ => {}
        }));
        let which = ConnectionMatch { also_new: true, from: Some(client), ..of_role("test") };
        let id = world.add_connection_fault(which, ConnectionFault::Delay { ns: 5 * MS }).unwrap();
        for delay in [5 * MS, 0] {
            let (mut mine, mut theirs) = joined(&world, client, server, "test").await;
            rest(&world, S).await;
            let sent = world.now_ns();
            mine.write_u8(1).await.unwrap();
            theirs.read_u8().await.unwrap();
            assert_eq!(world.now_ns() - sent, delay + LATENCY);
            world.clear_connection_fault(id);
        }
        assert_eq!(said.take(), ["began Some(\"test\") 0", "ended Some(\"client\") Delay { ns: 5000000 }"]);
    });
}

#[test]
fn bytes_of_an_old_connection_arrive_after_those_of_a_newer_one() {
    let mut overtaken = 0;
    for seed in 0..40 {
        overtaken += simulate(seed, |world| async move {
            let (server, client) = two_hosts(&world, LATENCY);
            let (mut old, mut old_far) = joined(&world, client, server, "produce").await;
            world.set_link(client, server, LinkState::BlackHole).unwrap();
            old.write_all(b"late").await.unwrap();
            drop(old); // its owner gives up and moves on
            rest(&world, 5 * S).await;
            world.set_link(client, server, LinkState::Up).unwrap();
            let (mut new, mut new_far) = joined(&world, client, server, "produce").await;
            new.write_all(b"soon").await.unwrap();
            let mut bytes = [0; 4];
            new_far.read_exact(&mut bytes).await.unwrap();
            assert_eq!(&bytes, b"soon");
            let newer_at = world.now_ns();
            old_far.read_exact(&mut bytes).await.unwrap();
            assert_eq!((&bytes, old_far.read(&mut [0]).await.unwrap()), (b"late", 0), "whole, and then its end");
            u32::from(world.now_ns() > newer_at + 100 * MS)
        });
    }
    assert!((5..35).contains(&overtaken), "long after, or before, as its own clock has it: {overtaken} of 40");
}

/// When the end that waits at a lost machine learns of it, nanoseconds after it last heard something, and how.
fn learns_of_loss(keep_alive: Option<KeepAlive>, restart_after: Option<u64>) -> Option<(u64, ErrorKind)> {
    let profile = NetProfile { keep_alive, ..NetProfile::default() };
    let config = SimConfig { profile, ..SimConfig::new(8) };
    let run = simulate_all(config, move |world| async move {
        let (server, client) = two_hosts(&world, LATENCY);
        world.boot(server, |env| Box::pin(echo(env)));
        rest(&world, MS).await;
        let mut stream = connect(&world.env(client), "server").await.unwrap();
        rest(&world, 7 * S).await;
        ping(&mut stream, b"x").await.unwrap();
        let heard = world.now_ns();
        world.power_off(server);
        if let Some(ns) = restart_after {
            world.spawn("restart", async move {
                world.sleep_until(heard + ns).await;
                world.restart(server);
            });
        }
        let clock = world.env(client).clock;
        let read = clock.before(heard + 3_600 * S, stream.read_u8()).await;
        read.map(|outcome| (world.now_ns() - heard, outcome.unwrap_err().kind()))
    });
    run.outcome.unwrap()
}

const ALIVE: KeepAlive = KeepAlive { idle_ns: 10 * S, interval_ns: S, probes: 3 };

#[test]
fn keep_alive_finds_out_that_a_machine_is_gone_and_without_it_nobody_does() {
    assert_eq!(learns_of_loss(None, None), None);
    assert_eq!(learns_of_loss(Some(ALIVE), None), Some((13 * S, ErrorKind::TimedOut)));
    let reset = Some((12 * S, ErrorKind::ConnectionReset));
    assert_eq!(learns_of_loss(Some(ALIVE), Some(11_500 * MS)), reset, "the next question is answered with an RST");
}

#[test]
fn keep_alive_leaves_connections_in_peace_that_are_well_or_cut_for_a_moment() {
    let profile = NetProfile { keep_alive: Some(ALIVE), ..NetProfile::default() };
    let run = simulate_all(SimConfig { profile, ..SimConfig::new(8) }, |world| async move {
        let (server, client) = two_hosts(&world, LATENCY);
        let (mut mine, mut theirs) = joined(&world, client, server, "test").await;
        rest(&world, 1_000 * S).await;
        for _ in 0..5 {
            world.set_link(client, server, LinkState::BlackHole).unwrap();
            rest(&world, 1_500 * MS).await; // two questions at the most
            world.heal_all_links();
            rest(&world, 15 * S).await;
        }
        mine.write_u8(1).await.unwrap();
        assert_eq!(theirs.read_u8().await.unwrap(), 1);
        world.set_link(client, server, LinkState::BlackHole).unwrap();
        let cut = world.now_ns();
        assert_eq!(read_error(&mut theirs).await, ErrorKind::TimedOut, "an answer must come back");
        assert!(world.now_ns() - cut <= 14 * S);
    });
    run.outcome.unwrap();
}

#[test]
fn a_listener_that_is_made_to_refuse_or_to_be_silent_does_so_for_new_connections() {
    simulate(9, |world| async move {
        let (server, client) = two_hosts(&world, LATENCY);
        world.boot(server, |env| Box::pin(echo(env)));
        rest(&world, MS).await;
        let mut before = connect(&world.env(client), "server").await.unwrap();
        let cases = [
            (Listening::Refuse, Some(ErrorKind::ConnectionRefused), 2 * LATENCY),
            (Listening::Silent, Some(ErrorKind::TimedOut), 10 * S),
            (Listening::Normal, None, 2 * LATENCY),
        ];
        for (listening, error, took) in cases {
            world.set_listening(server, listening).unwrap();
            let asked = world.now_ns();
            let outcome = connect(&world.env(client), "server").await;
            assert_eq!((outcome.err().map(|error| error.kind()), world.now_ns() - asked), (error, took));
            ping(&mut before, b"made before").await.unwrap();
        }
    });
}

#[test]
fn a_connect_may_wait_for_ever() {
    let profile = NetProfile { connect_timeout_ns: u64::MAX, ..NetProfile::default() };
    let run = simulate_all(SimConfig { profile, ..SimConfig::new(9) }, |world| async move {
        let (server, client) = two_hosts(&world, LATENCY);
        world.boot(server, |env| Box::pin(echo(env)));
        world.set_listening(server, Listening::Silent).unwrap();
        let env = world.env(client);
        assert!(env.clock.before(86_400 * S, connect(&env, "server")).await.is_none());
    });
    run.outcome.unwrap();
}

#[test]
fn who_does_not_fit_into_the_backlog_is_not_answered_until_there_is_room() {
    let profile = NetProfile { backlog: 2, ..NetProfile::default() };
    let run = simulate_all(SimConfig { profile, ..SimConfig::new(9) }, |world| async move {
        let (server, client) = two_hosts(&world, LATENCY);
        let mut listener = world.env(server).net.listen(Address::new("", 9)).await.unwrap();
        let env = world.env(client);
        let mut queued = vec![];
        for _ in 0..2 {
            queued.push(connect(&env, "server").await.unwrap());
            rest(&world, MS).await;
        }
        let asked = world.now_ns();
        let third = connect(&env, "server").await.err().unwrap();
        assert_eq!((third.kind(), world.now_ns() - asked), (ErrorKind::TimedOut, 10 * S));
        let asked = world.now_ns();
        world.spawn("accept", async move {
            world.sleep_until(asked + 500 * MS).await;
            poll_fn(|cx| listener.poll_accept(cx)).await.unwrap();
            std::future::pending::<()>().await; // the listener stays
        });
        connect(&env, "server").await.unwrap();
        assert_eq!(world.now_ns() - asked, S + 2 * LATENCY, "asked again after a second");
    });
    run.outcome.unwrap();
}

#[test]
fn an_rst_behind_a_fin_breaks_the_writing_and_leaves_the_end_to_the_reader() {
    simulate(10, |world| async move {
        let (server, client) = two_hosts(&world, LATENCY);
        let (mut mine, theirs) = joined(&world, client, server, "test").await;
        drop(theirs);
        assert_eq!(mine.read(&mut [0]).await.unwrap(), 0);
        mine.write_u8(1).await.expect("it may still be reading");
        rest(&world, MS).await;
        assert_eq!(mine.write_u8(1).await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(mine.read(&mut [0]).await.unwrap(), 0);
    });
}
