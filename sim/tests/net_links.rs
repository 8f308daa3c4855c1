//! What a direction does to segments: latency, jitter, bandwidth, loss, damage, and what each of them costs a stream.

mod common;

use common::*;
use klamm_sim::{Host, Latency, LinkProfile, NetProfile, SimConfig, World, WorldEvent};
use std::io::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LATENCY: u64 = 200 * US;

/// The profile from client to server; the other direction takes 200 us.
fn set(world: &World, client: Host, server: Host, profile: LinkProfile) {
    world.set_link_profile(client, server, profile).unwrap();
}

fn plain() -> LinkProfile {
    Latency::fixed(LATENCY).into()
}

/// How long each of so many bytes took, sent a minute apart.
fn delays(seed: u64, count: usize, profile: LinkProfile) -> Vec<u64> {
    let patient = NetProfile { retransmit_limit_ns: 3_600 * S, retransmits: 100, ..NetProfile::default() };
    let config = SimConfig { profile: patient, ..SimConfig::new(seed) };
    let run = simulate_all(config, move |world| async move {
        let (server, client) = two_hosts(&world, LATENCY);
        let (mut mine, mut theirs) = joined(&world, client, server, "test").await;
        set(&world, client, server, profile);
        let mut delays = vec![];
        for _ in 0..count {
            rest(&world, 60 * S).await;
            let sent = world.now_ns();
            mine.write_u8(7).await.unwrap();
            theirs.read_u8().await.unwrap();
            delays.push(world.now_ns() - sent);
        }
        delays
    });
    run.outcome.unwrap()
}

