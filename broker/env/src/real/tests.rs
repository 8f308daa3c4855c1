//! Loopback and a temporary folder.

use super::*;
use crate::{Address, OpenMode, Stream};
use bytes::Bytes;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::process::Command;
use std::sync::mpsc;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const CHILD: &str = "KLAMM_ENV_TEST_CHILD";

/// Runs `test` in the real world, in a folder of its own.
fn real<F: Future>(test: impl FnOnce(Env) -> F) -> F::Output {
    let folder = tempfile::tempdir().unwrap();
    block_on(folder.path().to_owned(), |env, _stop| test(env)).unwrap()
}

async fn pair(env: &Env) -> (Box<dyn Stream>, Box<dyn Stream>) {
    let mut listener = env.net.listen(Address::new("localhost", 0)).await.unwrap();
    let at = listener.address();
    assert_ne!(at.port, 0, "the given port is told");
    let here = env.net.connect(at, "test").await.unwrap();
    let there = poll_fn(|cx| listener.poll_accept(cx)).await.unwrap();
    (here, there)
}

#[test]
fn bytes_arrive_and_a_close_is_an_end_of_file() {
    real(|env| async move {
        let (mut here, mut there) = pair(&env).await;
        here.write_all(b"hello").await.unwrap();
        here.shutdown().await.unwrap();
        let mut all = vec![];
        there.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"hello");
        there.write_all(b"still open this way").await.unwrap();
        drop(there);
        all.clear();
        here.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"still open this way");
    });
}

#[test]
fn an_abort_reaches_the_peer_as_a_reset() {
    real(|env| async move {
        let (mut here, mut there) = pair(&env).await;
        here.abort();
        let error = there.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        let error = here.write(b"x").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    });
}

