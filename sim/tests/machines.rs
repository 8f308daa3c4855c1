//! Slow, asked to stop, lost, short of descriptors and memory, and stopped by a collector.

mod common;

use common::*;
use klamm_env::{Env, OpenMode};
use klamm_sim::{
    DiskFate, GcProfile, Host, HostError, HostState, Latency, Limits, NetProfile, Pauses, Run, SimConfig, Spread,
    World, WorldEvent,
};
use std::io::ErrorKind;

fn still_net(seed: u64) -> SimConfig {
    let profile = NetProfile { link: Latency::fixed(MS).into(), ..NetProfile::default() };
    SimConfig { profile, ..SimConfig::new(seed) }
}

fn round_trips(step_ns: u64) -> Run<Vec<u64>> {
    simulate_all(still_net(3), move |world| async move {
        let (server, client) = (world.add_host("server"), world.add_host("client"));
        world.set_step_cost_ns(server, step_ns, step_ns).unwrap();
        world.boot(server, |env| Box::pin(echo(env)));
        world.sleep_until(50 * MS).await;
        let mut stream = connect(&world.env(client), "server").await.unwrap();
        let mut took = vec![];
        for _ in 0..5 {
            let start = world.now_ns();
            ping(&mut stream, b"x").await.unwrap();
            took.push(world.now_ns() - start);
        }
        took
    })
}

#[test]
fn a_slow_cpu_delays_every_answer_by_its_steps_and_a_fast_one_by_nothing() {
    let fast = round_trips(0);
    assert_eq!(fast.outcome.unwrap()[1..], [2 * MS; 4]);
    let slow = round_trips(5 * MS);
    assert_eq!(slow.outcome.unwrap()[1..], [7 * MS; 4], "one step an answer");
    assert_ne!(fast.trace_hash, slow.trace_hash);
}

#[test]
fn ready_tasks_of_a_slow_host_wait_for_each_other_and_other_hosts_do_not() {
    let spread = |seed| {
        simulate(seed, |world| async move {
            let (slow, other) = (world.add_host("slow"), world.add_host("other"));
            world.set_step_cost_ns(slow, MS, MS).unwrap();
            let tasks: Vec<_> = (0..5).map(|_| world.spawn_on(slow, "busy", async move { world.now_ns() })).collect();
            let quick = world.spawn_on(other, "quick", async move { world.now_ns() });
            let mut ends = vec![];
            for task in tasks {
                ends.push(task.await.unwrap());
            }
            assert_eq!(quick.await.unwrap(), 0);
            let order = ends.clone();
            ends.sort_unstable();
            assert_eq!(ends, [MS, 2 * MS, 3 * MS, 4 * MS, 5 * MS]);
            world.set_step_cost_ns(slow, 0, 0).unwrap();
            let start = world.now_ns();
            assert_eq!(world.spawn_on(slow, "free", async move { world.now_ns() }).await.unwrap(), start);
            order
        })
    };
    let orders: std::collections::BTreeSet<_> = (0..20).map(spread).collect();
    assert!(orders.len() > 5, "the order is drawn: {orders:?}");
    assert_eq!(spread(7), spread(7));
}

#[test]
fn a_pause_or_kill_of_a_slow_host_loses_no_step_of_the_living_and_runs_none_of_the_dead() {
    simulate(1, |world| async move {
        let host = world.add_host("host");
        world.set_step_cost_ns(host, 10 * MS, 10 * MS).unwrap();
        let task = world.spawn_on(host, "task", async move { world.now_ns() });
        world.sleep_until(5 * MS).await;
        world.pause(host);
        world.sleep_until(100 * MS).await;
        world.resume(host);
        assert_eq!(task.await.unwrap(), 110 * MS, "the step is done anew after the pause");
        let dead = world.spawn_on(host, "dead", async move { world.now_ns() });
        world.restart(host);
        let alive = world.spawn_on(host, "alive", async move { world.now_ns() });
        assert_eq!(dead.await, Err(klamm_sim::JoinError::Died));
        assert_eq!(alive.await.unwrap(), 120 * MS, "the new process pays its own step, no more");
        let bad = world.set_step_cost_ns(host, 5, 4);
        assert_eq!(bad, Err(HostError::Range { min: 5, max: 4 }));
        assert!(matches!(world.set_step_cost_ns(host, 0, 4), Err(HostError::Zero { .. })));
    });
}

