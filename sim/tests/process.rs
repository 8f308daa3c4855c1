//! Processes start, die, stand still and start again, and time is exact.

mod common;

use common::*;
use klamm_env::{Env, OpenMode};
use klamm_sim::{HostState, SimConfig, World, WorldEvent};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::AsyncReadExt;

async fn at(world: &World, ns: u64) {
    world.sleep_until(ns).await;
}

async fn forever() {
    std::future::pending::<()>().await;
}

#[test]
fn a_kill_drops_all_futures_now_as_their_host() {
    let notes = Notes::default();
    let said = notes.clone();
    simulate(1, |world| async move {
        let (first, second) = (world.add_host("first"), world.add_host("second"));
        let for_program = notes.clone();
        world.boot(second, move |env: Env| {
            let notes = for_program.clone();
            Box::pin(async move {
                let child = OnDrop(notes.clone(), "child");
                env.tasks.spawn(
                    "child",
                    Box::pin(async move {
                        let _child = child;
                        forever().await;
                    }),
                );
                let _main = OnDrop(notes, "main");
                forever().await;
            })
        });
        at(&world, MS).await;
        let world2 = world;
        let notes2 = notes.clone();
        let killer = async move {
            world2.kill(second);
            notes2.say("killed");
        };
        world.env(first).tasks.spawn("killer", Box::pin(killer));
        at(&world, 2 * MS).await;
        assert_eq!(world.state(second), HostState::Down);
        assert_eq!(world.live_tasks(), 1, "only main is left");
    });
    let mut said = said.take();
    assert_eq!(said.pop().unwrap(), "killed", "the drops come first: {said:?}");
    said.sort();
    assert_eq!(said, ["child dropped on Some(1)", "main dropped on Some(1)"]);
}

#[test]
fn a_process_may_kill_itself_in_the_middle_of_a_poll() {
    let notes = Notes::default();
    let said = notes.clone();
    simulate(1, |world| async move {
        let host = world.add_host("host");
        let other = world.add_host("other");
        let notes2 = notes.clone();
        world.boot(host, move |env: Env| {
            let notes = notes2.clone();
            Box::pin(async move {
                let _guard = OnDrop(notes.clone(), "suicide");
                if world.now_ns() > 0 {
                    return forever().await; // the second life is quiet
                }
                env.clock.sleep_ms(5).await;
                world.kill(host);
                notes.say("the poll goes on");
                env.tasks.spawn("ghost", Box::pin(async move { notes.say("a ghost ran") }));
                forever().await;
            })
        });
        at(&world, 10 * MS).await;
        assert_eq!((world.state(host), world.state(other)), (HostState::Down, HostState::Up));
        world.restart(host);
        at(&world, 20 * MS).await;
        assert_eq!(world.live_tasks(), 2);
    });
    assert_eq!(
        said.take(),
        ["the poll goes on", "suicide dropped on Some(0)", "suicide dropped on Some(0)"],
        "the first at the kill, the second at the end of the run"
    );
}

#[test]
fn what_a_drop_spawns_on_a_dead_host_is_swallowed() {
    struct Spawner(Env, Notes);
    impl Drop for Spawner {
        fn drop(&mut self) {
            let notes = self.1.clone();
            self.0.tasks.spawn("afterlife", Box::pin(async move { notes.say("ran") }));
            self.1.say("dropped");
        }
    }
    let notes = Notes::default();
    let said = notes.clone();
    simulate(1, |world| async move {
        let host = world.add_host("host");
        let guard_notes = notes.clone();
        world.boot(host, move |env: Env| {
            let guard = Spawner(env.clone(), guard_notes.clone());
            Box::pin(async move {
                let _guard = guard;
                forever().await;
            })
        });
        at(&world, MS).await;
        world.restart(host);
        at(&world, 2 * MS).await;
        assert_eq!(notes.take(), ["dropped"]);
    });
    assert_eq!(said.take(), ["dropped"], "the end of the run swallows too");
}

