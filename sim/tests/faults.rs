//! Faults as data: every one of the list can be written down, strikes, and is mended; plans keep their times.

use klamm_sim::{
    Collector, ConnectionFault, DiskFate, DiskFaultKind, FAULTS, Fault, FaultError, FaultFamily, FaultPlan, HostError,
    HostState, Latency, Leap, LinkChange, LinkState, Listening, Often, Place, SimConfig, Topology, World, WorldEvent,
    run,
};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

const SECOND: u64 = 1_000_000_000;

fn b1() -> Place {
    Place::from("b1")
}

fn cut(state: LinkState, both: bool) -> Fault {
    Fault::Cut { from: b1(), to: Place::from("b2"), both, state }
}

/// One fault of each line of the list, but groups.
fn one_of_each() -> Vec<Fault> {
    let on = b1();
    let disks = [
        DiskFaultKind::ReadError,
        DiskFaultKind::WriteError,
        DiskFaultKind::SyncError,
        DiskFaultKind::NoSpace { fill: 1.0 },
        DiskFaultKind::ShortWrite,
        DiskFaultKind::BitRot { bits: 1 },
        DiskFaultKind::MisdirectedWrite,
        DiskFaultKind::MisdirectedRead,
        DiskFaultKind::LyingSync,
        DiskFaultKind::Stuck,
        DiskFaultKind::Slow { factor: 2.0 },
        DiskFaultKind::Throttled { bytes_per_second: 1_000 },
        DiskFaultKind::Removed,
        DiskFaultKind::Wiped,
    ];
    let disk = |kind| Fault::Disk { on: b1(), kind, path: String::new(), device: None, often: Often::Always };
    let others = [
        cut(LinkState::BlackHole, true),
        cut(LinkState::BlackHole, false),
        cut(LinkState::Stalled, true),
        cut(LinkState::Reset, true),
        Fault::Skew { on: on.clone(), offset_ms: -500 },
        Fault::Jump { on: on.clone(), by_ms: 700 },
        Fault::Drift { on: on.clone(), ppm: 300 },
        Fault::TimerDrift { on: on.clone(), ppm: -300 },
        Fault::Leap { on: on.clone(), leap: Leap::Repeated },
        Fault::Leap { on: on.clone(), leap: Leap::Smeared { over_ns: SECOND } },
        Fault::Kill { on: on.clone() },
        Fault::Stop { on: on.clone(), within_ns: 10 },
        Fault::Pause { on: on.clone() },
        Fault::Gc { on: on.clone(), collector: Collector::G1Small },
        Fault::SlowCpu { on: on.clone(), min_ns: 1_000, max_ns: 2_000 },
        Fault::OpenFiles { on: on.clone(), limit: 3 },
        Fault::Memory { on: on.clone(), bytes: 1_000, kill: false },
        Fault::Memory { on: on.clone(), bytes: 1_000, kill: true },
        Fault::PowerOff { on: on.clone() },
        Fault::Lose { on: on.clone(), disk: DiskFate::Returns },
        Fault::Lose { on: on.clone(), disk: DiskFate::Lost },
        Fault::Wipe { on },
    ];
    disks.into_iter().map(disk).chain(others).chain(of_the_network()).collect()
}

fn of_the_network() -> Vec<Fault> {
    let changes = [
        LinkChange::Slow(Latency::between(5_000_000, 9_000_000)),
        LinkChange::Jitter { ns: 5_000_000 },
        LinkChange::Narrow { bytes_per_second: 10_000, queue_bytes: 5_000 },
        LinkChange::Loss { ppm: 1_000 },
        LinkChange::Corrupt { ppm: 1_000 },
        LinkChange::Partial { ppm: 1_000 },
    ];
    let kinds = [
        ConnectionFault::Reset,
        ConnectionFault::Stall,
        ConnectionFault::HalfOpen,
        ConnectionFault::SlowClose { ns: 5_000_000 },
        ConnectionFault::Corrupt { ppm: 1_000 },
        ConnectionFault::Delay { ns: 5_000_000 },
    ];
    let link = |change| Fault::Link { from: b1(), to: Place::from("b2"), both: true, change };
    let connection = |what| Fault::Connection { from: Some(b1()), to: None, role: None, new: true, what };
    let listen = |listening| Fault::Listen { on: b1(), listening };
    let listens = [Listening::Refuse, Listening::Silent].map(listen);
    changes.map(link).into_iter().chain(kinds.map(connection)).chain(listens).collect()
}

