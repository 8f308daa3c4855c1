//! A run is sealed: nothing of the real world comes in, and a panic stays inside as the run's verdict.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

mod common;

use common::*;
use klamm_sim::{SimConfig, World, run, stamp};
use std::collections::HashMap;
use std::time::{Instant, SystemTime};

#[test]
fn hash_maps_iterate_by_seed() {
    let order = |seed| {
        simulate(seed, |_| async {
            let map: HashMap<u32, u32> = (0..64).map(|n| (n, n)).collect();
            map.into_keys().collect::<Vec<_>>()
        })
    };
    assert_eq!(order(1), order(1));
    assert_ne!(order(1), order(2));
}

#[test]
fn std_clocks_are_simulated_to_the_nanosecond() {
    let read = |seed| {
        simulate(seed, |world| async move {
            let (instant, system) = (Instant::now(), SystemTime::now());
            world.sleep_until(5 * S + 1).await;
            let passed = (instant.elapsed().as_nanos(), system.elapsed().unwrap().as_nanos());
            (passed, system)
        })
    };
    let (passed, first) = read(1);
    assert_eq!(passed, (5 * u128::from(S) + 1, 5 * u128::from(S) + 1));
    assert_eq!(first, read(1).1, "the same day for the same seed");
}

#[test]
fn a_thread_inside_a_run_panics() {
    let run = simulate_all(SimConfig::new(1), |_| async {
        std::thread::spawn(|| ());
    });
    let panic = run.outcome.unwrap_err();
    assert!(panic.message.contains("env.tasks.spawn"), "{panic}");
}

#[test]
fn a_panic_in_any_task_is_the_verdict_of_its_run_and_of_no_other() {
    let config = SimConfig::new(5);
    let run = simulate_all(config, |world| async move {
        let host = world.add_host("b1");
        world.boot(host, |env| {
            Box::pin(async move {
                let clock = env.clock.clone();
                let doomed = async move {
                    clock.sleep_ms(7).await;
                    panic!("a record that is not there");
                };
                env.tasks.spawn("fetcher", Box::pin(doomed));
                echo(env).await;
            })
        });
        let client = world.env(world.add_host("client"));
        world.sleep_until(MS).await;
        let _open = connect(&client, "b1").await.unwrap();
        std::future::pending::<()>().await;
    });
    let panic = run.outcome.unwrap_err();
    assert_eq!((panic.node.as_deref(), panic.task.as_str(), panic.at_ns), (Some("b1"), "fetcher", 7 * MS));
    assert_eq!(panic.message, "a record that is not there");
    assert!(panic.location.contains("sealed.rs"), "{}", panic.location);
    assert_eq!(run.sim_ns, 7 * MS);
    assert_eq!(simulate(5, |world| async move { world.now_ns() }), 0, "the next run on the next thread is well");
}

#[test]
fn a_panic_in_main_or_before_it_is_a_verdict() {
    let in_main = simulate_all(SimConfig::new(1), |_| async { panic!("in main") });
    let panic: klamm_sim::Panic = in_main.outcome.unwrap_err();
    assert_eq!((panic.node, panic.task.as_str(), panic.message.as_str()), (None, "main", "in main"));
    let before = run::<(), _>(SimConfig::new(1), |_| panic!("before main"));
    assert_eq!(before.outcome.unwrap_err().message, "before main");
}

#[test]
fn a_panic_while_futures_are_dropped_is_a_verdict() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped badly");
        }
    }
    for kill in [true, false] {
        let run = simulate_all(SimConfig::new(1), move |world| async move {
            let host = world.add_host("b1");
            for _ in 0..3 {
                let bomb = Bomb;
                let task = async move {
                    let _bomb = bomb;
                    std::future::pending::<()>().await;
                };
                world.env(host).tasks.spawn("bomb", Box::pin(task));
            }
            world.sleep_until(MS).await;
            if kill {
                world.kill(host);
            }
        });
        let panic = run.outcome.unwrap_err();
        assert_eq!((panic.node.as_deref(), panic.message.as_str()), (Some("b1"), "dropped badly"));
    }
}

#[test]
fn the_first_panic_counts_even_if_somebody_catches_it() {
    let run = simulate_all(SimConfig::new(1), |_| async {
        let _ = std::panic::catch_unwind(|| panic!("swallowed"));
        let _ = std::panic::catch_unwind(|| panic!("second"));
    });
    assert_eq!(run.outcome.unwrap_err().message, "swallowed");
}

