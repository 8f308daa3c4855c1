//! Applications on tokio's names (`madsim-tokio`) beside our executor, over our streams, through kill, pause and restart.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

#[path = "guest/app.rs"]
mod app;
mod common;

use common::*;
use klamm_env::{Address, OpenMode};
use klamm_sim::{Embedding, Run, SimConfig, World, WorldEvent, first_difference, guest};
use madsim_tokio::time::{Duration, Instant, sleep};
use std::process::Command;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const CHILD: &str = "KLAMM_SIM_TEST_CHILD";
/// What madsim's clock may add where a few of its tasks run at one instant.
const NOISE: u64 = 2 * US;

fn config(seed: u64) -> SimConfig {
    SimConfig { embedding: Embedding::MadsimTask, limit_ns: Some(60 * S), ..SimConfig::new(seed) }
}

fn play<T, F>(seed: u64, main: impl FnOnce(World) -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    simulate_all(config(seed), main).outcome.unwrap_or_else(|panic| panic!("{panic}"))
}

/// A guest talks to a server of ours, and neither is spared.
async fn through_everything(world: World) -> Vec<String> {
    let notes = Notes::default();
    let heard = notes.clone();
    world.on_event(Box::new(move |at, event| heard.say(format!("{at} {event:?}"))));
    let (server, client) = (world.add_host("server"), world.add_host("app"));
    world.boot(server, |env| Box::pin(echo(env)));
    let said = notes.clone();
    world.boot_guest(client, move || app::client(said.clone()));
    let at = |ms| world.sleep_until(ms * MS);
    at(300).await;
    world.kill(client);
    at(400).await;
    world.restart(client);
    at(700).await;
    world.pause(client);
    at(1_000).await;
    world.resume(client);
    at(1_200).await;
    world.kill(server);
    at(1_300).await;
    world.restart(server);
    at(1_500).await;
    world.pause(server);
    at(1_800).await;
    world.resume(server);
    at(2_000).await;
    world.power_off(client);
    at(2_100).await;
    world.restart(client);
    at(2_300).await;
    world.stop(client, 3_000 * MS).expect("a host");
    at(2_400).await;
    notes.say(format!("in the end {:?}", world.state(client)));
    notes.take()
}

fn all(seed: u64) -> Run<Vec<String>> {
    simulate_all(SimConfig { trace: true, ..config(seed) }, through_everything)
}

#[test]
fn a_guest_lives_through_kill_pause_restart_and_stop_as_its_host_does() {
    let notes = all(1).outcome.unwrap();
    let has = |text: &str| notes.iter().filter(|note| note.contains(text)).count();
    let place = |text: &str| notes.iter().position(|note| note.contains(text)).expect(text);
    assert_eq!(has("starts"), 3, "at first, after the kill, after the loss of power: {notes:#?}");
    assert_eq!((place("300000000 Killed")..place("400000000 Restarted")).len(), 1, "the dead say nothing: {notes:#?}");
    assert_eq!((place("700000000 Paused")..place("1000000000 Resumed")).len(), 1, "and the paused: {notes:#?}");
    assert!(has("cannot connect: connection refused") > 3, "while the server is down: {notes:#?}");
    assert!(has("waited too long for an answer") >= 1, "while the server stands still: {notes:#?}");
    assert!(has("beats at") > 10, "{notes:#?}");
    assert!(place("2300000000 Stopping") < place("stops after"), "Ctrl-C is heard: {notes:#?}");
    assert!(place("stops after") < place("Exited"), "{notes:#?}");
    assert_eq!(notes.last().map(String::as_str), Some("in the end Down"));
}

#[test]
fn a_run_with_guests_is_the_same_in_every_thread() {
    for seed in 0..4 {
        let others: Vec<_> = (0..2).map(|_| std::thread::spawn(move || all(seed))).collect();
        let here = all(seed);
        assert!(here.trace.iter().any(|line| line.contains(" app/guest ")), "what a guest does stands in the trace");
        for other in others {
            let there = other.join().unwrap();
            assert_eq!(first_difference(&here.trace, &there.trace), None, "seed {seed}");
            assert_eq!((here.trace_hash, here.polls, &here.outcome), (there.trace_hash, there.polls, &there.outcome));
        }
        assert_ne!(here.trace_hash, all(seed + 100).trace_hash, "and it hangs on the seed");
    }
}

#[test]
fn a_run_with_guests_is_the_same_in_every_process() {
    let tell = || {
        let run = all(7);
        format!("trace {:016x} notes {:?}", run.trace_hash, run.outcome.unwrap())
    };
    if std::env::var_os(CHILD).is_some() {
        return println!("{}", tell());
    }
    let here = tell();
    for _ in 0..2 {
        let mut child = Command::new(std::env::current_exe().unwrap());
        let name = "a_run_with_guests_is_the_same_in_every_process";
        let output = child.args(["--exact", name, "--nocapture"]).env(CHILD, "1").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains(&here), "{here}: {said}");
    }
}