/// The value below which so many in a hundred lie.
fn percentile(delays: &[u64], percent: usize) -> u64 {
    let mut sorted = delays.to_vec();
    sorted.sort_unstable();
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

/// Within so many percent of what was expected.
fn assert_near(found: u64, expected: u64, percent: u64) {
    assert!(found.abs_diff(expected) * 100 <= expected * percent, "{found} is not near {expected}");
}

#[test]
fn a_constant_latency_is_constant_and_an_even_one_even() {
    assert!(delays(1, 100, plain()).iter().all(|ns| *ns == LATENCY));
    let even = delays(1, 2_000, Latency::between(100 * US, 1_100 * US).into());
    assert!(even.iter().all(|ns| (100 * US..=1_100 * US).contains(ns)));
    for percent in [10, 25, 50, 75, 90] {
        assert_near(percentile(&even, percent), 100 * US + percent as u64 * 10 * US, 6);
    }
}

#[test]
fn an_exponential_latency_has_its_least_its_mean_and_a_long_tail() {
    let all = delays(2, 4_000, Latency::Exponential { min_ns: 100 * US, mean_ns: 300 * US }.into());
    assert!(all.iter().all(|ns| *ns >= 100 * US));
    assert_near(all.iter().sum::<u64>() / all.len() as u64, 300 * US, 4);
    assert_near(percentile(&all, 50), 100 * US + 138_629, 5); // ln 2 of 200 us
    assert_near(percentile(&all, 99), 100 * US + 921_034, 12); // ln 100
}

#[test]
fn a_lognormal_latency_has_the_median_and_the_tail_that_were_asked_for() {
    let all = delays(3, 8_000, Latency::Lognormal { median_ns: 200 * US, p99_ns: 2 * MS }.into());
    assert_near(percentile(&all, 50), 200 * US, 4);
    assert_near(percentile(&all, 99), 2 * MS, 12);
    assert_near(percentile(&all, 1), 20 * US, 15); // as far below as the tail is above
}

#[test]
fn a_bimodal_latency_takes_the_slow_way_as_often_as_was_asked() {
    let latency = Latency::Bimodal {
        fast_min_ns: 100 * US,
        fast_max_ns: 200 * US,
        slow_min_ns: 10 * MS,
        slow_max_ns: 20 * MS,
        slow_ppm: 100_000,
    };
    let all = delays(4, 4_000, latency.into());
    let (slow, fast): (Vec<u64>, Vec<u64>) = all.into_iter().partition(|ns| *ns >= 10 * MS);
    assert!(fast.iter().all(|ns| (100 * US..=200 * US).contains(ns)));
    assert!(slow.iter().all(|ns| (10 * MS..=20 * MS).contains(ns)));
    assert_near(slow.len() as u64, 400, 12);
    assert_near(percentile(&fast, 50), 150 * US, 5);
    assert_near(percentile(&slow, 50), 15 * MS, 5);
}

#[test]
fn jitter_comes_on_top_and_spreads() {
    let all = delays(5, 1_000, LinkProfile { jitter_ns: 100 * US, ..plain() });
    assert!(all.iter().all(|ns| (LATENCY..=LATENCY + 100 * US).contains(ns)));
    assert_near(percentile(&all, 50), LATENCY + 50 * US, 5);
    assert!(percentile(&all, 99) - percentile(&all, 1) > 90 * US);
}

#[test]
fn a_wire_carries_so_many_bytes_a_second_and_the_next_segment_waits_for_it() {
    simulate(6, |world| async move {
        let (server, client) = two_hosts(&world, LATENCY);
        let (mut mine, mut theirs) = joined(&world, client, server, "test").await;
        set(&world, client, server, LinkProfile { bytes_per_second: 1_000_000, ..plain() });
        let sent = world.now_ns();
        for _ in 0..3 {
            mine.write_all(&[1; 9_934]).await.unwrap(); // and 66 of headers
        }
        for segment in 1..=3 {
            theirs.read_exact(&mut [0; 9_934]).await.unwrap();
            assert_eq!(world.now_ns() - sent, segment * 10 * MS + LATENCY);
        }
    });
}

#[test]
fn what_does_not_fit_into_the_queue_is_lost_and_sent_again() {
    simulate(6, |world| async move {
        let (server, client) = two_hosts(&world, LATENCY);
        let (mut mine, mut theirs) = joined(&world, client, server, "test").await;
        let profile = LinkProfile { bytes_per_second: 1_000_000, queue_bytes: 15_000, ..plain() };
        set(&world, client, server, profile);
        let sent = world.now_ns();
        for _ in 0..3 {
            mine.write_all(&[1; 9_934]).await.unwrap();
        }
        // The second does not fit beside the first; the third, behind it, not beside the second.
        for lost in [0, 1, 2] {
            theirs.read_exact(&mut [0; 9_934]).await.unwrap();
            assert_eq!(world.now_ns() - sent, lost * 200 * MS + 10 * MS + LATENCY);
        }
    });
}

#[test]
fn the_queue_of_a_direction_is_shared_by_its_connections() {
    simulate(6, |world| async move {
        let (server, client) = two_hosts(&world, LATENCY);
        let (mut one, _one) = joined(&world, client, server, "bulk").await;
        let (mut two, mut far) = joined(&world, client, server, "small").await;
        set(&world, client, server, LinkProfile { bytes_per_second: 1_000_000, ..plain() });
        let sent = world.now_ns();
        one.write_all(&[1; 49_934]).await.unwrap();
        two.write_all(&[1; 934]).await.unwrap();
        far.read_exact(&mut [0; 934]).await.unwrap();
        assert_eq!(world.now_ns() - sent, 51 * MS + LATENCY, "behind fifty kilobytes of the other");
    });
}

#[test]
fn a_lost_segment_comes_with_a_retransmission_and_each_loss_doubles_the_wait() {
    let all = delays(7, 3_000, LinkProfile { loss_ppm: 500_000, ..plain() });
    let after = |losses: u32| LATENCY + (0..losses).map(|loss| ((200 * MS) << loss).min(120 * S)).sum::<u64>();
    for losses in 0..4 {
        let count = all.iter().filter(|ns| **ns == after(losses)).count() as u64;
        assert_near(count, 3_000 >> (losses + 1), 18);
    }
    assert!(all.iter().all(|ns| (0..16).any(|losses| *ns == after(losses))), "and at no other time");
}

/// When segments were lost, nanoseconds after the first was, and when their stream died.
fn losses(profile: NetProfile) -> (Vec<u64>, u64) {
    let config = SimConfig { trace: true, profile, ..SimConfig::new(8) };
    let run = simulate_all(config, |world| async move {
        let (server, client) = two_hosts(&world, LATENCY);
        let (mut mine, _theirs) = joined(&world, client, server, "test").await;
        rest(&world, MS).await;
        set(&world, client, server, LinkProfile { loss_ppm: 999_999, ..plain() });
        let sent = world.now_ns();
        mine.write_all(b"never").await.unwrap();
        let error = mine.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(mine.write(b"more").await.unwrap_err().kind(), ErrorKind::TimedOut);
        (sent, world.now_ns() - sent)
    });
    let (sent, died) = run.outcome.unwrap();
    let words = run.trace.iter().map(|line| line.split(' ').collect::<Vec<_>>());
    let lost = words.filter(|words| words[1] == "lost").map(|words| words[0].parse::<u64>().unwrap() - sent);
    (lost.collect(), died)
}

#[test]
fn a_stream_whose_retransmissions_are_all_lost_dies_by_time_or_by_count() {
    let doubling = [0, 200, 600, 1_400, 3_000, 6_200, 12_600, 25_400].map(|ms| ms * MS);
    assert_eq!(losses(NetProfile::default()), (doubling.to_vec(), 30 * S));
    let few = NetProfile { retransmits: 3, ..NetProfile::default() };
    assert_eq!(losses(few), (doubling[..4].to_vec(), 3 * S), "three retransmissions, and the time of a fourth");
}

#[test]
fn where_all_is_lost_it_is_a_black_hole_until_that_ends() {
    simulate(9, |world| async move {
        let (server, client) = two_hosts(&world, LATENCY);
        let (mut mine, mut theirs) = joined(&world, client, server, "test").await;
        set(&world, client, server, LinkProfile { loss_ppm: 1_000_000, ..plain() });
        mine.write_u8(1).await.unwrap();
        let clock = world.env(client).clock;
        assert!(clock.before(world.now_ns() + 20 * S, theirs.read_u8()).await.is_none());
        world.heal_all_links();
        let healed = world.now_ns();
        theirs.read_u8().await.unwrap();
        assert!(world.now_ns() - healed <= 3 * S + 500 * US, "promptly or with a retransmission");
    });
}

#[test]
fn a_lossy_link_that_becomes_a_good_one_sends_soon_what_it_had_lost() {
    for seed in 0..10 {
        simulate(seed, |world| async move {
            let (server, client) = two_hosts(&world, LATENCY);
            let (mut mine, mut theirs) = joined(&world, client, server, "test").await;
            set(&world, client, server, LinkProfile { loss_ppm: 999_999, ..plain() });
            mine.write_u8(1).await.unwrap();
            rest(&world, 14 * S).await; // the next retransmission would be at 25.4 s
            set(&world, client, server, plain());
            let healed = world.now_ns();
            theirs.read_u8().await.unwrap();
            assert!(world.now_ns() - healed <= 3 * S + LATENCY, "{}", world.now_ns() - healed);
            ping_pong(&mut mine, &mut theirs).await;
        });
    }
}

async fn ping_pong(mine: &mut Duplex, theirs: &mut Duplex) {
    mine.write_u8(2).await.unwrap();
    assert_eq!(theirs.read_u8().await.unwrap(), 2);
}

#[test]
fn lost_questions_of_a_connect_are_asked_again_after_one_two_and_four_seconds() {
    let mut seen = [0; 5];
    for seed in 0..60 {
        let took = simulate(seed, |world| async move {
            let (server, client) = two_hosts(&world, LATENCY);
            world.boot(server, |env| Box::pin(echo(env)));
            rest(&world, MS).await;
            set(&world, client, server, LinkProfile { loss_ppm: 500_000, ..plain() });
            let asked = world.now_ns();
            let outcome = connect(&world.env(client), "server").await;
            (outcome.map(|_| ()).map_err(|error| error.kind()), world.now_ns() - asked)
        });
        let times = [0, S, 3 * S, 7 * S].map(|ns| (Ok(()), ns + 2 * LATENCY));
        let place = times.iter().position(|time| *time == took);
        seen[place.unwrap_or(4)] += 1;
        assert!(place.is_some() || took == (Err(ErrorKind::TimedOut), 10 * S), "{took:?}");
    }
    assert!(seen[0] > 20 && seen[1] > 8 && seen.iter().all(|count| *count > 0), "{seen:?}");
}

#[test]
fn one_bit_of_a_corrupted_segment_is_flipped_and_told() {
    let notes = Notes::default();
    let said = notes.clone();
    simulate(10, move |world| async move {
        let (server, client) = two_hosts(&world, LATENCY);
        let (mut mine, mut theirs) = joined(&world, client, server, "test").await;
        world.on_event(Box::new(move |_, event| {
            if let WorldEvent::SegmentCorrupted { from, to, role, at_byte } = event {
                notes.say(format!("{from} {to} {role} {at_byte}"));
            }
        }));
        mine.write_all(&[0; 100]).await.unwrap();
        theirs.read_exact(&mut [9; 50]).await.unwrap();
        set(&world, client, server, LinkProfile { corrupt_ppm: 1_000_000, ..plain() });
        mine.write_all(&[0; 300]).await.unwrap();
        let mut rest_of_it = [9; 350];
        theirs.read_exact(&mut rest_of_it).await.unwrap();
        let bits: u32 = rest_of_it.iter().map(|byte| byte.count_ones()).sum();
        assert_eq!(bits, 1, "a segment, a bit");
        let place = 50 + rest_of_it.iter().position(|byte| *byte != 0).unwrap();
        assert!(place >= 100, "what arrived before is whole");
        assert_eq!(said.take(), [format!("client server test {place}")]);
        theirs.write_all(&[0; 100]).await.unwrap();
        let mut back = [9; 100];
        mine.read_exact(&mut back).await.unwrap();
        assert_eq!(back, [0; 100], "the other direction is whole");
        mine.shutdown().await.unwrap();
        assert_eq!(theirs.read(&mut back).await.unwrap(), 0, "a FIN has nothing to damage");
    });
}

#[test]
fn as_many_segments_are_corrupted_as_was_asked() {
    let corrupted = simulate(11, move |world| async move {
        let (server, client) = two_hosts(&world, LATENCY);
        let (mut mine, mut theirs) = joined(&world, client, server, "test").await;
        set(&world, client, server, LinkProfile { corrupt_ppm: 100_000, ..plain() });
        let mut corrupted = 0;
        for _ in 0..2_000 {
            mine.write_u64(0).await.unwrap();
            corrupted += u64::from(theirs.read_u64().await.unwrap() != 0);
        }
        corrupted
    });
    assert_near(corrupted, 200, 20);
}

#[test]
fn reads_and_writes_take_parts_where_that_is_asked_for() {
    simulate(12, |world| async move {
        let (server, client) = two_hosts(&world, LATENCY);
        let (mut mine, mut theirs) = joined(&world, client, server, "test").await;
        set(&world, client, server, LinkProfile { partial_ppm: 1_000_000, ..plain() });
        let bytes: Vec<u8> = (0..10_000_u32).map(|n| n as u8).collect();
        let (mut writes, mut at) = (vec![], 0);
        while at < bytes.len() {
            let took = mine.write(&bytes[at..]).await.unwrap();
            writes.push(took);
            at += took;
        }
        rest(&world, S).await;
        let (mut reads, mut all): (Vec<usize>, Vec<u8>) = (vec![], vec![]);
        while all.len() < bytes.len() {
            let mut buffer = [0; 1_000];
            let took = theirs.read(&mut buffer).await.unwrap();
            all.extend(&buffer[..took]);
            reads.push(took);
        }
        assert_eq!(all, bytes);
        assert!(writes.iter().rev().skip(1).all(|took| (1..10_000).contains(took)), "never all: {writes:?}");
        assert!(reads.len() > 12 && reads.iter().all(|took| (1..=1_000).contains(took)), "{reads:?}");
        theirs.write_all(&bytes).await.unwrap();
        assert_eq!(mine.read(&mut [0; 5_000]).await.unwrap(), 5_000, "the other direction gives what there is");
    });
}

#[test]
fn a_profile_that_asks_for_nothing_draws_nothing() {
    let story = |touch: bool| {
        simulate_all(SimConfig::new(5), move |world: World| async move {
            let (server, client) = (world.add_host("server"), world.add_host("client"));
            let (mut mine, mut theirs) = joined(&world, client, server, "test").await;
            if touch {
                let profile = world.link_profile(server, client).unwrap();
                world.set_link_profile(server, client, LinkProfile { partial_ppm: 1_000_000, ..profile }).unwrap();
            }
            let mut times = vec![];
            for _ in 0..50 {
                mine.write_all(b"hello").await.unwrap();
                theirs.read_exact(&mut [0; 5]).await.unwrap();
                times.push(world.now_ns());
            }
            times
        })
    };
    assert_eq!(story(false).outcome, story(true).outcome, "the direction that was not touched is as before");
}