/// When, and how, a host ended that was asked to stop at 1 s until 3 s and needs so long.
fn stops_within(needs_ms: u64) -> (u64, String) {
    let notes = Notes::default();
    let said = notes.clone();
    simulate(1, move |world| async move {
        let host = world.add_host("host");
        world.on_event(Box::new(move |ns, event| {
            if matches!(event, WorldEvent::Exited { .. } | WorldEvent::Killed { .. } | WorldEvent::Stopping { .. }) {
                notes.say(format!("{} {event:?}", ns / MS));
            }
        }));
        world.boot(host, move |env: Env| {
            Box::pin(async move {
                klamm_sim::stop_signal().await;
                env.clock.sleep_ms(needs_ms).await;
                klamm_sim::stop_signal().await; // still so
            })
        });
        world.sleep_until(S).await;
        world.stop(host, 3 * S).unwrap();
        world.sleep_until(10 * S).await;
        assert_eq!(world.state(host), HostState::Down);
        world.restart(host);
        world.sleep_until(20 * S).await;
        assert_eq!(world.state(host), HostState::Up, "a new process was not asked");
    });
    let said = said.take();
    assert_eq!(said[0], "1000 Stopping { host: \"host\", deadline_ns: 3000000000 }");
    assert_eq!(said.len(), 2, "{said:?}");
    let (at, how) = said[1].split_once(' ').unwrap();
    (at.parse().unwrap(), how.split(' ').next().unwrap().to_owned())
}

#[test]
fn a_stop_lets_a_process_end_and_ends_it_at_the_deadline() {
    assert_eq!(stops_within(500), (1_500, "Exited".to_owned()));
    assert_eq!(stops_within(60_000), (3_000, "Killed".to_owned()));
}

async fn write_synced(env: &Env, name: &str) {
    let file = env.disk.open(name, OpenMode::Create).await.unwrap();
    file.append(vec![7; 100].into()).await.unwrap();
    file.sync().await.unwrap();
    env.disk.sync_dir("").await.unwrap();
}

#[test]
fn a_lost_machine_is_silent_and_comes_back_with_its_disk_or_without() {
    for fate in [DiskFate::Returns, DiskFate::Lost] {
        simulate(2, move |world| async move {
            let (server, client) = (world.add_host("server"), world.add_host("client"));
            world.boot(server, |env| Box::pin(echo(env)));
            write_synced(&world.env(server), "log").await;
            let mut stream = connect(&world.env(client), "server").await.unwrap();
            world.lose(server, fate).unwrap();
            let clock = world.env(client).clock;
            let heard = clock.before(world.now_ns() + 5 * S, ping(&mut stream, b"x")).await;
            assert!(heard.is_none(), "neither FIN nor RST: silence");
            world.restart(server);
            let files = if fate == DiskFate::Returns { 1 } else { 0 };
            assert_eq!(world.files(server).len(), files);
        });
    }
}

#[test]
fn a_restart_on_a_wiped_disk_finds_nothing() {
    simulate(2, |world| async move {
        let host = world.add_host("host");
        write_synced(&world.env(host), "log").await;
        world.restart(host);
        assert_eq!(world.files(host).len(), 1);
        world.restart_wiped(host).unwrap();
        assert_eq!((world.files(host).len(), world.state(host)), (0, HostState::Up));
    });
}

const EMFILE: Option<i32> = Some(24);