#[test]
fn a_pause_delays_a_tick_exactly_to_the_resume_and_a_kill_ends_it() {
    let notes = Notes::default();
    let said = notes.clone();
    simulate(1, |world| async move {
        let host = world.add_host("host");
        world.boot(host, move |env: Env| {
            let notes = notes.clone();
            Box::pin(async move {
                for tick in 1..=8 {
                    env.clock.sleep_until(tick * 100 * MS).await;
                    notes.say(format!("{tick} at {}", env.clock.mono_ns()));
                }
            })
        });
        at(&world, 250 * MS).await;
        world.pause(host);
        assert_eq!(world.state(host), HostState::Paused);
        at(&world, 680 * MS).await;
        world.resume(host);
        at(&world, 750 * MS).await;
        world.kill(host);
        at(&world, 2 * S).await;
    });
    let expect = [(1, 100), (2, 200), (3, 680), (4, 680), (5, 680), (6, 680), (7, 700)];
    assert_eq!(said.take(), expect.map(|(tick, ms)| format!("{tick} at {}", ms * MS)));
}

#[test]
fn a_program_that_ends_ends_its_process() {
    simulate(1, |world| async move {
        let host = world.add_host("host");
        world.boot(host, |env: Env| {
            Box::pin(async move {
                env.tasks.spawn("child", Box::pin(forever()));
                env.clock.sleep_ms(3).await;
            })
        });
        at(&world, 2 * MS).await;
        assert_eq!((world.state(host), world.live_tasks()), (HostState::Up, 3));
        at(&world, 4 * MS).await;
        assert_eq!((world.state(host), world.live_tasks()), (HostState::Down, 1));
    });
}

#[test]
fn a_wall_clock_is_set_apart_from_time() {
    simulate(1, |world| async move {
        let (one, two) = (world.add_host("one"), world.add_host("two"));
        at(&world, 1500 * MS).await;
        assert_eq!(world.env(one).clock.wall_ms(), 1_767_225_601_500);
        world.set_wall_offset_ms(one, -10_000);
        assert_eq!(world.env(one).clock.wall_ms(), 1_767_225_591_500);
        assert_eq!(world.env(two).clock.wall_ms(), 1_767_225_601_500);
        assert_eq!(world.env(one).clock.mono_ns(), 1500 * MS);
    });
}

#[test]
fn a_timer_fires_at_its_last_setting_and_only_then() {
    simulate(1, |world| async move {
        let env = world.env(world.add_host("host"));
        let mut timer = env.clock.timer();
        let fired = async |timer: &mut Box<dyn klamm_env::Timer>, limit: u64| {
            env.clock.before(limit, std::future::poll_fn(|cx| timer.poll_fired(cx))).await
        };
        timer.set(Some(50 * MS));
        assert!(fired(&mut timer, 10 * MS).await.is_none());
        timer.set(Some(30 * MS)); // earlier
        assert!(fired(&mut timer, S).await.is_some());
        assert_eq!(world.now_ns(), 30 * MS);
        assert!(fired(&mut timer, S).await.is_some(), "fired until it is set anew");
        timer.set(Some(90 * MS)); // later
        assert!(fired(&mut timer, 60 * MS).await.is_none());
        timer.set(None);
        assert!(fired(&mut timer, 200 * MS).await.is_none());
        timer.set(Some(100 * MS)); // past
        assert!(fired(&mut timer, S).await.is_some());
        assert_eq!(world.now_ns(), 200 * MS);
    });
}

#[test]
fn abort_drops_a_task_after_the_current_poll() {
    let notes = Notes::default();
    let said = notes.clone();
    simulate(1, |world| async move {
        let env = world.env(world.add_host("host"));
        let guard = OnDrop(notes.clone(), "task");
        let task = async move {
            let _guard = guard;
            forever().await;
        };
        let handle = env.tasks.spawn("task", Box::pin(task));
        at(&world, MS).await;
        handle.abort();
        notes.say("still in the poll");
        at(&world, 2 * MS).await;
        assert_eq!(world.live_tasks(), 1);
        handle.abort();
    });
    assert_eq!(said.take(), ["still in the poll", "task dropped on Some(0)"]);
}

