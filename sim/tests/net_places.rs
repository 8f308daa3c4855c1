//! Where hosts stand, and what cannot be asked of a network.

mod common;

use common::*;
use klamm_sim::{
    ConnectionFault, ConnectionMatch, Host, HostError, KeepAlive, Latency, LinkProfile, LinkState, Listening, NetError,
    NetProfile, SimConfig, Site, Topology, World, WorldEvent,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Distances that can be told apart to the nanosecond.
fn measured(topology: Topology) -> Topology {
    let fixed = |ns| LinkProfile::new(Latency::fixed(ns));
    Topology { within_rack: fixed(US), between_racks: fixed(10 * US), between_data_centres: fixed(MS), ..topology }
}

/// One way between two hosts.
async fn distance(world: &World, one: Host, other: Host) -> u64 {
    let (mut mine, mut theirs) = joined(world, one, other, "test").await;
    let sent = world.now_ns();
    mine.write_u8(1).await.unwrap();
    theirs.read_u8().await.unwrap();
    world.now_ns() - sent
}

/// From the first host to each other.
fn distances(topology: Topology) -> Vec<u64> {
    simulate(1, |world| async move {
        let hosts = NAMES.map(|name| world.add_host(name));
        world.set_topology(&measured(topology)).unwrap();
        let mut distances = vec![];
        for other in &hosts[1..] {
            distances.push(distance(&world, hosts[0], *other).await);
        }
        distances
    })
}

#[test]
fn a_link_is_as_long_as_the_way_between_the_places_of_its_hosts() {
    let (rack, racks, far) = (US, 10 * US, MS);
    assert_eq!(distances(Topology::one_rack(&NAMES)), [rack; 5]);
    assert_eq!(distances(Topology::three_racks(&NAMES)), [racks, racks, rack, racks, racks]);
    assert_eq!(distances(Topology::two_data_centres(&NAMES)), [far, racks, far, rack, far]);
    assert_eq!(distances(Topology::three_data_centres(&NAMES)), [far, far, rack, far, far]);
}

#[test]
fn the_distances_of_a_preset_rise_and_its_loopback_is_less_than_all() {
    simulate(1, |world| async move {
        let hosts = ["a", "b", "c", "d", "e"].map(|name| world.add_host(name));
        world.set_topology(&Topology::two_data_centres(&["a", "b", "c", "d", "e"])).unwrap();
        let mut sums = [0; 4];
        for _ in 0..200 {
            for (sum, other) in sums.iter_mut().zip([0, 4, 2, 1]) {
                *sum += distance(&world, hosts[0], hosts[other]).await;
            }
        }
        assert!(sums.is_sorted_by(|nearer, farther| nearer < farther), "itself, rack, racks, centres: {sums:?}");
        assert!(sums[1] < 200 * 200 * US, "and no floor of a millisecond");
    });
}

#[test]
fn a_host_that_is_made_later_takes_its_place_by_name_and_a_heal_returns_to_it() {
    simulate(2, |world| async move {
        let (a, b) = (world.add_host("a"), world.add_host("b"));
        world.set_topology(&measured(Topology::three_data_centres(&NAMES))).unwrap();
        let (d, stranger) = (world.add_host("d"), world.add_host("stranger"));
        assert_eq!(distance(&world, a, d).await, US, "the first data centre has both");
        assert!((150 * US..=500 * US).contains(&distance(&world, a, stranger).await), "who has no place");
        assert_eq!(world.hosts_in_data_centre("dc1"), [a, d]);
        assert_eq!(world.hosts_in_rack("dc2-rack1"), [b]);
        assert!(world.hosts_in_rack("nowhere").is_empty());
        world.set_latency(a, b, Latency::fixed(7)).unwrap();
        assert_eq!(distance(&world, a, b).await, 7);
        world.heal_all_links();
        assert_eq!(distance(&world, a, b).await, MS);
    });
}

#[test]
fn places_and_profiles_are_data() {
    for topology in [Topology::one_rack(&NAMES), Topology::two_data_centres(&NAMES)] {
        let text = serde_json::to_string(&topology).unwrap();
        assert_eq!(serde_json::from_str::<Topology>(&text).unwrap(), topology);
    }
    let profile: LinkProfile = serde_json::from_str(r#"{"latency": {"constant": {"ns": 5}}}"#).unwrap();
    assert_eq!(profile, Latency::fixed(5).into());
    assert!(serde_json::from_str::<LinkProfile>(r#"{"latency": {"constant": {"ns": 5}}, "los_ppm": 3}"#).is_err());
    assert!(serde_json::from_str::<Latency>(r#"{"constant": {"ns": -5}}"#).is_err(), "no negative latency");
    let net: NetProfile = serde_json::from_str(r#"{"backlog": 3}"#).unwrap();
    assert_eq!(net, NetProfile { backlog: 3, ..NetProfile::default() });
}

#[test]
fn what_cannot_be_a_link_is_a_typed_error() {
    let fine = LinkProfile::new(Latency::fixed(1));
    let latency = |latency| LinkProfile::new(latency).check();
    let bimodal = |fast_min_ns, slow_min_ns, slow_ppm| Latency::Bimodal {
        fast_min_ns,
        fast_max_ns: 10,
        slow_min_ns,
        slow_max_ns: 10,
        slow_ppm,
    };
    let cases = [
        (latency(Latency::between(5, 4)), NetError::Range { min_ns: 5, max_ns: 4 }),
        (latency(bimodal(11, 1, 1)), NetError::Range { min_ns: 11, max_ns: 10 }),
        (latency(bimodal(1, 11, 1)), NetError::Range { min_ns: 11, max_ns: 10 }),
        (latency(bimodal(1, 1, 1_000_001)), NetError::Share { what: "the slow way's share", ppm: 1_000_001 }),
        (latency(Latency::Exponential { min_ns: 5, mean_ns: 4 }), NetError::Mean { min_ns: 5, mean_ns: 4 }),
        (latency(Latency::Lognormal { median_ns: 5, p99_ns: 4 }), NetError::Percentiles { median_ns: 5, p99_ns: 4 }),
        (latency(Latency::Lognormal { median_ns: 0, p99_ns: 4 }), NetError::Percentiles { median_ns: 0, p99_ns: 4 }),
        (latency(Latency::fixed(u64::MAX)), NetError::TooLong { what: "a latency", ns: u64::MAX }),
        (LinkProfile { jitter_ns: u64::MAX, ..fine }.check(), NetError::TooLong { what: "a jitter", ns: u64::MAX }),
        (LinkProfile { loss_ppm: 2_000_000, ..fine }.check(), NetError::Share { what: "a loss", ppm: 2_000_000 }),
        (
            LinkProfile { corrupt_ppm: 1_000_001, ..fine }.check(),
            NetError::Share { what: "a corruption", ppm: 1_000_001 },
        ),
        (LinkProfile { queue_bytes: 9_000, ..fine }.check(), NetError::QueueWithoutBandwidth { queue_bytes: 9_000 }),
        (
            LinkProfile { queue_bytes: 100, bytes_per_second: 1, ..fine }.check(),
            NetError::QueueTooShort { queue_bytes: 100 },
        ),
    ];
    for (found, expected) in cases {
        assert_eq!(found, Err(expected));
    }
    assert!(fine.check().is_ok());
}

#[test]
fn an_error_says_the_value_and_the_way_out() {
    let loss = LinkProfile { loss_ppm: 2_000_000, ..LinkProfile::new(Latency::fixed(1)) };
    let said = loss.check().unwrap_err().to_string();
    assert_eq!(said, "a loss of 2000000 parts in a million is more than all: at most 1000000");
    let said = LinkProfile::new(Latency::between(5, 4)).check().unwrap_err().to_string();
    assert_eq!(said, "latencies from 5 to 4 ns are an empty range: swap them");
}

#[test]
fn what_cannot_be_a_network_is_a_typed_error_and_no_run_starts_with_it() {
    let zero = |what, profile: NetProfile| assert_eq!(profile.check(), Err(NetError::Zero { what }));
    let fine = NetProfile::default;
    zero("the window of a stream", NetProfile { window: 0, ..fine() });
    zero("the backlog of a listener", NetProfile { backlog: 0, ..fine() });
    zero("the time-out of a connect", NetProfile { connect_timeout_ns: 0, ..fine() });
    zero("the time limit of retransmissions", NetProfile { retransmit_limit_ns: 0, ..fine() });
    zero("the number of retransmissions", NetProfile { retransmits: 0, ..fine() });
    let keep_alive = Some(KeepAlive { probes: 0, ..KeepAlive::linux() });
    zero("the number of keep-alive's questions", NetProfile { keep_alive, ..fine() });
    let config = SimConfig { profile: NetProfile { window: 0, ..fine() }, ..SimConfig::new(1) };
    let refused = std::panic::catch_unwind(|| simulate_all(config, |_| async {})).unwrap_err();
    let said = refused.downcast_ref::<String>().unwrap();
    assert_eq!(said, "the window of a stream is zero: set it to at least 1, or leave it out");
}

#[test]
fn two_hosts_on_one_address_and_links_to_nowhere_are_typed_errors() {
    simulate(1, |world| async move {
        let a = world.add_host("a");
        let b = world.try_add_host("b").unwrap();
        assert_eq!(world.try_add_host("a"), Err(HostError::NameTaken { name: "a".to_owned() }));
        assert_eq!(world.try_add_host("localhost"), Err(HostError::NoName { name: "localhost".to_owned() }));
        assert_eq!(world.try_add_host(""), Err(HostError::NoName { name: String::new() }));
        let (nowhere, unknown) = (Host(9), Err(NetError::UnknownHost { host: 9 }));
        let fine = LinkProfile::new(Latency::fixed(1));
        assert_eq!(world.set_link(a, nowhere, LinkState::Stalled), unknown);
        assert_eq!(world.set_link(nowhere, a, LinkState::Stalled), unknown);
        assert_eq!(world.set_link_profile(a, nowhere, fine), unknown);
        assert_eq!(world.set_latency(nowhere, a, Latency::fixed(1)), unknown);
        assert_eq!(world.set_listening(nowhere, Listening::Refuse), unknown);
        let itself = Err(NetError::OwnLink { host: "a".to_owned() });
        assert_eq!(world.set_link(a, a, LinkState::BlackHole), itself);
        assert_eq!(world.set_link_profile(a, a, fine), itself);
        let lost = LinkProfile { loss_ppm: 2_000_000, ..fine };
        assert!(world.set_link_profile(a, b, lost).is_err());
        assert_eq!(world.link_profile(a, b).unwrap(), NetProfile::default().link, "left as it was");
        let strike = |which, fault| world.add_connection_fault(which, fault).unwrap_err();
        let all = ConnectionMatch::default;
        let nobody = ConnectionMatch { to: Some(nowhere), ..all() };
        assert_eq!(strike(nobody, ConnectionFault::Reset), NetError::UnknownHost { host: 9 });
        assert_eq!(
            strike(all(), ConnectionFault::Delay { ns: 0 }),
            NetError::Zero { what: "the delay of a connection" }
        );
        assert_eq!(strike(all(), ConnectionFault::Corrupt { ppm: 0 }), NetError::Zero { what: "a corruption" });
        let share = NetError::Share { what: "a corruption", ppm: 1_000_001 };
        assert_eq!(strike(all(), ConnectionFault::Corrupt { ppm: 1_000_001 }), share);
    });
}

#[test]
fn what_cannot_be_a_place_is_a_typed_error() {
    let site = |data_centre: &str, rack: &str| Site { data_centre: data_centre.to_owned(), rack: rack.to_owned() };
    let with = |name: &str, site: Site| {
        let mut topology = Topology::three_racks(&["a", "b", "c"]);
        topology.sites.insert(name.to_owned(), site);
        topology.check()
    };
    assert_eq!(with("d", site("dc1", "")), Err(NetError::UnnamedSite { host: "d".to_owned() }));
    assert_eq!(with("d", site("dc2", "rack1")), Err(NetError::RackInTwoPlaces { rack: "rack1".to_owned() }));
    assert_eq!(with("d", site("dc2", "rack4")), Ok(()));
    let lost = LinkProfile { loss_ppm: 2_000_000, ..LinkProfile::new(Latency::fixed(1)) };
    assert!(Topology { between_racks: lost, ..Topology::one_rack(&["a"]) }.check().is_err());
}

#[test]
fn each_change_of_the_network_is_told_once() {
    let notes = Notes::default();
    let said = notes.clone();
    simulate(1, move |world| async move {
        let (a, b) = (world.add_host("a"), world.add_host("b"));
        world.on_event(Box::new(move |_, event| match event {
            WorldEvent::TopologySet { topology } => notes.say(format!("{} places", topology.sites.len())),
            WorldEvent::ListeningSet { host, listening } => notes.say(format!("{host} {listening:?}")),
            WorldEvent::LinkChanged { from, to, state } => notes.say(format!("{from} {to} {state:?}")),
            WorldEvent::LinkProfileChanged { from, to, profile } => notes.say(format!("{from} {to}: {profile}")),
            _ => {}
        }));
        let lossy = LinkProfile { loss_ppm: 5, bytes_per_second: 1_000, ..Latency::between(US, 9 * US).into() };
        for _ in 0..2 {
            world.set_topology(&Topology::one_rack(&["a", "b"])).unwrap();
            world.set_listening(a, Listening::Refuse).unwrap();
            world.set_link(a, b, LinkState::Reset).unwrap();
            world.set_link_profile(b, a, lossy).unwrap();
        }
        let lossy = "b a: 1..9 us, 1000 bytes a second, 5 in a million lost";
        assert_eq!(said.take(), ["2 places", "a Refuse", "a b Reset", lossy, "2 places", lossy]);
    });
}
