//! What each disk fault does to bytes or time, what the atlas knows of it, and which descriptions make no sense.

mod common;

use common::*;
use klamm_env::{Env, File, OpenMode};
use klamm_sim::*;
use std::io::ErrorKind;
use std::sync::Arc;

const EIO: i32 = 5;

async fn file(env: &Env, path: &str) -> Arc<dyn File> {
    env.disk.open(path, OpenMode::Create).await.expect("a file")
}

/// A file with durable content and name.
async fn durable(env: &Env, path: &str, data: &[u8]) -> Arc<dyn File> {
    let file = file(env, path).await;
    file.append(data.to_vec().into()).await.expect("space");
    file.sync().await.expect("a sync");
    file
}

async fn all(file: &Arc<dyn File>) -> Vec<u8> {
    file.read_at(0, 1 << 20).await.expect("content").to_vec()
}

async fn content(env: &Env, path: &str) -> Option<Vec<u8>> {
    let file = env.disk.open(path, OpenMode::Existing).await.ok()?;
    Some(all(&file).await)
}

fn next(kind: DiskFaultKind) -> DiskFault {
    DiskFault::new(kind, When::NEXT)
}

fn since(kind: DiskFaultKind) -> DiskFault {
    DiskFault::new(kind, When::since(0))
}

/// What the atlas says, without host, device and time.
fn atlas(world: &World, host: Host) -> Vec<(String, u64, u64, DamageKind)> {
    world.disk_damage(host).into_iter().map(|it| (it.path, it.start, it.end, it.kind)).collect()
}

fn on_host<T, F>(seed: u64, story: impl FnOnce(World, Host, Env) -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    simulate(seed, |world| async move {
        let host = world.add_host("host");
        let env = world.env(host);
        story(world, host, env).await
    })
}

/// How long something took, nanoseconds.
async fn took<T>(world: &World, what: impl Future<Output = T>) -> u64 {
    let start = world.now_ns();
    what.await;
    world.now_ns() - start
}

#[test]
fn reads_and_writes_fail_with_eio_and_change_nothing() {
    on_host(1, |world, host, env| async move {
        let file = durable(&env, "log", b"hello").await;
        world.add_disk_fault(host, next(DiskFaultKind::ReadError)).unwrap();
        world.add_disk_fault(host, next(DiskFaultKind::WriteError)).unwrap();
        assert_eq!(file.read_at(0, 5).await.unwrap_err().raw_os_error(), Some(EIO));
        assert_eq!(file.append("x".into()).await.unwrap_err().raw_os_error(), Some(EIO));
        assert_eq!(all(&file).await, b"hello", "each of them once");
        world.add_disk_fault(host, next(DiskFaultKind::WriteError)).unwrap();
        assert_eq!(file.truncate(0).await.unwrap_err().raw_os_error(), Some(EIO));
        assert_eq!(file.len().await.unwrap(), 5);
        assert_eq!(atlas(&world, host), [], "an error is no damage");
    });
}

#[test]
fn what_memory_holds_is_read_at_once_most_of_the_time_and_never_while_a_fault_is_set() {
    on_host(40, |world, host, env| async move {
        let log = file(&env, "log").await;
        log.append(vec![1; 3_000].into()).await.unwrap();
        log.append(vec![2; 3_000].into()).await.unwrap();
        let start = world.now_ns();
        let mut at_once = 0;
        for _ in 0..320 {
            if let Some(data) = log.read_cached(2_000, 2_000) {
                assert_eq!(data, [vec![1; 1_000], vec![2; 1_000]].concat());
                at_once += 1;
            }
        }
        assert!((280..320).contains(&at_once), "{at_once} of 320: one in sixteen must be asked for");
        assert_eq!(world.now_ns(), start, "nobody waited");
        assert_eq!(std::iter::repeat_with(|| log.read_cached(5_999, 9)).flatten().next().unwrap(), [2][..]);
        let id =
            world.add_disk_fault(host, DiskFault::new(DiskFaultKind::ReadError, When::Nth { operation: 9 })).unwrap();
        assert!((0..320).all(|_| log.read_cached(0, 1).is_none()), "a fault sees every read");
        world.clear_disk_fault(host, id);
        assert!((0..320).any(|_| log.read_cached(0, 1).is_some()));
        world.set_limits(host, Limits { memory_bytes: Some(1_000_000), ..Limits::default() }).unwrap();
        assert!((0..320).all(|_| log.read_cached(0, 1).is_none()), "memory is accounted for");
    });
}

