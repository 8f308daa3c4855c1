//! Whatever a link is like and whatever becomes of it: a stream's bytes arrive once, in order, all of them.

mod common;

use common::*;
use klamm_sim::{
    ConnectionFault, ConnectionMatch, Host, Latency, LinkProfile, LinkState, NetProfile, SimConfig, World,
};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn latencies() -> impl Strategy<Value = Latency> {
    let ns = || 0..20 * MS;
    prop_oneof![
        ns().prop_map(Latency::fixed),
        (ns(), ns()).prop_map(|(one, other)| Latency::between(one.min(other), one.max(other))),
        (ns(), ns()).prop_map(|(min_ns, more)| Latency::Exponential { min_ns, mean_ns: min_ns + more }),
        (1..5 * MS, 1..9_u64).prop_map(|(median_ns, tail)| Latency::Lognormal { median_ns, p99_ns: median_ns * tail }),
        (ns(), 0..1_000_000_u32).prop_map(|(fast, slow_ppm)| Latency::Bimodal {
            fast_min_ns: fast,
            fast_max_ns: fast + MS,
            slow_min_ns: 100 * MS,
            slow_max_ns: 200 * MS,
            slow_ppm,
        }),
    ]
}

fn profiles() -> impl Strategy<Value = LinkProfile> {
    let bandwidth = prop_oneof![Just((0, 0)), Just((1_000_000, 0)), (200_000..9_000_000_u64, 1_500..80_000_u64)];
    let ppm = |most: u32| prop_oneof![Just(0), 0..=most];
    (latencies(), prop_oneof![Just(0), 0..50 * MS], bandwidth, ppm(400_000), ppm(1_000_000)).prop_map(
        |(latency, jitter_ns, (bytes_per_second, queue_bytes), loss_ppm, partial_ppm)| LinkProfile {
            jitter_ns,
            bytes_per_second,
            queue_bytes,
            loss_ppm,
            partial_ppm,
            ..LinkProfile::new(latency)
        },
    )
}

/// What happens between two writes.
#[derive(Clone, Debug)]
enum Act {
    Write(usize),
    Rest(u64),
    Link(bool, LinkState),
    Profile(bool, LinkProfile),
    Stall,
    Delay(u64),
    ClearFaults,
    Heal,
    /// Of the reader's machine, for a moment.
    Pause,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let state = prop_oneof![Just(LinkState::Up), Just(LinkState::Stalled), Just(LinkState::BlackHole)];
    let act = prop_oneof![
        8 => (1..30_000_usize).prop_map(Act::Write),
        6 => (0..700 * MS).prop_map(Act::Rest),
        2 => (any::<bool>(), state).prop_map(|(forth, state)| Act::Link(forth, state)),
        2 => (any::<bool>(), profiles()).prop_map(|(forth, profile)| Act::Profile(forth, profile)),
        1 => Just(Act::Stall),
        1 => (1..300 * MS).prop_map(Act::Delay),
        1 => Just(Act::ClearFaults),
        1 => Just(Act::Heal),
        1 => Just(Act::Pause),
    ];
    prop::collection::vec(act, 1..40)
}

async fn perform(world: &World, (client, server): (Host, Host), act: Act) {
    let way = |forth: bool| if forth { (client, server) } else { (server, client) };
    let strike = |fault| world.add_connection_fault(ConnectionMatch::default(), fault).map(|_| ());
    match act {
        Act::Write(_) => {}
        Act::Rest(ns) => rest(world, ns).await,
        Act::Link(forth, state) => world.set_link(way(forth).0, way(forth).1, state).unwrap(),
        Act::Profile(forth, profile) => world.set_link_profile(way(forth).0, way(forth).1, profile).unwrap(),
        Act::Stall => strike(ConnectionFault::Stall).unwrap(),
        Act::Delay(ns) => strike(ConnectionFault::Delay { ns }).unwrap(),
        Act::ClearFaults => world.clear_connection_faults(),
        Act::Heal => world.heal_all_links(),
        Act::Pause => {
            world.pause(server);
            rest(world, 50 * MS).await;
            world.resume(server);
        }
    }
}

/// The `count` bytes of a stream from `at` on.
fn bytes(at: usize, count: usize) -> Vec<u8> {
    (at..at + count).map(|at| (at * 7 % 251) as u8).collect()
}

async fn story(world: World, forth: LinkProfile, acts: Vec<Act>) {
    let (server, client) = (world.add_host("server"), world.add_host("client"));
    let (mut mine, mut theirs) = joined(&world, client, server, "test").await;
    world.set_link_profile(client, server, forth).unwrap();
    let chunks: Vec<usize> =
        acts.iter().filter_map(|act| if let Act::Write(n) = act { Some(*n) } else { None }).collect();
    let total: usize = chunks.iter().sum();
    let writer = world.spawn_on(client, "writer", async move {
        let mut at = 0;
        for count in chunks {
            mine.write_all(&bytes(at, count)).await.expect("a patient stream");
            at += count;
        }
        mine.shutdown().await.expect("a patient stream");
        mine.read_to_end(&mut vec![]).await.expect("an end in good order");
    });
    let reader = world.spawn_on(server, "reader", async move {
        let mut all = vec![];
        theirs.read_to_end(&mut all).await.expect("an end in good order");
        all
    });
    for act in acts {
        perform(&world, (client, server), act).await;
    }
    world.clear_connection_faults();
    world.heal_all_links();
    let all = reader.await.unwrap();
    assert!(all == bytes(0, total), "{} of {total} bytes", all.len());
    writer.await.unwrap();
    rest(&world, 7_200 * S).await;
    assert_eq!(world.census()[2], 0, "a connection that both sides closed is forgotten");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_is_never_reordered_cut_short_or_doubled(
        seed in any::<u64>(),
        forth in profiles(),
        window in prop_oneof![Just(65_536_u32), 1..70_000_u32],
        acts in acts(),
    ) {
        let profile = NetProfile {
            window,
            retransmit_limit_ns: 36_000 * S,
            retransmits: u32::MAX,
            ..NetProfile::default()
        };
        let config = SimConfig { profile, limit_ns: Some(86_400 * S), ..SimConfig::new(seed) };
        let run = simulate_all(config, move |world| story(world, forth, acts));
        prop_assert!(run.outcome.is_ok(), "{}", run.outcome.unwrap_err());
    }
}