#[test]
fn a_thousand_restarts_leave_nothing_behind() {
    simulate(1, |world| async move {
        let host = world.add_host("server");
        let client = world.add_host("client");
        world.boot(host, |env: Env| {
            Box::pin(async move {
                for _ in 0..20 {
                    let clock = env.clock.clone();
                    env.tasks.spawn("sleeper", Box::pin(async move { clock.sleep_ms(30_000).await }));
                }
                let file = env.disk.open("log", OpenMode::Create).await.unwrap();
                let append = file.append(bytes::Bytes::from_static(b"x"));
                env.tasks.spawn("append", Box::pin(async move { drop(append.await) }));
                echo(env).await;
            })
        });
        let mut halves = [[0; 4]; 2];
        for round in 0..1000 {
            at(&world, world.now_ns() + 2 * MS).await;
            let mut stream = connect(&world.env(client), "server").await.unwrap();
            ping(&mut stream, b"hello").await.unwrap();
            world.restart(host);
            let (largest, census) = (&mut halves[round / 500], world.census());
            *largest = [0, 1, 2, 3].map(|kind| largest[kind].max(census[kind]));
        }
        let [first, second] = halves;
        assert!(second[0] < 10 && second[2] < 10 && second[3] < 10, "tasks, connections, operations: {second:?}");
        assert!(second[1] < first[1] + 100, "entries of the timer heap: {first:?}, then {second:?}");
        at(&world, world.now_ns() + 60 * S).await;
        world.kill(host);
        assert_eq!(world.census()[0], 1);
    });
}

#[test]
fn the_director_runs_after_the_poll_that_asked_and_before_any_other_task() {
    let notes = Notes::default();
    let said = notes.clone();
    simulate(1, |world| async move {
        let (one, two) = (world.add_host("one"), world.add_host("two"));
        let mut shots = 0;
        let director_notes = notes.clone();
        world.set_director(Box::new(move |world| {
            shots += 1;
            director_notes.say(format!("director {shots} on {:?}", World::current_host()));
            world.kill(two);
        }));
        let (tx, rx) = tokio::sync::oneshot::channel();
        let victim = notes.clone();
        world.env(two).tasks.spawn(
            "victim",
            Box::pin(async move {
                rx.await.unwrap();
                victim.say("the victim ran");
            }),
        );
        at(&world, MS).await;
        let asker = notes.clone();
        world.env(one).tasks.spawn(
            "asker",
            Box::pin(async move {
                tx.send(()).unwrap();
                world.flag_director();
                asker.say("asked");
            }),
        );
        at(&world, 2 * MS).await;
        world.flag_director();
        at(&world, 3 * MS).await;
    });
    assert_eq!(said.take(), ["asked", "director 1 on None", "director 2 on None"]);
}

#[test]
fn events_tell_what_happened_in_order() {
    let notes = Notes::default();
    let said = notes.clone();
    simulate(1, |world| async move {
        let host = world.add_host("host");
        let listener = notes.clone();
        world.on_event(Box::new(move |ns, event: &WorldEvent| listener.say(format!("{} {event:?}", ns / MS))));
        let program = notes.clone();
        world.boot(host, move |_| {
            let guard = OnDrop(program.clone(), "main");
            Box::pin(async move {
                let _guard = guard;
                forever().await;
            })
        });
        at(&world, MS).await;
        world.pause(host);
        world.resume(host);
        world.kill(host);
        world.wipe_disk(host);
        world.restart(host);
        world.power_off(host);
    });
    let said: Vec<String> = said.take();
    let heads: Vec<&str> = said.iter().map(|line| line.split([' ', '{']).nth(1).unwrap_or("")).collect();
    let expect =
        ["Started", "Paused", "Resumed", "Killed", "dropped", "DiskWiped", "Restarted", "PoweredOff", "dropped"];
    assert_eq!(heads, expect, "{said:?}");
    assert!(said[0].starts_with("0 ") && said[1].starts_with("1 "));
}

