//! Handles of tasks, choices between branches, and what is told of tasks.

mod common;

use common::*;
use klamm_sim::{JoinError, SimConfig, seeded_select};
use std::collections::BTreeSet;
use std::future::{pending, ready};

#[test]
fn a_join_gives_the_result_of_a_task_when_it_ends() {
    simulate(1, |world| async move {
        let host = world.add_host("host");
        let clock = world.env(host).clock;
        let task = world.spawn_on(host, "task", async move {
            clock.sleep_ms(5).await;
            "done"
        });
        assert!(!task.is_finished());
        assert_eq!(task.await, Ok("done"));
        assert_eq!(world.now_ns(), 5 * MS);
        let early = world.spawn_task("early", async { 7 });
        world.sleep_until(6 * MS).await;
        assert!(early.is_finished());
        early.abort();
        assert_eq!(early.await, Ok(7), "an abort after the end changes nothing");
    });
}

#[test]
fn an_abort_and_a_kill_are_told_apart_and_drop_what_the_task_held() {
    let notes = Notes::default();
    let said = notes.clone();
    simulate(1, |world| async move {
        let host = world.add_host("host");
        let hold = |name| {
            let guard = OnDrop(notes.clone(), name);
            world.spawn_on(host, name, async move {
                let _guard = guard;
                pending::<()>().await;
            })
        };
        let (aborted, killed, left) = (hold("aborted"), hold("killed"), hold("left"));
        world.sleep_until(MS).await;
        aborted.abort();
        assert_eq!(aborted.await, Err(JoinError::Aborted));
        drop(left);
        world.sleep_until(2 * MS).await;
        assert_eq!(notes.take(), ["aborted dropped on Some(0)"], "a dropped handle ends nothing");
        world.kill(host);
        assert_eq!(killed.await, Err(JoinError::Died));
        assert_eq!(world.spawn_on(host, "never", ready(1)).await, Err(JoinError::Died));
    });
    assert_eq!(said.take().len(), 2);
}

#[test]
fn a_task_spawns_beside_itself_and_joins() {
    simulate(1, |world| async move {
        let host = world.add_host("host");
        let outer = world.spawn_on(host, "outer", async move {
            let inner = klamm_sim::spawn("inner", async { klamm_sim::World::current_host() });
            inner.await
        });
        assert_eq!(outer.await, Ok(Ok(Some(host))));
    });
}

/// Which of three ready branches is taken, again and again.
fn choices(seed: u64) -> Vec<u8> {
    simulate(seed, |_| async {
        let mut taken = vec![];
        for _ in 0..12 {
            let number = seeded_select! {
                one = ready(1) => one,
                2 = ready(2) => { 2 }
                three = ready(3), if true => three,
            };
            taken.push(number);
        }
        taken
    })
}

#[test]
fn the_branch_of_a_select_comes_from_the_seed_and_repeats() {
    let all: BTreeSet<Vec<u8>> = (0..20).map(choices).collect();
    assert!(all.len() >= 19, "another seed, other choices");
    for seed in 0..20 {
        assert_eq!(choices(seed), choices(seed));
    }
    let first = choices(0);
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 3, "every branch is taken now and then: {first:?}");
}

#[test]
fn a_select_has_conditions_patterns_and_an_else_as_tokios() {
    simulate(1, |_| async {
        for _ in 0..20 {
            let mut text = String::new();
            let taken = seeded_select! {
                Some(never) = ready(None::<u8>) => never,
                _ = ready(()), if text.len() > 5 => 1,
                else => { text.push('x'); 2 }
            };
            assert_eq!((taken, text.as_str()), (2, "x"));
            let mut count = 0;
            let outcome = loop {
                count += 1;
                seeded_select! {
                    _ = pending::<()>() => unreachable!("it never ends"),
                    number = ready(count) => if number == 3 { break number },
                }
            };
            assert_eq!(outcome, 3);
        }
    });
}

#[test]
fn a_run_without_a_select_draws_nothing_for_it() {
    let run = |selects: bool| {
        simulate_all(SimConfig::new(3), move |world| async move {
            let host = world.add_host("host");
            if selects {
                seeded_select! { _ = ready(()) => {}, _ = ready(()) => {} }
            }
            world.env(host).entropy.next_u64()
        })
    };
    let (with, without) = (run(true), run(false));
    assert_eq!(with.outcome.unwrap(), without.outcome.unwrap());
    assert_eq!(with.trace_hash, without.trace_hash);
}

#[test]
fn a_deadlock_tells_who_waits_for_what_and_where_it_was_made() {
    let run = simulate_all(SimConfig::new(1), |world| async move {
        let (server, client) = (world.add_host("server"), world.add_host("client"));
        world.boot(server, |env| Box::pin(echo(env)));
        world.boot(client, |_| Box::pin(klamm_sim::stop_signal()));
        let mut stream = connect(&world.env(client), "server").await.unwrap();
        world.sleep_until(S).await;
        let reader = world.spawn_on(client, "reader", async move {
            let mut byte = [0];
            tokio::io::AsyncReadExt::read(&mut stream, &mut byte).await.is_ok()
        });
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        world.spawn_task("listener", receiver);
        let _never_sent = sender;
        reader.await
    });
    let panic = run.outcome.unwrap_err();
    let told: Vec<&str> = panic.message.lines().map(str::trim).collect();
    assert_eq!(told[0], "deadlock: nothing will ever happen, and these wait:");
    let expect = [
        "stage/main waits for the end of client/reader",
        "server/main waits for a connection to server:9",
        "client/main waits for a stop",
        "server/echo waits for bytes from client:32768 (test)",
    ];
    for line in expect {
        assert!(told.contains(&line), "{line:?} in {told:#?}");
    }
    let made = told.iter().find(|line| line.starts_with("client/reader")).expect("the reader");
    assert!(
        made.contains("made at sim/tests/tasks.rs:") && made.ends_with("waits for bytes from server:9 (test)"),
        "{made}"
    );
    let channel = told.iter().find(|line| line.starts_with("stage/listener")).expect("the listener");
    assert!(channel.ends_with("another task: a channel, a lock, or nothing"), "{channel}");
}

#[test]
fn a_livelock_names_the_task() {
    let run = simulate_all(SimConfig::new(1), |world| async move {
        let host = world.add_host("host");
        let spin = async {
            std::future::poll_fn(|cx| -> std::task::Poll<()> {
                cx.waker().wake_by_ref();
                std::task::Poll::Pending
            })
            .await
        };
        world.spawn_on(host, "spinner", spin).await
    });
    let panic = run.outcome.unwrap_err();
    assert_eq!((panic.node.as_deref(), panic.task.as_str()), (Some("host"), "spinner"));
}