#[test]
fn endless_polls_at_one_instant_name_their_task() {
    let run = simulate_all(SimConfig::new(1), |world| async move {
        let host = world.add_host("b1");
        let spin = async {
            loop {
                tokio::task::yield_now().await;
                let mut polled = false;
                std::future::poll_fn(|cx| {
                    cx.waker().wake_by_ref();
                    if std::mem::replace(&mut polled, true) {
                        std::task::Poll::Ready(())
                    } else {
                        std::task::Poll::Pending
                    }
                })
                .await;
            }
        };
        world.env(host).tasks.spawn("spinner", Box::pin(spin));
        world.sleep_until(S).await;
    });
    let panic = run.outcome.unwrap_err();
    assert_eq!((panic.node.as_deref(), panic.task.as_str(), panic.at_ns), (Some("b1"), "spinner", 0));
    assert!(panic.message.contains("million polls"), "{panic}");
}

#[test]
fn a_deadlock_says_who_waits() {
    let run = simulate_all(SimConfig::new(1), |world| async move {
        let env = world.env(world.add_host("b1"));
        let mut timer = env.clock.timer();
        timer.set(Some(S));
        let armed = std::future::poll_fn(|cx| std::task::Poll::Ready(timer.poll_fired(cx).is_ready())).await;
        assert!(!armed);
        timer.set(None);
        env.tasks.spawn("waiter", Box::pin(std::future::pending()));
        std::future::pending::<()>().await;
    });
    let panic = run.outcome.unwrap_err();
    assert!(panic.message.contains("deadlock") && panic.message.contains("b1/waiter"), "{panic}");
    assert_eq!(panic.at_ns, 0, "a timer that was unset moves no time");
}

#[test]
fn a_run_beyond_its_limit_panics() {
    let config = SimConfig { limit_ns: Some(10 * S), ..SimConfig::new(1) };
    let run = simulate_all(config, |world| async move {
        loop {
            world.sleep_until(world.now_ns() + S).await;
        }
    });
    let panic: klamm_sim::Panic = run.outcome.unwrap_err();
    assert!(panic.message.contains("not over"), "{panic}");
}

#[test]
fn a_world_is_good_in_its_own_thread_only() {
    let world: World = simulate(1, |world| async move { world });
    assert!(std::panic::catch_unwind(move || world.now_ns()).is_err());
    let other = simulate_all(SimConfig::new(1), move |_| async move { world.now_ns() });
    assert!(other.outcome.unwrap_err().message.contains("thread of its run"));
}

#[test]
fn stamps_tell_time_and_host_inside_a_run_and_nothing_outside() {
    assert_eq!(stamp(), None);
    simulate(1, |world| async move {
        let env = world.env(world.add_host("b1"));
        let (tx, rx) = tokio::sync::oneshot::channel();
        let clock = env.clock.clone();
        let task = async move {
            clock.sleep_ms(3).await;
            tx.send(stamp()).unwrap();
        };
        env.tasks.spawn("stamper", Box::pin(task));
        assert_eq!(rx.await.unwrap(), Some((3 * MS, "b1".to_owned())));
        assert_eq!(stamp(), Some((3 * MS, "stage".to_owned())));
    });
    assert_eq!(stamp(), None);
}

#[test]
fn streams_and_timers_may_outlive_their_run() {
    let kept = simulate(1, |world| async move {
        let (server, client) = (world.add_host("server"), world.add_host("client"));
        world.boot(server, |env| Box::pin(echo(env)));
        world.sleep_until(MS).await;
        let stream = connect(&world.env(client), "server").await.unwrap();
        let timer = world.env(client).clock.timer();
        (stream, timer, world.env(client))
    });
    drop(kept);
}

#[test]
fn a_wake_from_another_thread_panics_there() {
    let waker = simulate(1, |_| async { std::future::poll_fn(|cx| std::task::Poll::Ready(cx.waker().clone())).await });
    let woken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| waker.wake_by_ref()));
    let said = *woken.unwrap_err().downcast::<String>().expect("a message");
    assert!(said.contains("woken from another thread"), "{said}");
}

/// Counts events, and keeps the stamp of the last.
#[derive(Default)]
struct Counter(std::sync::Mutex<Vec<Option<(u64, String)>>>);

impl tracing::Subscriber for Counter {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "story"
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        self.0.lock().unwrap().push(stamp());
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn the_subscriber_of_the_caller_hears_the_run_with_its_time_and_host() {
    let counter = std::sync::Arc::new(Counter::default());
    tracing::subscriber::with_default(counter.clone(), || {
        simulate(1, |world| async move {
            let host = world.add_host("b1");
            world.boot(host, |env| {
                Box::pin(async move {
                    env.clock.sleep_ms(2).await;
                    tracing::info!(target: "story", "hello");
                })
            });
            world.sleep_until(5 * MS).await;
        });
    });
    assert_eq!(*counter.0.lock().unwrap(), [Some((2 * MS, "b1".to_owned()))]);
}