#[test]
fn randomness_differs_by_host_life_and_stream_and_not_by_run() {
    let draw = |seed| {
        simulate(seed, |world| async move {
            use rand_chacha::rand_core::Rng;
            let (one, two) = (world.add_host("one"), world.add_host("two"));
            let first = world.env(one).entropy.next_u64();
            world.restart(one);
            [
                first,
                world.env(one).entropy.next_u64(),
                world.env(two).entropy.next_u64(),
                world.rng("a").next_u64(),
                world.rng("b").next_u64(),
            ]
        })
    };
    let (seven, eight) = (draw(7), draw(8));
    assert_eq!(seven, draw(7));
    let all: std::collections::BTreeSet<u64> = seven.into_iter().chain(eight).collect();
    assert_eq!(all.len(), 10);
}

#[test]
fn synced_bytes_survive_power_loss_and_unsynced_ones_may_not() {
    let mut lost = 0;
    for seed in 0..20 {
        lost += simulate(seed, |world| async move {
            let host = world.add_host("host");
            let env = world.env(host);
            env.disk.create_dir("d").await.unwrap();
            let file = env.disk.open("d/log", OpenMode::Create).await.unwrap();
            file.append(vec![1; 10_000].into()).await.unwrap();
            file.sync().await.unwrap();
            env.disk.sync_dir("d").await.unwrap();
            env.disk.sync_dir("").await.unwrap();
            file.append(vec![2; 10_000].into()).await.unwrap();
            world.kill(host);
            assert!(file.append(vec![3; 10].into()).await.is_err(), "a handle of a dead process");
            world.restart(host);
            let file = env.disk.open("d/log", OpenMode::Existing).await.unwrap();
            assert_eq!(file.len().await.unwrap(), 20_000, "a kill loses nothing");
            world.power_off(host);
            world.restart(host);
            let file = env.disk.open("d/log", OpenMode::Existing).await.unwrap();
            let all = file.read_at(0, 20_000).await.unwrap();
            assert!(all.len() >= 10_000 && all[..10_000].iter().all(|byte| *byte == 1));
            u64::from(all.len() < 20_000 || all[10_000..].iter().any(|byte| *byte != 2))
        });
    }
    assert!((1..20).contains(&lost), "{lost} of 20 lost unsynced bytes");
}

#[test]
fn an_operation_takes_effect_though_its_future_is_dropped_and_not_if_its_process_dies_first() {
    let appended = Arc::new(AtomicU64::new(0));
    for kill in [false, true] {
        for seed in 0..40 {
            let count = appended.clone();
            let config =
                SimConfig { disk: klamm_sim::DiskProfile { cut_ppm: 0, ..Default::default() }, ..SimConfig::new(seed) };
            let run = simulate_all(config, move |world| async move {
                let host = world.add_host("host");
                let env = world.env(host);
                let file = env.disk.open("log", OpenMode::Create).await.unwrap();
                let mut append = file.append(vec![1; 10].into());
                let polled = env.clock.before(world.now_ns(), &mut append).await;
                assert!(polled.is_none());
                drop(append);
                if kill {
                    at(&world, world.now_ns() + 8 * US).await;
                    world.kill(host);
                    world.restart(host);
                }
                at(&world, world.now_ns() + MS).await;
                let file = env.disk.open("log", OpenMode::Existing).await.unwrap();
                let len = file.len().await.unwrap();
                assert!(len == 0 || len == 10);
                assert!(kill || len == 10, "nobody waits for it, and it happens");
                count.fetch_add(u64::from(kill && len == 10), Ordering::Relaxed);
            });
            run.outcome.unwrap_or_else(|panic| panic!("seed {seed}: {panic}"));
        }
    }
    let happened = appended.load(Ordering::Relaxed);
    assert!((1..40).contains(&happened), "some before the kill, some never: {happened} of 40");
}

#[test]
fn streams_end_when_their_process_exits() {
    simulate(3, |world| async move {
        let (server, client) = (world.add_host("server"), world.add_host("client"));
        world.boot(server, |env: Env| {
            Box::pin(async move {
                let limit = 5 * MS;
                let clock = env.clock.clone();
                clock.before(limit, echo(env)).await;
            })
        });
        at(&world, MS).await;
        let mut stream = connect(&world.env(client), "server").await.unwrap();
        ping(&mut stream, b"x").await.unwrap();
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    });
}