#[test]
fn a_port_without_a_listener_refuses_and_a_taken_one_cannot_be_had() {
    real(|env| async move {
        let listener = env.net.listen(Address::new("127.0.0.1", 0)).await.unwrap();
        let at = listener.address();
        let error = env.net.listen(at.clone()).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        drop(listener);
        let error = env.net.connect(at, "test").await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn appends_keep_their_order_and_are_there_after_opening_anew() {
    real(|env| async move {
        env.disk.create_dir("a/b").await.unwrap();
        let file = env.disk.open("a/b/log", OpenMode::Create).await.unwrap();
        for n in 0..50u8 {
            let mut append = file.append(Bytes::from(vec![n; 100]));
            // The first poll hands the append in; waiting comes later.
            poll_fn(|cx| {
                let early = append.as_mut().poll(cx);
                assert!(early.is_pending() || matches!(early, std::task::Poll::Ready(Ok(()))));
                std::task::Poll::Ready(())
            })
            .await;
        }
        file.sync().await.unwrap();
        drop(file);
        let file = env.disk.open("a/b/log", OpenMode::Existing).await.unwrap();
        assert_eq!(file.len().await.unwrap(), 5000);
        let bytes = file.read_at(0, 5000).await.unwrap();
        assert!(bytes.chunks(100).enumerate().all(|(n, chunk)| chunk == [n as u8; 100]));
    });
}

#[test]
fn a_read_ends_where_the_file_ends() {
    real(|env| async move {
        let file = env.disk.open("f", OpenMode::Create).await.unwrap();
        file.append(Bytes::from_static(b"0123456789")).await.unwrap();
        assert_eq!(file.read_at(7, u32::MAX).await.unwrap(), "789");
        assert_eq!(file.read_at(10, 1).await.unwrap(), "");
        assert_eq!(file.read_at(u64::MAX, 1).await.unwrap(), "");
        file.write_at(12, Bytes::from_static(b"x")).await.unwrap();
        assert_eq!(file.read_at(8, 99).await.unwrap(), "89\0\0x");
        file.truncate(2).await.unwrap();
        file.truncate(3).await.unwrap();
        assert_eq!(file.read_at(0, 99).await.unwrap(), "01\0");
    });
}

#[test]
fn a_rename_replaces_and_an_open_handle_survives_a_removal() {
    real(|env| async move {
        let old = env.disk.open("state", OpenMode::Create).await.unwrap();
        old.append(Bytes::from_static(b"old")).await.unwrap();
        let new = env.disk.open("state.tmp", OpenMode::Create).await.unwrap();
        new.append(Bytes::from_static(b"new")).await.unwrap();
        new.sync().await.unwrap();
        env.disk.rename("state.tmp", "state").await.unwrap();
        env.disk.sync_dir("").await.unwrap();
        let now = env.disk.open("state", OpenMode::Existing).await.unwrap();
        assert_eq!(now.read_at(0, 9).await.unwrap(), "new");
        assert_eq!(old.read_at(0, 9).await.unwrap(), "old");
        env.disk.remove("state").await.unwrap();
        env.disk.remove("state").await.unwrap();
        assert_eq!(now.read_at(0, 9).await.unwrap(), "new");
        assert_eq!(env.disk.list("").await.unwrap(), Vec::<String>::new());
    });
}

#[test]
fn a_directory_lists_its_names_in_order_and_goes_with_all_it_holds() {
    real(|env| async move {
        for dir in ["d/z", "d/a", "d/m"] {
            env.disk.create_dir(dir).await.unwrap();
            env.disk.create_dir(dir).await.unwrap();
        }
        env.disk.open("d/b", OpenMode::Create).await.unwrap();
        assert_eq!(env.disk.list("d").await.unwrap(), ["a", "b", "m", "z"]);
        env.disk.remove_dir("d").await.unwrap();
        env.disk.remove_dir("d").await.unwrap();
        assert_eq!(env.disk.list("d").await.unwrap(), Vec::<String>::new());
    });
}

#[test]
fn errors_name_their_kind() {
    real(|env| async move {
        let kind = |error: io::Error| error.kind();
        env.disk.create_dir("d").await.unwrap();
        let open = |path: &'static str, mode| {
            let opened = env.disk.open(path, mode);
            async move { opened.await.map(|_| ()).map_err(kind) }
        };
        assert_eq!(open("f", OpenMode::Existing).await, Err(ErrorKind::NotFound));
        assert_eq!(open("no/f", OpenMode::Create).await, Err(ErrorKind::NotFound));
        assert_eq!(open("d", OpenMode::Existing).await, Err(ErrorKind::IsADirectory));
        assert_eq!(open("../f", OpenMode::Create).await, Err(ErrorKind::InvalidInput));
        assert_eq!(open("/etc/hosts", OpenMode::Existing).await, Err(ErrorKind::InvalidInput));
        assert_eq!(env.disk.rename("f", "g").await.map_err(kind), Err(ErrorKind::NotFound));
        assert_eq!(env.disk.rename("d", "../g").await.map_err(kind), Err(ErrorKind::InvalidInput));
        assert_eq!(env.disk.sync_dir("no").await.map_err(kind), Err(ErrorKind::NotFound));
    });
}

#[test]
fn a_timer_fires_not_before_its_deadline_and_can_be_set_anew() {
    real(|env| async move {
        let start = env.clock.mono_ns();
        let mut timer = env.clock.timer();
        timer.set(Some(start + 60_000_000_000));
        poll_fn(|cx| {
            assert!(timer.poll_fired(cx).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        timer.set(Some(start + 20_000_000));
        poll_fn(|cx| timer.poll_fired(cx)).await;
        let now = env.clock.mono_ns();
        assert!(now >= start + 20_000_000);
        timer.set(Some(now + 20_000_000));
        poll_fn(|cx| timer.poll_fired(cx)).await;
        poll_fn(|cx| timer.poll_fired(cx)).await;
        assert!(env.clock.mono_ns() >= now + 20_000_000);
    });
}

#[test]
fn a_timer_that_is_not_set_never_fires_and_a_late_one_loses_against_the_work() {
    real(|env| async move {
        let mut timer = env.clock.timer();
        timer.set(Some(0));
        timer.set(None);
        let never = poll_fn(move |cx| timer.poll_fired(cx));
        assert_eq!(env.clock.before(env.clock.mono_ns() + 5_000_000, never).await, None);
        let far = env.clock.mono_ns() + 3_600_000_000_000;
        assert_eq!(env.clock.before(far, async { 7 }).await, Some(7));
        assert_eq!(env.clock.before(u64::MAX, async { 8 }).await, Some(8));
    });
}

#[test]
fn the_wall_clock_is_past_the_year_2020_and_draws_differ() {
    real(|env| async move {
        assert!(env.clock.wall_ms() > 1_577_836_800_000);
        assert_ne!(env.entropy.next_u64(), env.entropy.next_u64());
    });
}

#[test]
fn a_task_runs_beside_and_can_be_ended() {
    real(|env| async move {
        let (tell, told) = tokio::sync::oneshot::channel();
        env.tasks.spawn("tell", Box::pin(async move { tell.send(1).unwrap() }));
        assert_eq!(told.await, Ok(1));
        let (held, dropped) = tokio::sync::oneshot::channel::<()>();
        let endless = env.tasks.spawn(
            "endless",
            Box::pin(async move {
                let _held = held;
                std::future::pending::<()>().await
            }),
        );
        endless.abort();
        assert!(dropped.await.is_err(), "its future was dropped");
    });
}

#[test]
fn a_panic_in_a_task_ends_the_process_with_its_exit_code() {
    if std::env::var_os(CHILD).is_some() {
        exit_on_panic();
        real(|env| async move {
            env.tasks.spawn("broken", Box::pin(async { panic!("an assertion broke") }));
            std::future::pending::<()>().await
        })
    }
    let name = "real::tests::a_panic_in_a_task_ends_the_process_with_its_exit_code";
    let mut child = Command::new(std::env::current_exe().unwrap());
    let output = child.args(["--exact", name, "--nocapture"]).env(CHILD, "1").output().unwrap();
    assert_eq!(output.status.code(), Some(PANIC_EXIT));
    assert!(String::from_utf8_lossy(&output.stderr).contains("an assertion broke"));
}

#[test]
fn the_world_can_be_left_while_tasks_still_run() {
    let (tell, told) = mpsc::channel();
    let started = Instant::now();
    real(|env| async move {
        env.tasks.spawn("endless", Box::pin(std::future::pending()));
        tell.send(()).unwrap();
    });
    told.recv().unwrap();
    assert!(started.elapsed() < SHUTDOWN_WAIT, "nothing waits for tasks that wait");
}

#[test]
fn a_root_belongs_to_one_holder_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("made/when/needed");
    let held = lock(&root).unwrap();
    let refused = lock(&root).unwrap_err();
    assert!(matches!(&refused, LockError::InUse(at) if *at == root), "{refused}");
    drop(held);
    lock(&root).unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    assert!(matches!(lock(&folder.path().join("file")), Err(LockError::Unusable(..))));
}