/// Two hosts that do nothing, and every world event with its time.
fn stage(world: World) -> Rc<RefCell<Vec<(u64, WorldEvent)>>> {
    let told = Rc::new(RefCell::new(vec![]));
    let kept = told.clone();
    world.on_event(Box::new(move |at, event| kept.borrow_mut().push((at, event.clone()))));
    for name in ["b1", "b2"] {
        let host = world.add_host(name);
        world.boot(host, |_| Box::pin(std::future::pending()));
    }
    told
}

#[test]
fn every_line_of_the_list_is_a_fault_that_reads_back_as_it_was_written() {
    let all = one_of_each();
    for fault in &all {
        let text = serde_json::to_string(fault).unwrap();
        assert_eq!(serde_json::from_str::<Fault>(&text).unwrap(), *fault, "{text}");
    }
    let named: BTreeSet<&str> = all.iter().map(|fault| fault.info().name).collect();
    let listed: BTreeSet<&str> =
        FAULTS.iter().filter(|info| info.family != FaultFamily::Group).map(|info| info.name).collect();
    assert_eq!(named, listed);
    assert_eq!(FAULTS.iter().map(|info| info.name).collect::<BTreeSet<_>>().len(), FAULTS.len(), "names are unique");
    for info in FAULTS {
        assert_eq!(info.source.is_empty(), info.incident == "no public incident known", "{}", info.name);
        assert!(!info.effect.contains('\n'), "{}: one line", info.name);
    }
}

#[test]
fn every_fault_is_told_of_when_it_strikes_and_the_host_is_as_usual_when_it_is_mended() {
    for fault in one_of_each() {
        let name = fault.name();
        let run = run(SimConfig::new(3), move |world| {
            let told = stage(world);
            Box::pin(async move {
                world.sleep_until(SECOND).await;
                let before = told.borrow().len();
                let struck = world.strike(&fault).unwrap();
                world.sleep_until(2 * SECOND).await;
                let after = told.borrow().len();
                assert!(world.mend(struck) && !world.mend(struck), "mended once");
                world.sleep_until(3 * SECOND).await;
                let states: Vec<HostState> = world.hosts().into_iter().map(|host| world.state(host)).collect();
                (after > before, states)
            })
        });
        let (told, states) = run.outcome.unwrap();
        // A collector tells nothing before its first pause.
        assert!(told || name == "gc", "{name}");
        assert_eq!(states, [HostState::Up; 2], "{name}");
    }
}

#[test]
fn a_link_is_as_usual_when_the_last_fault_on_it_is_mended_and_the_stronger_one_counts() {
    let run = run(SimConfig::new(3), |world| {
        let told = stage(world);
        Box::pin(async move {
            world.sleep_until(SECOND).await;
            let stalled = world.strike(&cut(LinkState::Stalled, false)).unwrap();
            let silent = world.strike(&cut(LinkState::BlackHole, true)).unwrap();
            world.mend(silent);
            world.mend(stalled);
            let told = told.borrow();
            let states = told.iter().filter_map(|(_, event)| match event {
                WorldEvent::LinkChanged { from, state, .. } => Some((from.clone(), *state)),
                _ => None,
            });
            states.collect::<Vec<_>>()
        })
    });
    let (b1, b2) = ("b1".to_owned(), "b2".to_owned());
    let expected = [
        (b1.clone(), LinkState::Stalled),
        (b1.clone(), LinkState::BlackHole),
        (b2.clone(), LinkState::BlackHole),
        (b1.clone(), LinkState::Stalled),
        (b2, LinkState::Up),
        (b1, LinkState::Up),
    ];
    assert_eq!(run.outcome.unwrap(), expected);
}