#[test]
fn a_lie_about_a_directory_names_the_directory() {
    on_host(41, |world, host, env| async move {
        env.disk.create_dir("logs").await.unwrap();
        world.add_disk_fault(host, next(DiskFaultKind::LyingSync)).unwrap();
        env.disk.sync_dir("logs").await.unwrap();
        assert_eq!(atlas(&world, host), [("logs".to_owned(), 0, 0, DamageKind::NamesNotDurable)]);
    });
}

#[test]
fn a_fault_strikes_only_its_paths_its_operation_and_its_time() {
    on_host(2, |world, host, env| async move {
        let (log, index) = (file(&env, "t-0.log").await, file(&env, "t-0.index").await);
        let third = DiskFault::new(DiskFaultKind::WriteError, When::Nth { operation: 3 }).on(".log");
        world.add_disk_fault(host, third).unwrap();
        for round in 1..=5 {
            assert!(index.append("i".into()).await.is_ok());
            assert_eq!(log.append("l".into()).await.is_err(), round == 3);
        }
        let from = world.now_ns() + 10 * MS;
        let episode = DiskFault::new(DiskFaultKind::ReadError, When::between(from, from + 10 * MS));
        world.add_disk_fault(host, episode).unwrap();
        let mut outcome = vec![];
        for _ in 0..3 {
            outcome.push(log.read_at(0, 1).await.is_ok());
            env.clock.sleep_ms(11).await;
        }
        assert_eq!(outcome, [true, false, true]);
        let half = When::During { begin_ns: 0, end_ns: None, probability: 0.5 };
        world.add_disk_fault(host, DiskFault::new(DiskFaultKind::ReadError, half)).unwrap();
        let mut failed = 0;
        for _ in 0..200 {
            failed += u32::from(log.read_at(0, 1).await.is_err());
        }
        assert!((60..140).contains(&failed), "{failed} of 200");
    });
}

#[test]
fn after_a_failed_sync_the_dirty_bytes_are_gone_and_the_next_sync_lies_in_good_faith() {
    on_host(3, |world, host, env| async move {
        let log = durable(&env, "log", &[1; 4096]).await;
        log.append(vec![2; 4096].into()).await.unwrap();
        world.add_disk_fault(host, next(DiskFaultKind::SyncError)).unwrap();
        assert_eq!(log.sync().await.unwrap_err().raw_os_error(), Some(EIO));
        assert!(log.sync().await.is_ok());
        assert_eq!(all(&log).await.len(), 8192, "the cache shows them still");
        assert_eq!(atlas(&world, host), [("log".to_owned(), 4096, 8192, DamageKind::Forgotten)]);
        world.power_off(host);
        world.restart(host);
        assert_eq!(content(&env, "log").await.unwrap(), [1; 4096]);
    });
}

#[test]
fn a_lying_sync_costs_its_bytes_at_the_next_loss_of_power() {
    let mut lost = 0;
    for seed in 0..20 {
        lost += on_host(seed, |world, host, env| async move {
            let log = durable(&env, "log", &[1; 512]).await;
            log.append(vec![2; 512].into()).await.unwrap();
            let id = world.add_disk_fault(host, since(DiskFaultKind::LyingSync)).unwrap();
            log.sync().await.unwrap();
            assert_eq!(atlas(&world, host), [("log".to_owned(), 512, 1024, DamageKind::NotDurable)]);
            world.clear_disk_fault(host, id);
            world.power_off(host);
            world.restart(host);
            let after = content(&env, "log").await.unwrap();
            assert_eq!(after[..512], [1; 512]);
            u32::from(after.len() < 1024 || after[512..] != [2; 512])
        });
    }
    assert!((1..20).contains(&lost), "{lost} of 20");
}