#[test]
fn beyond_the_limit_files_and_connections_fail_as_on_linux_and_room_helps() {
    simulate(2, |world| async move {
        let (host, peer) = (world.add_host("host"), world.add_host("peer"));
        world.set_limits(host, Limits { open_files: Some(3), ..Limits::default() }).unwrap();
        let (env, far) = (world.env(host), world.env(peer));
        world.env(peer).tasks.spawn("echo", Box::pin(echo(far.clone())));
        world.sleep_until(MS).await;
        let mut listener = env.net.listen(klamm_env::Address::new("", 9)).await.unwrap();
        let file = env.disk.open("a", OpenMode::Create).await.unwrap();
        let stream = connect(&env, "peer").await.unwrap();
        assert_eq!(env.disk.open("b", OpenMode::Create).await.err().unwrap().raw_os_error(), EMFILE);
        assert_eq!(connect(&env, "peer").await.err().unwrap().raw_os_error(), EMFILE);
        assert_eq!(env.net.listen(klamm_env::Address::new("", 8)).await.err().unwrap().raw_os_error(), EMFILE);
        let mut incoming = connect(&far, "host").await.unwrap();
        world.sleep_until(world.now_ns() + 5 * MS).await;
        let refused = std::future::poll_fn(|cx| listener.poll_accept(cx)).await;
        assert_eq!(refused.err().unwrap().raw_os_error(), EMFILE);
        drop(file);
        let accepted = std::future::poll_fn(|cx| listener.poll_accept(cx)).await;
        drop((accepted.unwrap(), stream));
        assert!(env.disk.open("b", OpenMode::Create).await.is_ok(), "the one that waited was still there");
        drop(env);
        world.restart(host);
        let env = world.env(host);
        for name in ["a", "b", "c"] {
            std::mem::forget(env.disk.open(name, OpenMode::Create).await.unwrap());
        }
        assert!(env.disk.open("d", OpenMode::Create).await.is_err());
        world.restart(host);
        assert!(env.disk.open("d", OpenMode::Create).await.is_ok(), "a new process holds nothing");
        assert!(tokio::io::AsyncReadExt::read(&mut incoming, &mut [0]).await.is_ok());
    });
}

#[test]
fn beyond_the_budget_memory_is_refused_or_the_process_is_killed() {
    for kill_on_excess in [false, true] {
        simulate(2, move |world| async move {
            let host = world.add_host("host");
            let limits = Limits { memory_bytes: Some(1_000), kill_on_excess, ..Limits::default() };
            world.set_limits(host, limits).unwrap();
            let greedy = world.spawn_on(host, "greedy", async move {
                let held = klamm_sim::reserve(900).unwrap();
                assert_eq!(held.bytes(), 900);
                let error = klamm_sim::reserve(101).unwrap_err();
                drop(held);
                let fits = klamm_sim::reserve(1_000).is_ok();
                (error.kind(), fits)
            });
            world.sleep_until(MS).await;
            assert_eq!(world.state(host), if kill_on_excess { HostState::Down } else { HostState::Up });
            if !kill_on_excess {
                assert_eq!(greedy.await.unwrap(), (ErrorKind::OutOfMemory, true));
            }
        });
    }
}

#[test]
fn disk_operations_and_unread_bytes_count_towards_the_budget() {
    simulate(2, |world| async move {
        let (host, peer) = (world.add_host("host"), world.add_host("peer"));
        world.env(host).tasks.spawn("deaf", Box::pin(deaf(world.env(host))));
        let env = world.env(host);
        let file = env.disk.open("log", OpenMode::Create).await.unwrap();
        world.set_limits(host, Limits { memory_bytes: Some(10_000), ..Limits::default() }).unwrap();
        assert_eq!(file.append(vec![1; 10_001].into()).await.unwrap_err().kind(), ErrorKind::OutOfMemory);
        assert_eq!(file.read_at(0, 10_001).await.unwrap_err().kind(), ErrorKind::OutOfMemory);
        for _ in 0..3 {
            file.append(vec![1; 9_000].into()).await.unwrap(); // done is done
        }
        let mut stream = connect(&world.env(peer), "host").await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, &[0; 5_000]).await.unwrap();
        world.sleep_until(world.now_ns() + 10 * MS).await;
        assert!(file.append(vec![1; 6_000].into()).await.is_err(), "5,000 bytes lie in a socket");
        assert!(file.append(vec![1; 4_000].into()).await.is_ok());
    });
}

#[test]
fn limits_of_zero_are_typed_errors() {
    simulate(1, |world| async move {
        let host = world.add_host("host");
        for limits in
            [Limits { open_files: Some(0), ..Limits::default() }, Limits { memory_bytes: Some(0), ..Limits::default() }]
        {
            assert!(matches!(world.set_limits(host, limits), Err(HostError::Zero { .. })));
        }
        let unknown = world.set_limits(Host(9), Limits::default());
        assert_eq!(unknown, Err(HostError::Unknown { host: 9 }));
    });
}