#[test]
fn keeping_the_trace_changes_no_run_with_guests() {
    let (kept, quiet) = (all(3), simulate_all(config(3), through_everything));
    assert_eq!((kept.trace_hash, kept.polls, kept.outcome), (quiet.trace_hash, quiet.polls, quiet.outcome));
}

#[test]
fn a_guest_sleeps_as_long_as_it_asked_and_sees_the_worlds_time() {
    let slept = play(1, |world| async move {
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let host = world.add_host("app");
        world.boot_guest(host, move || {
            let tell = tell.clone();
            async move {
                for ms in [1, 2, 5, 250, 3_000] {
                    let began = (Instant::now(), guest::env().clock.mono_ns());
                    sleep(Duration::from_millis(ms)).await;
                    let passed = (began.0.elapsed().as_nanos() as u64, guest::env().clock.mono_ns() - began.1);
                    tell.send((ms * MS, passed)).expect("main waits");
                }
            }
        });
        let mut slept = vec![];
        for _ in 0..5 {
            slept.push(told.recv().await.expect("a guest that sleeps"));
        }
        slept
    });
    for (asked, (by_tokio, by_world)) in slept {
        assert!((asked..asked + NOISE).contains(&by_tokio), "{asked}: {by_tokio}");
        assert!((asked..asked + NOISE).contains(&by_world), "{asked}: {by_world}");
    }
}

#[test]
fn a_wake_goes_both_ways_at_once() {
    play(2, |world| async move {
        let (ask, mut asked) = tokio::sync::mpsc::channel::<u64>(1);
        let (answer, answers) = tokio::sync::mpsc::channel::<u64>(1);
        let answers = std::sync::Arc::new(tokio::sync::Mutex::new(answers));
        let host = world.add_host("app");
        world.boot_guest(host, move || {
            let (ask, answers) = (ask.clone(), answers.clone());
            async move {
                let clock = guest::env().clock;
                for _ in 0..10 {
                    sleep(Duration::from_millis(7)).await;
                    let before = clock.mono_ns();
                    ask.send(before).await.expect("somebody answers");
                    let said = answers.lock().await.recv().await.expect("an answer");
                    assert!(clock.mono_ns() - before < NOISE, "{before} {}", clock.mono_ns());
                    assert!((before..before + NOISE).contains(&said), "{before} {said}");
                }
            }
        });
        for _ in 0..10 {
            let sent = asked.recv().await.expect("a guest that asks");
            assert!((sent..sent + NOISE).contains(&world.now_ns()), "{sent} {}", world.now_ns());
            answer.send(world.now_ns()).await.expect("a guest that waits");
        }
    });
}

#[test]
fn a_guest_may_be_the_server_and_may_have_a_disk() {
    play(3, |world| async move {
        let (server, client) = (world.add_host("server"), world.add_host("client"));
        world.boot_guest(server, || async {
            let disk = guest::env().disk;
            let file = disk.open("starts", OpenMode::Create).await.expect("a file");
            file.append(vec![1].into()).await.expect("space");
            file.sync().await.expect("a disk");
            app::doubler().await;
        });
        let env = world.env(client);
        for life in 1..4_u64 {
            world.sleep_until(world.now_ns() + 50 * MS).await;
            assert_eq!(world.files(server), [("starts".to_owned(), life)]);
            let mut stream = env.net.connect(Address::new("server", 7), "test").await.expect("a guest that listens");
            let before = world.now_ns();
            stream.write_u32(21).await.expect("room");
            assert_eq!(stream.read_u32().await.expect("an answer"), 42);
            assert!(world.now_ns() - before >= 3 * MS, "it takes its time");
            world.power_off(server);
            world.restart(server);
            assert!(stream.write_u32(1).await.is_ok() && stream.read_u32().await.is_err(), "that life is over");
        }
    });
}

#[test]
fn a_killed_guest_is_dropped_as_its_host_and_its_peer_sees_the_end() {
    play(4, |world| async move {
        let (server, client) = (world.add_host("server"), world.add_host("app"));
        let notes = Notes::default();
        let mut listener = world.env(server).net.listen(Address::new("", 9)).await.expect("a port");
        let said = notes.clone();
        world.boot_guest(client, move || {
            let said = said.clone();
            async move {
                let _held = OnDrop(said, "the guest");
                let _stream = guest::net::TcpStream::connect("server:9").await.expect("somebody listens");
                std::future::pending::<()>().await;
            }
        });
        let mut stream = std::future::poll_fn(|cx| listener.poll_accept(cx)).await.expect("a guest");
        world.pause(client); // a paused one dies, too
        world.sleep_until(20 * MS).await;
        world.kill(client);
        assert_eq!(stream.read(&mut [0]).await.expect("a FIN"), 0);
        let took = world.now_ns() - 20 * MS;
        assert!(took > 10 * US && took < 10 * MS, "after one way through the network: {took}");
        assert_eq!(notes.take(), ["the guest dropped on Some(1)"]);
        let world_time = world.now_ns();
        world.restart(client);
        let again = std::future::poll_fn(|cx| listener.poll_accept(cx)).await;
        assert!(again.is_ok() && world.now_ns() > world_time);
    });
}