#[test]
fn a_full_disk_refuses_what_grows_and_nothing_else() {
    on_host(5, |world, host, env| async move {
        let profile =
            DiskProfile { model: DiskConfig { capacity: 10_000, ..DiskConfig::default() }, ..DiskProfile::default() };
        world.set_disks(host, DiskSetup::single(profile)).unwrap();
        let log = file(&env, "log").await;
        log.append(vec![1; 4_000].into()).await.unwrap();
        let half = world.add_disk_fault(host, since(DiskFaultKind::NoSpace { fill: 0.5 })).unwrap();
        let full = |error: std::io::Error| error.kind();
        assert_eq!(log.append(vec![2; 1_001].into()).await.map_err(full), Err(ErrorKind::StorageFull));
        log.append(vec![2; 1_000].into()).await.unwrap();
        log.write_at(0, vec![3; 5_000].into()).await.unwrap();
        assert_eq!(env.disk.open("new", OpenMode::Create).await.err().map(full), Some(ErrorKind::StorageFull));
        assert!(env.disk.open("log", OpenMode::Create).await.is_ok());
        log.truncate(100).await.unwrap();
        assert!(env.disk.open("new", OpenMode::Create).await.is_ok(), "there is room again");
        assert!(world.clear_disk_fault(host, half));
        log.append(vec![2; 9_900].into()).await.unwrap();
        assert_eq!(log.append("x".into()).await.map_err(full), Err(ErrorKind::StorageFull), "the real end");
        assert_eq!((world.disk_use(host)[0].used, world.disk_use(host)[0].capacity), (10_000, 10_000));
    });
}

#[test]
fn a_short_write_leaves_a_prefix_and_an_error() {
    on_host(6, |world, host, env| async move {
        let log = durable(&env, "log", b"head").await;
        world.add_disk_fault(host, next(DiskFaultKind::ShortWrite)).unwrap();
        assert_eq!(log.append(vec![7; 1000].into()).await.unwrap_err().kind(), ErrorKind::WriteZero);
        let after = all(&log).await;
        assert!((5..1004).contains(&after.len()) && after[4..].iter().all(|byte| *byte == 7), "{}", after.len());
        assert_eq!(atlas(&world, host), [("log".to_owned(), 4, after.len() as u64, DamageKind::Partial)]);
    });
}

#[test]
fn bit_rot_flips_bits_of_the_named_file_and_the_atlas_knows_where() {
    on_host(7, |world, host, env| async move {
        let (log, other) = (durable(&env, "log", &[0; 5000]).await, durable(&env, "other", &[0; 5000]).await);
        log.append(vec![0; 5000].into()).await.unwrap();
        world.add_disk_fault(host, since(DiskFaultKind::BitRot { bits: 3 }).on("log")).unwrap();
        let after = all(&log).await;
        let flipped: u32 = after.iter().map(|byte| byte.count_ones()).sum();
        assert!((1..=3).contains(&flipped), "{flipped} bits; two may meet");
        let atlas = atlas(&world, host);
        assert_eq!(atlas.len(), 3);
        for (path, start, end, kind) in atlas {
            assert_eq!((path.as_str(), end - start, kind), ("log", 1, DamageKind::BitRot));
            assert!(start < 5000, "only durable bytes rot");
        }
        assert_eq!(all(&other).await, [0; 5000]);
        log.sync().await.unwrap();
        world.power_off(host);
        world.restart(host);
        assert_eq!(content(&env, "log").await.unwrap(), after, "it is on the platter");
    });
}

#[test]
fn a_misdirected_write_is_missing_in_one_place_and_too_much_in_another() {
    on_host(8, |world, host, env| async move {
        let victim = durable(&env, "victim", &[1; 4096]).await;
        let log = durable(&env, "log", &[2; 4096]).await;
        world.add_disk_fault(host, next(DiskFaultKind::MisdirectedWrite)).unwrap();
        log.write_at(512, vec![3; 512].into()).await.unwrap();
        assert_eq!(all(&log).await[512..1024], [3; 512], "the cache has it");
        log.sync().await.unwrap();
        world.drop_caches(host);
        let atlas = atlas(&world, host);
        assert_eq!(atlas[0], ("log".to_owned(), 512, 1024, DamageKind::Missing));
        let (path, start, end, kind) = atlas[1].clone();
        assert_eq!(kind, DamageKind::Overwritten);
        let (log, victim) = (all(&log).await, all(&victim).await);
        assert_eq!(log[512..1024], [2; 512], "the platter has not");
        let hit = if path == "log" { &log } else { &victim };
        assert!(hit[start as usize..end as usize].iter().all(|byte| *byte == 3));
        let threes = log.iter().chain(&victim).filter(|byte| **byte == 3).count() as u64;
        assert_eq!(threes, end - start);
    });
}