/// Pauses of a host with that collector over so many seconds, in nanoseconds.
fn pauses(seed: u64, profile: GcProfile, seconds: u64) -> Vec<u64> {
    let (sender, receiver) = std::sync::mpsc::channel();
    simulate(seed, move |world| async move {
        let host = world.add_host("host");
        let mut since = None;
        world.on_event(Box::new(move |ns, event| match event {
            WorldEvent::Paused { .. } => since = Some(ns),
            WorldEvent::Resumed { .. } => sender.send(ns - since.take().unwrap()).unwrap(),
            _ => {}
        }));
        world.set_gc(host, Some(profile)).unwrap();
        world.sleep_until(seconds * S).await;
        world.set_gc(host, None).unwrap();
        assert_eq!(world.state(host), HostState::Up);
        let after = world.now_ns() + 100 * S;
        world.sleep_until(after).await;
        assert_eq!(world.state(host), HostState::Up, "no collector, no pause");
    });
    receiver.iter().collect()
}

#[test]
fn collectors_pause_as_long_and_as_often_as_they_are_known_to() {
    let hour = 3_600;
    let median = |mut pauses: Vec<u64>| {
        pauses.sort_unstable();
        pauses[pauses.len() / 2]
    };
    let small = pauses(1, GcProfile::g1_small(), hour);
    let in_aim = small.iter().filter(|pause| **pause <= 30 * MS).count();
    assert!((400..3_600).contains(&small.len()), "less than one a second: {}", small.len());
    assert!(in_aim * 10 >= small.len() * 8, "most within the aim: {in_aim} of {}", small.len());
    assert!((60 * MS..200 * MS).contains(&median(pauses(1, GcProfile::g1_large_heap(), hour))));
    let cms = pauses(1, GcProfile::cms_full(), 4 * hour);
    assert!(cms.iter().any(|pause| *pause > 6 * S), "a full collection outlives a session");
    assert!(pauses(1, GcProfile::zgc(), hour).iter().all(|pause| *pause < MS));
    assert_eq!(small, pauses(1, GcProfile::g1_small(), hour), "a seed has its pauses");
    assert_ne!(small, pauses(2, GcProfile::g1_small(), hour));
}

#[test]
fn a_collector_does_not_end_the_pause_of_the_stage_and_nothing_runs_meanwhile() {
    simulate(1, |world| async move {
        let host = world.add_host("host");
        let each = |ns| Spread { min: ns, p50: ns, p99: ns, max: ns };
        let young = Pauses { every: each(100 * MS), pause: each(50 * MS) };
        world.set_gc(host, Some(GcProfile { young, full: None })).unwrap();
        let clock = world.env(host).clock;
        let late = world.spawn_on(host, "late", async move {
            clock.sleep_ms(110).await;
            world.now_ns()
        });
        assert_eq!(late.await.unwrap(), 150 * MS);
        world.sleep_until(260 * MS).await;
        world.pause(host);
        world.sleep_until(1_010 * MS).await;
        assert_eq!(world.state(host), HostState::Paused);
        world.resume(host);
        assert_eq!(world.state(host), HostState::Paused, "the collector's own pause from 1,000 ms");
        world.sleep_until(1_051 * MS).await;
        assert_eq!(world.state(host), HostState::Up);
        let bad = Pauses { every: each(0), pause: each(1) };
        assert_eq!(world.set_gc(host, Some(GcProfile { young: bad, full: None })), Err(HostError::Spread));
    });
}

#[test]
fn a_world_where_nothing_is_configured_is_the_world_without_the_means() {
    let story = |touch: bool| {
        simulate_all(SimConfig::new(5), move |world: World| async move {
            let (server, client) = (world.add_host("server"), world.add_host("client"));
            world.boot(server, |env| Box::pin(echo(env)));
            if touch {
                world.set_gc(server, None).unwrap();
            }
            let mut stream = connect(&world.env(client), "server").await.unwrap();
            for _ in 0..50 {
                ping(&mut stream, b"hello").await.unwrap();
            }
        })
    };
    let (without, with) = (story(false), story(true));
    assert_eq!((without.trace_hash, without.polls), (with.trace_hash, with.polls));
}