#[test]
fn overlapping_faults_of_one_host_end_with_the_last_of_them() {
    let run = run(SimConfig::new(3), |world| {
        stage(world);
        Box::pin(async move {
            let host = world.host("b1").unwrap();
            let pause = Fault::Pause { on: b1() };
            let (first, second) = (world.strike(&pause).unwrap(), world.strike(&pause).unwrap());
            world.mend(first);
            let held = world.state(host);
            world.mend(second);
            let free = world.state(host);
            let (kill, off) = (Fault::Kill { on: b1() }, Fault::PowerOff { on: b1() });
            let (first, second) = (world.strike(&kill).unwrap(), world.strike(&off).unwrap());
            world.mend(first);
            let down = world.state(host);
            world.mend(second);
            [held, free, down, world.state(host)]
        })
    });
    assert_eq!(run.outcome.unwrap(), [HostState::Paused, HostState::Up, HostState::Down, HostState::Up]);
}

#[test]
fn a_mended_clock_is_right_again() {
    for fault in one_of_each().into_iter().filter(|fault| fault.info().family == FaultFamily::Clock) {
        let name = fault.name();
        let run = run(SimConfig::new(3), move |world| {
            stage(world);
            Box::pin(async move {
                let wall = |name| world.env(world.host(name).unwrap()).clock.wall_ms();
                world.sleep_until(SECOND).await;
                let struck = world.strike(&fault).unwrap();
                world.sleep_until(61 * SECOND).await;
                let wrong = wall("b1") - wall("b2");
                world.mend(struck);
                world.sleep_until(99 * SECOND).await;
                (wrong, wall("b1") - wall("b2"))
            })
        });
        let (wrong, right) = run.outcome.unwrap();
        assert_eq!(right, 0, "{name}");
        assert!(wrong != 0 || name == "timer-drift", "{name}");
    }
}

#[test]
fn a_plan_strikes_and_mends_at_its_times_without_any_stage() {
    let plan = FaultPlan::default()
        .with(2 * SECOND, 5 * SECOND, Fault::Pause { on: Place::All })
        .with(SECOND, 3 * SECOND, cut(LinkState::BlackHole, false))
        .with_forever(6 * SECOND, Fault::Kill { on: b1() });
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<FaultPlan>(&text).unwrap(), plan);
    let run = run(SimConfig::new(3), move |world| {
        let told = stage(world);
        Box::pin(async move {
            world.play(plan).await.unwrap();
            let told = told.borrow();
            let moments = told.iter().filter(|(at, _)| *at > 0).map(|(at, event)| (at / SECOND, event.clone()));
            moments.collect::<Vec<_>>()
        })
    });
    let host = |name: &str| name.to_owned();
    let link = |state| WorldEvent::LinkChanged { from: host("b1"), to: host("b2"), state };
    let expected = [
        (1, link(LinkState::BlackHole)),
        (2, WorldEvent::Paused { host: host("b1") }),
        (2, WorldEvent::Paused { host: host("b2") }),
        (3, link(LinkState::Up)),
        (5, WorldEvent::Resumed { host: host("b1") }),
        (5, WorldEvent::Resumed { host: host("b2") }),
        (6, WorldEvent::Killed { host: host("b1") }),
    ];
    assert_eq!(run.outcome.unwrap(), expected);
}