#[test]
fn a_misdirected_read_answers_with_other_bytes_once_and_harms_nothing_at_rest() {
    on_host(9, |world, host, env| async move {
        durable(&env, "other", &[1; 4096]).await;
        let log = durable(&env, "log", &[2; 1024]).await;
        world.add_disk_fault(host, next(DiskFaultKind::MisdirectedRead).on("log")).unwrap();
        let wrong = log.read_at(0, 1024).await.unwrap();
        assert!(wrong.len() == 1024 && wrong.as_ref() != [2; 1024]);
        assert_eq!(atlas(&world, host), [("log".to_owned(), 0, 1024, DamageKind::Misread)]);
        assert_eq!(all(&log).await, [2; 1024]);
    });
}

#[test]
fn what_is_issued_in_a_stuck_episode_ends_after_it_or_once_it_is_cleared() {
    on_host(10, |world, host, env| async move {
        let log = file(&env, "log").await;
        let from = world.now_ns();
        world.add_disk_fault(host, DiskFault::new(DiskFaultKind::Stuck, When::between(from, from + S))).unwrap();
        let waited = took(&world, log.append("a".into())).await;
        assert!((S..S + MS).contains(&waited), "{waited}");
        let id = world.add_disk_fault(host, since(DiskFaultKind::Stuck)).unwrap();
        let heal = world;
        world.spawn("heal", async move {
            heal.sleep_until(5 * S).await;
            heal.clear_disk_fault(host, id);
        });
        log.append("b".into()).await.unwrap();
        assert!((5 * S..5 * S + MS).contains(&world.now_ns()));
        assert_eq!(all(&log).await, b"ab");
        world.add_disk_fault(host, next(DiskFaultKind::Stuck)).unwrap();
        let hangs = env.clock.before(60 * S, log.len()).await;
        assert!(hangs.is_none(), "no end: it never ends");
        world.kill(host);
        world.sleep_until(61 * S).await;
        assert_eq!(world.census()[3], 0, "a kill leaves no operation behind");
    });
}

#[test]
fn what_a_device_was_slow_with_goes_on_at_its_usual_speed_once_that_is_over() {
    on_host(12, |world, host, env| async move {
        let log = file(&env, "log").await;
        for kind in [DiskFaultKind::Throttled { bytes_per_second: 10 }, DiskFaultKind::Slow { factor: 1e6 }] {
            let id = world.add_disk_fault(host, since(kind)).unwrap();
            let write = world.spawn_on(host, "write", log.append(vec![1; 10_000].into()));
            env.clock.sleep_ms(500).await;
            assert!(!write.is_finished(), "{kind:?} holds it up");
            world.clear_disk_fault(host, id);
            let rest = took(&world, write).await;
            assert!(rest < MS, "{kind:?}: {rest} ns more");
        }
    });
}

#[test]
fn slow_and_throttled_devices_cost_time() {
    on_host(11, |world, host, env| async move {
        let log = file(&env, "log").await;
        let mean = async |fault: Option<DiskFaultKind>| {
            let id = fault.map(|kind| world.add_disk_fault(host, since(kind)).unwrap());
            let mut sum = 0;
            for _ in 0..50 {
                sum += took(&world, log.write_at(0, vec![1; 10_000].into())).await;
            }
            id.map(|id| world.clear_disk_fault(host, id));
            sum / 50
        };
        let usual = mean(None).await;
        let slow = mean(Some(DiskFaultKind::Slow { factor: 100.0 })).await;
        let throttled = mean(Some(DiskFaultKind::Throttled { bytes_per_second: 1_000_000 })).await;
        assert!((70 * usual..130 * usual).contains(&slow), "{usual} then {slow}");
        assert!((10 * MS..10 * MS + 2 * usual).contains(&throttled), "{throttled}");
        assert!(mean(None).await < 2 * usual);
    });
}