#[test]
fn a_guest_that_ends_has_exited_and_one_that_madsim_kills_is_killed() {
    play(5, |world| async move {
        let notes = Notes::default();
        let heard = notes.clone();
        world.on_event(Box::new(move |at, event| match event {
            WorldEvent::Exited { host } => heard.say(format!("{} {host} exited", at / MS)),
            WorldEvent::Killed { host } => heard.say(format!("{} {host} killed", at / MS)),
            _ => {}
        }));
        let (short, doomed) = (world.add_host("short"), world.add_host("doomed"));
        let said = notes.clone();
        world.boot_guest(short, move || {
            let said = said.clone();
            async move {
                madsim_tokio::spawn(async move {
                    sleep(Duration::from_millis(20)).await;
                    said.say("a task outlived its process");
                });
                sleep(Duration::from_millis(10)).await;
            }
        });
        world.boot_guest(doomed, || sleep(Duration::from_secs(100)));
        world.sleep_until(30 * MS).await;
        madsim::runtime::Handle::current().kill("doomed");
        world.sleep_until(40 * MS).await;
        assert_eq!(notes.take(), ["10 short exited", "30 doomed killed"]);
    });
}

#[test]
fn a_panic_of_a_guest_is_the_verdict() {
    let run = simulate_all(config(6), |world| async move {
        let host = world.add_host("app");
        world.boot_guest(host, || async {
            sleep(Duration::from_millis(5)).await;
            panic!("a number too large");
        });
        world.sleep_until(S).await;
    });
    let panic: klamm_sim::Panic = run.outcome.unwrap_err();
    assert_eq!((panic.node.as_deref(), panic.message.as_str()), (Some("app"), "a number too large"));
    assert!((5 * MS..5 * MS + NOISE).contains(&panic.at_ns) && panic.location.contains("guests.rs"), "{panic}");
}

#[test]
fn nothing_left_to_happen_is_told_with_guests_too() {
    let run = simulate_all(config(7), |world| async move {
        let host = world.add_host("app");
        world.boot_guest(host, std::future::pending);
        std::future::pending::<()>().await;
    });
    let panic: klamm_sim::Panic = run.outcome.unwrap_err();
    assert!(panic.message.contains("deadlock") && panic.message.contains("app/main"), "{panic}");
}

#[test]
fn a_guest_that_never_ends_ends_with_the_run_or_its_limit() {
    let forever = |world: World| {
        let host = world.add_host("app");
        world.boot_guest(host, || async {
            loop {
                sleep(Duration::from_millis(1)).await;
            }
        });
    };
    let ended = simulate_all(config(8), move |world| async move {
        forever(world);
        world.sleep_until(100 * MS).await;
    });
    assert_eq!(ended.outcome, Ok(()));
    let stuck = simulate_all(config(8), move |world| async move {
        forever(world);
        std::future::pending::<()>().await;
    });
    let panic: klamm_sim::Panic = stuck.outcome.unwrap_err();
    assert!(panic.message.contains("not over after 60000000000 ns"), "{panic}");
}

#[test]
fn a_guest_needs_the_embedding_for_guests_and_its_calls_need_a_guest() {
    let run = simulate_all(SimConfig::new(9), |world| async move {
        let host = world.add_host("app");
        world.boot_guest(host, || async {});
    });
    assert!(run.outcome.unwrap_err().message.contains("Embedding::MadsimTask"));
    for config in [SimConfig::new(9), config(9)] {
        let run = simulate_all(config, |_| async { drop(guest::env()) });
        assert!(run.outcome.unwrap_err().message.contains("guest's tasks"));
    }
    let bad = play(9, |world| async move {
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let host = world.add_host("app");
        world.boot_guest(host, move || {
            let tell = tell.clone();
            async move {
                for to in ["server", "server:", "server:70000"] {
                    let error = guest::net::TcpStream::connect(to).await.err().expect("no address");
                    tell.send(error.to_string()).expect("main waits");
                }
            }
        });
        [told.recv().await, told.recv().await, told.recv().await].map(Option::unwrap_or_default)
    });
    assert!(bad.iter().all(|error| error.contains("HOST:PORT")), "{bad:?}");
}