#[test]
fn what_makes_no_sense_is_a_typed_error_and_nothing_was_done() {
    let strange = Place::from("b9");
    let disk = |device: Option<String>| Fault::Disk {
        on: Place::All,
        kind: DiskFaultKind::ReadError,
        path: String::new(),
        device,
        often: Often::Always,
    };
    let run = run(SimConfig::new(3), move |world| {
        let told = stage(world);
        Box::pin(async move {
            let before = told.borrow().len();
            let mut errors = vec![];
            let faults = [
                Fault::Kill { on: strange.clone() },
                Fault::Kill { on: Place::from("rack(a)") },
                Fault::Cut { from: b1(), to: b1(), both: true, state: LinkState::BlackHole },
                cut(LinkState::Up, true),
                Fault::OpenFiles { on: b1(), limit: 0 },
                Fault::TimerDrift { on: b1(), ppm: -1_000_000 },
                disk(Some("sdz".to_owned())),
            ];
            for fault in faults {
                errors.push(world.strike(&fault).unwrap_err());
            }
            let backwards = FaultPlan::default().with(7, 7, Fault::Pause { on: b1() });
            errors.push(world.play(backwards).await.unwrap_err());
            assert_eq!(told.borrow().len(), before, "nothing was done");
            errors
        })
    });
    let errors = run.outcome.unwrap();
    assert_eq!(errors[0], FaultError::NoHost { name: "b9".into(), known: vec!["b1".into(), "b2".into()] });
    assert_eq!(errors[1], FaultError::NoGroup { place: "rack(a)".into() });
    assert_eq!(errors[2], FaultError::NoLink { from: "b1".into(), to: "b1".into() });
    assert_eq!(errors[3], FaultError::LinkUp);
    assert!(matches!(errors[4], FaultError::Host(HostError::Zero { .. })), "{}", errors[4]);
    assert_eq!(errors[5], FaultError::Host(HostError::ClockRate { ppm: -1_000_000 }));
    assert!(matches!(errors[6], FaultError::Disk(_)), "{}", errors[6]);
    assert_eq!(errors[7], FaultError::Backwards { from_ns: 7, until_ns: 7 });
}

#[test]
fn a_fault_of_a_rack_strikes_all_its_hosts_at_one_instant_and_no_other() {
    let run = run(SimConfig::new(3), |world| {
        let told = stage(world);
        world.set_topology(&Topology::three_racks(&["b1", "x", "y", "b2"])).unwrap();
        Box::pin(async move {
            world.sleep_until(SECOND).await;
            let first = told.borrow().len();
            world.strike(&Fault::Pause { on: Place::from("rack(rack1)") }).unwrap();
            world.strike(&Fault::Kill { on: Place::from("data-centre(dc1)") }).unwrap();
            let told = told.borrow();
            told[first..].iter().map(|(at, event)| (*at, event.clone())).collect::<Vec<_>>()
        })
    });
    let host = |name: &str| name.to_owned();
    let expected = [
        (SECOND, WorldEvent::Paused { host: host("b1") }),
        (SECOND, WorldEvent::Paused { host: host("b2") }),
        (SECOND, WorldEvent::Killed { host: host("b1") }),
        (SECOND, WorldEvent::Killed { host: host("b2") }),
    ];
    assert_eq!(run.outcome.unwrap(), expected);
}

#[test]
fn what_a_link_is_like_adds_up_and_ends_one_by_one() {
    let run = run(SimConfig::new(3), |world| {
        stage(world);
        Box::pin(async move {
            let (from, to) = (world.host("b1").unwrap(), world.host("b2").unwrap());
            let link = |change| Fault::Link { from: b1(), to: Place::from("b2"), both: false, change };
            let usual = world.link_profile(from, to).unwrap();
            let slow = world.strike(&link(LinkChange::Slow(Latency::fixed(7)))).unwrap();
            let lossy = world.strike(&link(LinkChange::Loss { ppm: 9 })).unwrap();
            let both = world.link_profile(from, to).unwrap();
            assert_eq!((both.latency, both.loss_ppm), (Latency::fixed(7), 9));
            world.mend(slow);
            let one = world.link_profile(from, to).unwrap();
            assert_eq!((one.latency, one.loss_ppm), (usual.latency, 9));
            world.mend(lossy);
            assert_eq!(world.link_profile(from, to).unwrap(), usual);
        })
    });
    run.outcome.unwrap();
}

#[test]
fn a_fault_of_live_connections_needs_one() {
    let run = run(SimConfig::new(3), |world| {
        stage(world);
        Box::pin(async move {
            let what = ConnectionFault::Reset;
            world.strike(&Fault::Connection { from: Some(b1()), to: None, role: None, new: false, what }).unwrap_err()
        })
    });
    assert_eq!(run.outcome.unwrap(), FaultError::NoConnection);
}