#[test]
fn a_removed_device_fails_everything_and_returns_with_what_was_durable() {
    on_host(12, |world, host, env| async move {
        let log = durable(&env, "log", &[1; 600]).await;
        let from = world.now_ns();
        world.add_disk_fault(host, DiskFault::new(DiskFaultKind::Removed, When::between(from, from + S))).unwrap();
        assert_eq!(log.read_at(0, 1).await.unwrap_err().raw_os_error(), Some(EIO));
        assert_eq!(env.disk.list("").await.unwrap_err().raw_os_error(), Some(EIO));
        let opened = env.disk.open("log", OpenMode::Existing).await.err();
        assert_eq!(opened.and_then(|error| error.raw_os_error()), Some(EIO));
        assert_eq!(atlas(&world, host), [("log".to_owned(), 0, 600, DamageKind::Removed)]);
        env.clock.sleep_ms(1000).await;
        assert_eq!(log.len().await.unwrap_err().raw_os_error(), Some(EIO), "an old handle stays dead");
        assert_eq!(content(&env, "log").await.unwrap(), [1; 600]);
    });
}

#[test]
fn a_wiped_device_is_empty_under_the_running_process() {
    on_host(13, |world, host, env| async move {
        let log = durable(&env, "log", &[1; 600]).await;
        let second = DiskFault::new(DiskFaultKind::Wiped, When::Nth { operation: 2 });
        world.add_disk_fault(host, second).unwrap();
        assert_eq!(log.len().await.unwrap(), 600);
        assert!(log.len().await.is_err());
        assert_eq!(env.disk.list("").await.unwrap(), Vec::<String>::new());
        assert_eq!(atlas(&world, host), [("log".to_owned(), 0, 600, DamageKind::Wiped)]);
        durable(&env, "log", b"anew").await;
        assert_eq!(content(&env, "log").await.unwrap(), b"anew");
    });
}

fn two_disks() -> DiskSetup {
    let small = DiskProfile { model: DiskConfig { capacity: 100, ..DiskConfig::default() }, ..DiskProfile::default() };
    DiskSetup {
        memory: None,
        devices: vec![
            Device::new("system", "", DiskProfile::default()),
            Device::new("one", "data/d1", DiskProfile::default()),
            Device::new("two", "data/d2", small),
        ],
    }
}

#[test]
fn log_directories_lie_on_devices_of_their_own_that_fail_by_themselves() {
    on_host(14, |world, host, env| async move {
        world.set_disks(host, two_disks()).unwrap();
        assert_eq!(env.disk.list("data").await.unwrap(), ["d1", "d2"]);
        env.disk.create_dir("data/d1/t-0").await.unwrap();
        durable(&env, "data/d1/t-0/log", b"one").await;
        let two = durable(&env, "data/d2/log", b"two").await;
        assert_eq!(two.append(vec![0; 98].into()).await.unwrap_err().kind(), ErrorKind::StorageFull);
        let files = [("data/d1/t-0/log".to_owned(), 3), ("data/d2/log".to_owned(), 3)];
        assert_eq!(world.files(host), files);
        let moved = env.disk.rename("data/d2/log", "data/d1/log").await;
        assert_eq!(moved.unwrap_err().kind(), ErrorKind::CrossesDevices);
        for busy in ["data", "data/d1"] {
            assert_eq!(env.disk.remove_dir(busy).await.unwrap_err().kind(), ErrorKind::ResourceBusy);
        }
        world.add_disk_fault(host, since(DiskFaultKind::Removed).of("two")).unwrap();
        assert!(content(&env, "data/d2/log").await.is_none());
        assert_eq!(content(&env, "data/d1/t-0/log").await.unwrap(), b"one");
        assert_eq!(world.disk_damage(host)[0].device, "two");
        world.clear_disk_faults(host);
        env.disk.sync_dir("data/d1/t-0").await.unwrap();
        world.power_off(host);
        world.restart(host);
        assert_eq!(world.files(host), files, "mount points and devices survive");
    });
}

#[test]
fn a_read_from_memory_is_fast_and_what_memory_cannot_hold_is_slow() {
    on_host(15, |world, host, env| async move {
        let memory = DiskMemory { bytes: 1 << 20, ..DiskMemory::default() };
        let devices = vec![Device::new("disk", "", DiskProfile::spinning())];
        world.set_disks(host, DiskSetup { memory: Some(memory), devices }).unwrap();
        let log = durable(&env, "log", &vec![1; 512 << 10]).await;
        let slow = 2 * MS;
        assert!(took(&world, log.read_at(0, 4096)).await < slow, "just written");
        let more = durable(&env, "more", &vec![2; 1 << 20]).await;
        assert_eq!(world.cached_bytes(host), 1 << 20);
        assert!(took(&world, log.read_at(0, 4096)).await > slow, "evicted");
        assert!(took(&world, log.read_at(4096, 4096)).await < slow, "read along");
        assert!(took(&world, more.read_at(900 << 10, 4096)).await < slow, "used later than what had to go");
        world.power_off(host);
        world.restart(host);
        assert_eq!(world.cached_bytes(host), 0);
        let more = env.disk.open("more", OpenMode::Existing).await.unwrap();
        assert!(took(&world, more.read_at(900 << 10, 4096)).await > slow, "memory forgets without power");
        env.disk.remove("log").await.unwrap();
    });
}

#[test]
fn writers_wait_beyond_the_hard_ratio_of_memory_over_all_devices() {
    on_host(16, |world, host, env| async move {
        let memory = DiskMemory { bytes: 10 << 20, background_ratio: 0.5, hard_ratio: 0.5, ..DiskMemory::default() };
        world.set_disks(host, DiskSetup { memory: Some(memory), ..two_disks() }).unwrap();
        let (system, one) = (file(&env, "log").await, file(&env, "data/d1/log").await);
        let wait = DiskProfile::default().throttle_ns;
        system.append(vec![1; 1 << 20].into()).await.unwrap();
        assert!(took(&world, one.append("x".into())).await < wait);
        system.append(vec![1; 6 << 20].into()).await.unwrap();
        assert!(took(&world, one.append("x".into())).await >= wait, "7 of 10 MiB are dirty");
        assert!(world.disk_use(host)[0].dirty < 10 << 20);
        system.sync().await.unwrap();
        assert!(took(&world, one.append("x".into())).await < wait);
    });
}

#[test]
fn a_device_works_on_as_many_syncs_at_once_as_its_queue_is_deep() {
    let last = |queue_depth: u32| {
        on_host(17, move |world, host, env| async move {
            let profile = DiskProfile { queue_depth, sync_ns: (MS, MS), ..DiskProfile::default() };
            world.set_disks(host, DiskSetup::single(profile)).unwrap();
            let log = file(&env, "log").await;
            let start = world.now_ns();
            let (a, b, c, d) = (log.sync(), log.sync(), log.sync(), log.sync());
            let done = tokio::join!(a, b, c, d);
            assert!(done.0.is_ok() && done.3.is_ok());
            world.now_ns() - start
        })
    };
    assert_eq!([last(0), last(4), last(2), last(1)], [MS, MS, 2 * MS, 4 * MS]);
}

#[test]
fn every_fault_is_told_and_every_damage_too() {
    let notes = Notes::default();
    let heard = notes.clone();
    on_host(18, |world, host, env| async move {
        world.on_event(Box::new(move |_, event| heard.say(serde_kind(event))));
        let log = durable(&env, "log", &[1; 100]).await;
        world.add_disk_fault(host, DiskFault::new(DiskFaultKind::BitRot { bits: 1 }, When::between(0, S))).unwrap();
        world.add_disk_fault(host, next(DiskFaultKind::ReadError)).unwrap();
        assert!(log.read_at(0, 1).await.is_err());
        world.sleep_until(2 * S).await;
        assert!(world.disk_damage(host)[0].at_ns < S);
    });
    assert_eq!(notes.take(), ["began bit-rot", "damaged log BitRot", "struck read-error log", "ended bit-rot"]);
}

fn serde_kind(event: &WorldEvent) -> String {
    match event {
        WorldEvent::DiskFaultBegan { fault, .. } => format!("began {fault}"),
        WorldEvent::DiskFaultEnded { fault, .. } => format!("ended {fault}"),
        WorldEvent::DiskFaultStruck { fault, path, .. } => format!("struck {fault} {path}"),
        WorldEvent::DiskDamaged { damage } => format!("damaged {} {:?}", damage.path, damage.kind),
        other => format!("{other:?}"),
    }
}

#[test]
fn a_fault_that_never_strikes_changes_no_instant_of_a_run() {
    let hash = |fault: bool| {
        let run = simulate_all(SimConfig::new(19), move |world| async move {
            let host = world.add_host("host");
            let env = world.env(host);
            if fault {
                world.add_disk_fault(host, next(DiskFaultKind::WriteError).on("no such file")).unwrap();
            }
            let log = durable(&env, "log", &[1; 100]).await;
            for _ in 0..20 {
                log.append(vec![2; 700].into()).await.unwrap();
                log.sync().await.unwrap();
            }
            world.power_off(host);
        });
        (run.trace_hash, run.sim_ns)
    };
    assert_eq!(hash(false), hash(true));
}

#[test]
fn faults_that_make_no_sense_are_refused_with_their_reason() {
    on_host(20, |world, host, _| async move {
        let refused = |fault: DiskFault| world.add_disk_fault(host, fault).unwrap_err();
        for fill in [-0.1, 1.1, f64::NAN] {
            let error = refused(since(DiskFaultKind::NoSpace { fill }));
            assert!(matches!(error, DiskFaultError::Ratio { what: "fill", .. }), "{error}");
        }
        for probability in [-1.0, 0.0, 2.0, f64::NAN] {
            let when = When::During { begin_ns: 0, end_ns: None, probability };
            let error = refused(DiskFault::new(DiskFaultKind::ReadError, when));
            assert!(matches!(error, DiskFaultError::Ratio { what: "probability", .. }), "{error}");
        }
        for factor in [-2.0, 0.5, f64::INFINITY, f64::NAN] {
            assert!(matches!(refused(since(DiskFaultKind::Slow { factor })), DiskFaultError::Factor(_)));
        }
        let half = When::During { begin_ns: 0, end_ns: None, probability: 0.5 };
        let error = refused(DiskFault::new(DiskFaultKind::Stuck, half));
        assert_eq!(error, DiskFaultError::ProbabilityOfState { fault: "stuck" });
        assert_eq!(refused(since(DiskFaultKind::Throttled { bytes_per_second: 0 })), DiskFaultError::ZeroRate);
        assert_eq!(refused(since(DiskFaultKind::BitRot { bits: 0 })), DiskFaultError::NoBits);
        let never = DiskFault::new(DiskFaultKind::Stuck, When::Nth { operation: 0 });
        assert_eq!(refused(never), DiskFaultError::NoOperation);
        let empty = DiskFault::new(DiskFaultKind::Stuck, When::between(5, 5));
        assert_eq!(refused(empty), DiskFaultError::EmptyEpisode { begin_ns: 5, end_ns: 5 });
        world.sleep_until(10).await;
        let past = DiskFault::new(DiskFaultKind::Stuck, When::between(5, 10));
        assert_eq!(refused(past), DiskFaultError::Past { end_ns: 10, now_ns: 10 });
        let error = refused(since(DiskFaultKind::Removed).of("sdz"));
        assert_eq!(error.to_string(), "no device \"sdz\" on this host; it has disk");
    });
}

#[test]
fn faults_and_disks_are_data_and_unknown_fields_are_refused() {
    let text = r#"{"kind":{"fault":"no-space","fill":0.9},"when":{"when":"during","begin-ns":5},"path":"log"}"#;
    let fault: DiskFault = serde_json::from_str(text).unwrap();
    assert_eq!(fault, DiskFault::new(DiskFaultKind::NoSpace { fill: 0.9 }, When::since(5)).on("log"));
    let again = serde_json::to_string(&fault).unwrap();
    assert_eq!(serde_json::from_str::<DiskFault>(&again).unwrap(), fault);
    let typo = text.replace("\"path\"", "\"paht\"");
    assert!(serde_json::from_str::<DiskFault>(&typo).unwrap_err().to_string().contains("paht"));
    let typo = text.replace("begin-ns", "begins");
    assert!(serde_json::from_str::<DiskFault>(&typo).is_err());
    let setup = serde_json::to_string(&two_disks()).unwrap();
    assert_eq!(serde_json::from_str::<DiskSetup>(&setup).unwrap(), two_disks());
    let short: DiskSetup = serde_json::from_str(
        r#"{"devices":[{"name":"a","mount":"","profile":{"miss-ns":[1,2],"model":{"file-system":"xfs"}}}]}"#,
    )
    .unwrap();
    assert_eq!(short.devices[0].profile.model.file_system, FileSystem::Xfs);
}

#[test]
fn the_list_of_faults_names_each_as_its_serialised_form_does() {
    let names: Vec<&str> = DISK_FAULTS.iter().map(|info| info.name).collect();
    for name in &names {
        let fields = ["", r#","fill":1.0"#, r#","bits":1"#, r#","factor":1.0"#, r#","bytes-per-second":1"#];
        let kinds: Vec<DiskFaultKind> = fields
            .iter()
            .filter_map(|field| serde_json::from_str(&format!(r#"{{"fault":"{name}"{field}}}"#)).ok())
            .collect();
        assert!(!kinds.is_empty(), "{name} is no fault");
        assert!(kinds.iter().all(|kind| kind.name() == *name), "{name}: {kinds:?}");
    }
    assert_eq!(names.iter().collect::<std::collections::BTreeSet<_>>().len(), names.len());
}

#[test]
fn disks_that_make_no_sense_are_refused_with_their_reason() {
    on_host(21, |world, host, env| async move {
        let refused = |setup: DiskSetup| world.set_disks(host, setup).unwrap_err();
        let profile = |change: fn(&mut DiskProfile)| {
            let mut profile = DiskProfile::default();
            change(&mut profile);
            match refused(DiskSetup::single(profile)) {
                DiskSetupError::Device { error, .. } => *error,
                other => other,
            }
        };
        assert_eq!(profile(|it| it.model.capacity = 0), DiskSetupError::ZeroCapacity);
        assert_eq!(profile(|it| it.cut_ppm = 1_000_001), DiskSetupError::CutPpm(1_000_001));
        let zero = profile(|it| it.sync_bytes_per_second = 0);
        assert_eq!(zero, DiskSetupError::ZeroRate { what: "sync-bytes-per-second" });
        let range = profile(|it| it.read_ns = (2, 1));
        assert_eq!(range, DiskSetupError::Range { what: "read-ns", min: 2, max: 1 });
        let memory = |memory: DiskMemory| refused(DiskSetup { memory: Some(memory), ..two_disks() });
        for ratio in [-0.1, 0.0, 1.5, f64::NAN] {
            let error = memory(DiskMemory { hard_ratio: ratio, ..DiskMemory::default() });
            assert!(matches!(error, DiskSetupError::Ratio { what: "hard-ratio", .. }), "{error}");
        }
        let cross = memory(DiskMemory { background_ratio: 0.5, ..DiskMemory::default() });
        assert_eq!(cross, DiskSetupError::RatiosCross { background: 0.5, hard: 0.2 });
        let little = memory(DiskMemory { bytes: 0, ..DiskMemory::default() });
        assert_eq!(little, DiskSetupError::TooLittleMemory { bytes: 0 });
        let devices = |mounts: &[(&str, &str)]| {
            let device = |(name, mount): &(&str, &str)| Device::new(name, mount, DiskProfile::default());
            refused(DiskSetup { memory: None, devices: mounts.iter().map(device).collect() })
        };
        assert_eq!(devices(&[]), DiskSetupError::NoRoot);
        assert_eq!(devices(&[("a", "d")]), DiskSetupError::NoRoot);
        assert!(matches!(devices(&[("a", ""), ("a", "d")]), DiskSetupError::Twice { .. }));
        assert!(matches!(devices(&[("a", ""), ("b", "../d")]), DiskSetupError::BadMount { .. }));
        durable(&env, "log", b"x").await;
        assert_eq!(refused(two_disks()), DiskSetupError::InUse { host: "host".to_owned() });
    });
}
