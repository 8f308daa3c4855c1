//! A log is cleaned while it lives, and survives a crash at every write of that.

mod bench;
mod disk;

use bench::{Bench, DIR, load, nobody};
use bytes::Bytes;
use disk::Disk;
use klamm_base::{DiskOp, DiskRequest, Draws, Guard, Guards};
use klamm_log::{CleanError, CleanOrders, Compaction, LastKnown, LogConfig, Progress, ReadError};
use klamm_wire::records::{Batch, BatchBuilder, Codec, ControlType, records, split};
use std::collections::{BTreeMap, BTreeSet};

const CONFIG: LogConfig = LogConfig {
    segment_bytes: 1_500,
    segment_ms: 1 << 40,
    index_interval_bytes: 200,
    max_index_bytes: 1 << 20,
    max_message_bytes: 1 << 20,
    flush_messages: i64::MAX,
    flush_ms: i64::MAX,
    delete: false,
    compact: true,
    retention_ms: -1,
    retention_bytes: -1,
    compaction: Compaction { delete_retention_ms: RETENTION, ..Compaction::KAFKAS },
    file_delete_delay_ms: 60_000,
};

const RETENTION: i64 = 5_000;

fn orders() -> CleanOrders {
    CleanOrders { dedupe_buffer_bytes: 1 << 20, guards: Guards::default() }
}

fn batch(pairs: &[(String, Option<String>)], codec: Codec) -> BatchBuilder {
    let mut builder = BatchBuilder::new(1_000);
    for (key, value) in pairs {
        builder.push(1_000, Some(key.as_bytes()), value.as_ref().map(String::as_bytes), &[]);
    }
    builder.compressed(codec);
    builder
}

fn marker(producer: i64, kind: ControlType) -> Batch {
    let mut key = [0; 4];
    key[2..].copy_from_slice(&(kind as i16).to_be_bytes());
    let mut builder = BatchBuilder::new(1_000);
    builder.push(1_000, Some(&key), Some(&[0; 6]), &[]).producer(producer, 0, -1).transactional().control().build()
}

/// Writes about `batches` batches over few keys: deletions, transactions that end either way, several codecs and epochs.
fn write(bench: &mut Bench, draws: &mut Draws, batches: u64) {
    let mut sequences = [0; 2];
    let mut epoch = bench.log.latest_epoch().unwrap_or(0);
    for number in 0..batches {
        let count = draws.between(1, 4);
        let pairs: Vec<(String, Option<String>)> = (0..count)
            .map(|_| {
                (format!("key-{}", draws.below(8)), draws.chance(2, 3).then(|| format!("{:080}", draws.next_u64())))
            })
            .collect();
        let mut builder = batch(&pairs, Codec::from_bits(draws.below(5) as u8).unwrap());
        let producer = draws.below(3) as usize;
        if let Some(sequence) = sequences.get_mut(producer) {
            builder.producer(producer as i64, 0, *sequence).transactional();
            *sequence += count as i32;
        }
        epoch += i32::from(number % 10 == 0);
        bench.lead(epoch, vec![builder.build()]);
        if producer < 2 && draws.chance(1, 3) {
            let kind = if draws.chance(1, 2) { ControlType::Commit } else { ControlType::Abort };
            bench.lead(epoch, vec![marker(producer as i64, kind)]);
        }
    }
    for producer in 0..2 {
        bench.lead(epoch, vec![marker(producer, ControlType::Commit)]);
    }
    // The last segment is written to, and never cleaned: it holds next to nothing.
    bench.lead(epoch, vec![batch(&[("end".to_owned(), Some("x".repeat(1_500)))], Codec::None).build()]);
    bench.flush();
    bench.pump_all();
}

fn written(seed: u64) -> Bench {
    let mut bench = Bench::new(CONFIG);
    write(&mut bench, &mut Draws::from_seed(seed), 60);
    bench
}

type Pair = (Bytes, Option<Bytes>);

/// All that a log holds, as a reader finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Content {
    end: i64,
    /// Where each leader epoch ends.
    epochs: Vec<Option<(i32, i64)>>,
    /// By offset, control records and aborted ones left out.
    committed: BTreeMap<i64, Pair>,
}

impl Content {
    fn of(bench: &mut Bench) -> Content {
        let (mut from, end) = (bench.log.log_start_offset(), bench.log.log_end_offset());
        let aborted: Vec<_> = bench.log.aborted_within(from, end).copied().collect();
        let mut committed = BTreeMap::new();
        while let Some(progress) = bench.read(from, 2_000, end) {
            let Progress::Read { result: Ok(data), .. } = progress else {
                panic!("no records at {from}: {progress:?}")
            };
            for batch in split(&data).map(Result::unwrap) {
                let header = batch.header;
                assert!(header.next_offset() > from, "offsets go back at {from}");
                assert!(batch.crc_ok());
                from = header.next_offset();
                let is_aborted = header.is_transactional()
                    && aborted.iter().any(|txn| {
                        txn.producer_id == header.producer_id
                            && (txn.first_offset..txn.last_offset).contains(&header.base_offset)
                    });
                if header.is_control() || is_aborted {
                    continue;
                }
                for record in records(&batch).map(Result::unwrap) {
                    committed.insert(record.offset, (record.key.expect("a key"), record.value));
                }
            }
        }
        assert_eq!(from, end, "a reader comes to the end");
        let epochs = 0..=bench.log.latest_epoch().unwrap_or(0);
        Content { end, epochs: epochs.map(|epoch| bench.log.end_offset_for(epoch)).collect(), committed }
    }

    /// Offset and value of the last record of each key.
    fn last(&self) -> BTreeMap<Bytes, (i64, Option<Bytes>)> {
        let all = self.committed.iter();
        all.map(|(offset, (key, value))| (key.clone(), (*offset, value.clone()))).collect()
    }

    /// No record is another one than it was, none is new, and each key has its last value, but that a deleted key may be gone.
    fn assert_tells_the_same(&self, before: &Content, at: &str) {
        assert_eq!(self.end, before.end, "{at}: the end");
        assert_eq!(self.epochs, before.epochs, "{at}: the ends of epochs");
        for (offset, pair) in &self.committed {
            assert_eq!(before.committed.get(offset), Some(pair), "{at}: the record at {offset}");
        }
        let (now, then) = (self.last(), before.last());
        for (key, last) in then {
            match now.get(&key) {
                None => assert_eq!(last.1, None, "{at}: {key:?} was not deleted"),
                found => assert_eq!(found, Some(&last), "{at}: the last value of {key:?}"),
            }
        }
    }
}

fn clean_all(bench: &mut Bench, checkpoint: Option<i64>) -> i64 {
    assert!(bench.clean(checkpoint, orders()), "there is something to clean");
    bench.pump_all();
    let cleaned = bench.cleaned.clone().expect("it has ended").expect("nothing went wrong");
    cleaned.first_dirty
}

#[test]
fn a_clean_leaves_the_last_record_of_each_key_at_its_offset() {
    for seed in 0..20 {
        let mut bench = written(seed);
        let before = Content::of(&mut bench);
        let active = bench.log.log_end_offset() - 1;
        assert_eq!(clean_all(&mut bench, None), active, "all but the segment that is written to");
        let after = Content::of(&mut bench);
        after.assert_tells_the_same(&before, "after the clean");
        let keys: BTreeSet<_> = after.committed.values().map(|(key, _)| key).collect();
        assert_eq!(after.committed.len(), keys.len(), "one record for each key");
        assert!(after.committed.len() < before.committed.len() / 2);
        assert_eq!(bench.log.first_segment_offset(), 0);
        assert!(!bench.clean(Some(active), orders()), "nothing is dirty any more");
    }
}

#[test]
fn behind_their_horizon_deletions_and_markers_are_gone() {
    let mut bench = written(1);
    let before = Content::of(&mut bench);
    for _ in 0..3 {
        clean_all(&mut bench, None);
        bench.now.wall_ms += RETENTION;
    }
    let after = Content::of(&mut bench);
    after.assert_tells_the_same(&before, "after three cleans");
    assert!(after.committed.values().all(|(_, value)| value.is_some()));
    assert!(before.last().values().any(|(_, value)| value.is_none()), "there was a deletion");
}

#[test]
fn small_segments_become_one_and_their_files_go_after_the_delay() {
    let mut bench = written(2);
    let count = |bench: &Bench, suffix: &str| bench.disk.list(DIR).iter().filter(|name| name.ends_with(suffix)).count();
    let before = count(&bench, ".log");
    clean_all(&mut bench, None);
    clean_all(&mut bench, None);
    assert!(before > 5 && count(&bench, ".log") < before / 2);
    assert!(count(&bench, ".log.deleted") >= before - 1);
    let due = bench.log.deadline().expect("files are to be removed");
    assert_eq!(due, 60_000_000_000);
    bench.now.mono_ns = due;
    bench.log.deadline_came(bench.now, &mut bench.out);
    bench.queue.extend(bench.out.drain());
    bench.pump_all();
    assert_eq!((count(&bench, ".deleted"), count(&bench, ".cleaned"), count(&bench, ".swap")), (0, 0, 0));
}

#[test]
fn a_full_map_cleans_a_part_and_the_next_clean_goes_on_there() {
    let orders = CleanOrders { dedupe_buffer_bytes: 24 * 5, ..orders() };
    let mut bench = written(3);
    let before = Content::of(&mut bench);
    let (mut checkpoint, mut rounds) = (None, 0);
    while bench.clean(checkpoint, orders) {
        bench.pump_all();
        let reached = bench.cleaned.clone().unwrap().unwrap().first_dirty;
        assert!(checkpoint.is_none_or(|checkpoint| reached > checkpoint), "each clean gets on");
        Content::of(&mut bench).assert_tells_the_same(&before, "on the way");
        (checkpoint, rounds) = (Some(reached), rounds + 1);
    }
    assert!(rounds > 3, "{rounds}");
    let after = Content::of(&mut bench);
    let keys: BTreeSet<_> = after.committed.values().map(|(key, _)| key).collect();
    assert_eq!(after.committed.len(), keys.len(), "one record for each key");
}

#[test]
fn the_log_takes_records_and_is_read_while_it_is_cleaned() {
    let mut bench = written(4);
    let mut all = Content::of(&mut bench);
    assert!(bench.clean(None, orders()));
    let mut appended = 0;
    while bench.cleaner.is_some() {
        bench.pump(1);
        let key = format!("new-{appended}");
        bench.lead(2_000, vec![batch(&[(key.clone(), Some("v".to_owned()))], Codec::None).build()]);
        bench.pump_all_but_the_cleaner();
        all.committed.insert(bench.log.log_end_offset() - 1, (Bytes::from(key), Some(Bytes::from("v"))));
        all.end = bench.log.log_end_offset();
        appended += 1;
    }
    all.epochs = Content::of(&mut bench).epochs;
    assert!(appended > 20 && bench.cleaned == Some(Ok(bench.cleaned.clone().unwrap().unwrap())));
    Content::of(&mut bench).assert_tells_the_same(&all, "after the clean");
}

#[test]
fn a_read_that_was_planned_before_a_swap_is_asked_anew_and_one_meanwhile_waits() {
    let mut bench = written(5);
    let plan = bench.log.plan_read(0, 100, i64::MAX, true).unwrap();
    let early = bench.log.start_read(plan, &mut bench.out);
    let read: Vec<DiskRequest> = bench.out.drain().collect();
    assert!(bench.clean(None, orders()));
    while !bench.queue.iter().any(|request| matches!(&request.op, DiskOp::Rename { to, .. } if to.ends_with(".swap"))) {
        assert_eq!(bench.pump(1), []);
    }
    let from = bench.log.plan_read(0, 100, i64::MAX, true).unwrap();
    let waiting = bench.log.start_read(from, &mut bench.out);
    assert!(bench.out.is_empty(), "its file has no certain name yet");
    bench.queue.extend(read);
    let progress = bench.pump_all();
    for ticket in [early, waiting] {
        assert!(progress.contains(&Progress::Read { ticket, result: Err(ReadError::Again) }), "{progress:?}");
    }
    assert!(progress.contains(&Progress::Swapped));
}

#[test]
fn a_cut_makes_a_clean_void() {
    let mut bench = written(6);
    let end = bench.log.log_end_offset();
    assert!(bench.clean(None, orders()));
    bench.pump(20);
    bench.truncate(end - 1);
    bench.pump_all();
    assert_eq!(bench.cleaned, Some(Err(CleanError::Cut)));
    assert!(bench.disk.list(DIR).iter().all(|name| !name.ends_with(".cleaned")));
}

/// A transaction that was aborted long ago leaves a header and a marker, by which a later clean must not judge the same producer's
/// next records: a deletion among them would go one day, and what it deleted would be there again.
#[test]
fn a_transaction_that_was_aborted_before_says_nothing_of_the_next_one() {
    let mut bench = Bench::new(CONFIG);
    let pair = |key: &str, value: Option<usize>| [(key.to_owned(), value.map(|size| "x".repeat(size)))];
    let by = |sequence, pair: &[(String, Option<String>)]| {
        batch(pair, Codec::None).producer(0, 0, sequence).transactional().build()
    };
    let filler = |key: &str| batch(&pair(key, Some(1_500)), Codec::None).build();
    bench.lead(1, vec![batch(&pair("deleted", Some(10)), Codec::None).build()]);
    bench.lead(1, vec![by(0, &pair("aborted", Some(10)))]);
    bench.lead(1, vec![marker(0, ControlType::Abort)]);
    bench.lead(1, vec![filler("a")]);
    bench.lead(1, vec![filler("b")]);
    bench.flush();
    bench.pump_all();
    let mut checkpoint = Some(clean_all(&mut bench, None));
    bench.lead(1, vec![by(1, &pair("deleted", None))]);
    bench.lead(1, vec![marker(0, ControlType::Commit)]);
    for key in ["c", "d", "e"] {
        bench.lead(1, vec![filler(key)]);
        bench.flush();
        bench.pump_all();
        checkpoint = Some(clean_all(&mut bench, checkpoint));
        let deleted = Content::of(&mut bench).committed.into_values().filter(|(key, _)| key == "deleted");
        assert_eq!(deleted.filter(|(_, value)| value.is_some()).count(), 0, "at {checkpoint:?}");
        bench.now.wall_ms += RETENTION;
    }
}

/// Where the guard is off a marker may go before the batch whose transaction it ended, of which only the header is kept.
#[test]
fn a_transaction_that_is_open_while_the_log_is_cleaned_can_be_ended() {
    let mut bench = Bench::new(CONFIG);
    let pair = |key: &str, size: usize| [(key.to_owned(), Some("x".repeat(size)))];
    let in_transaction =
        |sequence| batch(&pair("key", 10), Codec::None).producer(0, 0, sequence).transactional().build();
    bench.lead(1, vec![in_transaction(0)]);
    bench.lead(1, vec![marker(0, ControlType::Commit)]);
    bench.lead(1, vec![batch(&pair("key", 1_500), Codec::None).build()]);
    bench.lead(1, vec![batch(&pair("end", 1_500), Codec::None).build()]);
    bench.flush();
    bench.pump_all();
    assert!(bench.clean(None, CleanOrders { guards: Guards::without(&[Guard::MarkerHorizon]), ..orders() }));
    while !bench.queue.iter().any(|request| matches!(&request.op, DiskOp::Rename { .. })) {
        if bench.queue.iter().any(|request| request.op.path().ends_with(".cleaned")) && bench.log.next_offset() == 4 {
            bench.lead(1, vec![in_transaction(1)]);
        }
        bench.pump(1);
    }
    bench.pump_all();
    assert!(bench.log.last_stable_offset(bench.log.log_end_offset()) < 5);
    bench.lead(1, vec![marker(0, ControlType::Commit)]);
    bench.pump_all();
    assert_eq!(bench.log.last_stable_offset(bench.log.log_end_offset()), 6);
}

#[test]
fn damage_is_not_cleaned_away() {
    // In the first batch: its offset, its length, its epoch, its checksum, its records.
    for at in [7, 8, 15, 17, 70] {
        let mut bench = written(7);
        let path = format!("{DIR}/{:020}.log", 0);
        let mut content = bench.disk.content(&path).unwrap().to_vec();
        content[at] ^= 1;
        bench.disk.perform(DiskOp::Write { path: path.clone(), data: content.clone().into() }).unwrap();
        assert!(bench.clean(None, orders()));
        bench.pump_all();
        assert!(matches!(bench.cleaned, Some(Err(CleanError::Unreadable { .. }))), "{at}: {:?}", bench.cleaned);
        assert_eq!(bench.disk.content(&path), Some(&content[..]));
    }
}

/// No offset stands in two segment files.
fn assert_no_overlap(disk: &Disk, at: &str) {
    let logs = disk.list(DIR).into_iter().filter(|name| name.ends_with(".log"));
    let content = |name: String| Bytes::copy_from_slice(disk.content(&format!("{DIR}/{name}")).unwrap());
    let batches: Vec<Batch> =
        logs.map(content).flat_map(|bytes| split(&bytes).map(Result::unwrap).collect::<Vec<_>>()).collect();
    let in_order = batches.is_sorted_by(|a, b| a.header.last_offset() < b.header.base_offset);
    assert!(in_order, "{at}: a segment that was replaced is still there");
}

/// The files of the first segment before and after a clean, by kind: `.log`, `.index`, `.timeindex`.
fn first_files(bench: &Bench) -> BTreeMap<&'static str, Bytes> {
    let kinds = [".log", ".index", ".timeindex"];
    let path = |kind| format!("{DIR}/{:020}{kind}", 0);
    let found = kinds.into_iter().filter_map(|kind| Some((kind, bench.disk.content(&path(kind))?)));
    found.map(|(kind, content)| (kind, Bytes::copy_from_slice(content))).collect()
}

/// A file of the new segment: kind, suffix, and whether its content is torn.
type Left = (&'static str, &'static str, bool);

/// What a broker that died within a swap may leave of it [L17]: the suffixes of the new files, and whether the new segment
/// counts. `torn` stands for bytes that are no segment: whoever believes them has lost the log.
#[test]
fn a_swap_counts_when_all_of_its_files_have_their_suffix_and_not_before() {
    let states: [(&str, &[Left], bool); 6] = [
        ("being written", &[(".log", ".cleaned", true), (".index", ".cleaned", true)], false),
        ("its index was renamed first", &[(".index", ".swap", true), (".log", ".cleaned", true)], false),
        ("its log was renamed first", &[(".log", ".swap", true), (".index", ".cleaned", true)], false),
        ("all are renamed", &[(".log", ".swap", false), (".index", ".swap", false)], true),
        ("its log has its name", &[(".log", "", false), (".index", ".swap", false)], true),
        ("its index has its name", &[(".index", "", false), (".log", ".swap", false)], true),
    ];
    for (state, files, counts) in states {
        let mut bench = written(8);
        let before = Content::of(&mut bench);
        let mut after = written(8);
        clean_all(&mut after, None);
        let new = first_files(&after);
        for (kind, suffix, torn) in files {
            let data = if *torn { Bytes::from_static(b"torn") } else { new[kind].clone() };
            bench.disk.perform(DiskOp::Write { path: format!("{DIR}/{:020}{kind}{suffix}", 0), data }).unwrap();
        }
        let mut loaded = Bench::knowing(bench.disk.clone(), CONFIG, known(&bench));
        let content = Content::of(&mut loaded);
        content.assert_tells_the_same(&before, state);
        assert_eq!(content.committed.len() < before.committed.len(), counts, "{state}");
        assert_eq!(first_files(&loaded)[".log"] == new[".log"], counts, "{state}");
        assert_no_overlap(&loaded.disk, state);
        assert_eq!(loaded.disk.list(DIR).iter().find(|name| name.ends_with("ed") || name.ends_with(".swap")), None);
    }
}

/// A log with all that a clean can meet: deletions and markers with and without a horizon, a part that is clean.
fn eventful(seed: u64) -> (Bench, i64) {
    let mut bench = written(seed);
    let checkpoint = clean_all(&mut bench, None);
    bench.now.wall_ms += RETENTION;
    write(&mut bench, &mut Draws::from_seed(seed + 1_000), 40);
    (bench, checkpoint)
}

fn known(bench: &Bench) -> LastKnown {
    LastKnown { clean: false, recovery_point: bench.log.durable_end(), log_start: 0 }
}

/// What a cleaned log went through, and what a crash left of it.
struct Crash {
    disk: Disk,
    known: LastKnown,
    before: Content,
    /// What no crash keeps the clean from.
    after: Content,
    checkpoint: i64,
    wall_ms: i64,
}

impl Crash {
    /// Cleans until the disk has done `count` mutating operations; `None` if that is all of them.
    fn at(seed: u64, count: usize) -> Option<Crash> {
        let (mut whole, _) = eventful(seed);
        let before = Content::of(&mut whole);
        let (mut bench, checkpoint) = eventful(seed);
        clean_all(&mut whole, Some(checkpoint));
        let after = Content::of(&mut whole);
        assert!(bench.clean(Some(checkpoint), orders()));
        let mut done = 0;
        while done < count {
            done += usize::from(bench.queue.front()?.op.mutates());
            bench.pump(1);
        }
        bench.queue.front()?;
        let (known, wall_ms) = (known(&bench), bench.now.wall_ms);
        Some(Crash { disk: bench.disk, known, before, after, checkpoint, wall_ms })
    }

    /// Loads and judges, and loads again.
    fn judge(&self, mut disk: Disk, at: &str) -> Bench {
        let (first, _) = load(&mut disk, CONFIG, self.known, nobody(), u64::MAX).expect("it is not stopped");
        assert_no_overlap(&disk, at);
        let mut bench = Bench::knowing(disk, CONFIG, self.known);
        assert_eq!(bench.log.digest(), first.digest(), "{at}: loading twice is not loading once");
        let names = bench.disk.list(DIR);
        let transient = |name: &&String| [".cleaned", ".swap", ".deleted"].iter().any(|suffix| name.ends_with(suffix));
        assert_eq!(names.iter().find(transient), None, "{at}");
        Content::of(&mut bench).assert_tells_the_same(&self.before, at);
        bench
    }

    /// After a kill every index is what a load that believes nothing makes of the log. (Not so the transaction indexes: of a
    /// transaction that lost its first records to compaction the log tells a later beginning than its index, which is as good.)
    fn assert_indexes(&self, mut disk: Disk, at: &str) {
        let indexes = |disk: &Disk| -> BTreeMap<String, Vec<u8>> {
            let names =
                disk.list(DIR).into_iter().filter(|name| name.ends_with(".index") || name.ends_with(".timeindex"));
            names.map(|name| (name.clone(), disk.content(&format!("{DIR}/{name}")).unwrap().to_vec())).collect()
        };
        load(&mut disk, CONFIG, self.known, nobody(), u64::MAX).expect("it is not stopped");
        let believed = indexes(&disk);
        load(&mut disk, CONFIG, LastKnown { recovery_point: 0, ..self.known }, nobody(), u64::MAX);
        assert!(!believed.is_empty() && indexes(&disk) == believed, "{at}: an index is not what the log tells");
    }

    /// The clean that was cut short can be done again, and comes to the same end.
    fn clean_again(&self, mut bench: Bench, at: &str) {
        bench.now.wall_ms = self.wall_ms;
        bench.flush();
        bench.pump_all();
        clean_all(&mut bench, Some(self.checkpoint));
        let after = Content::of(&mut bench);
        after.assert_tells_the_same(&self.before, at);
        assert_eq!(after.last(), self.after.last(), "{at}: the clean that was cut short, done again");
    }
}

#[test]
fn a_crash_at_every_write_of_a_clean_leaves_a_log_that_tells_the_same() {
    let (mut cuts, mut loads) = (0, 0);
    for seed in 0..4 {
        for count in 0.. {
            let Some(crash) = Crash::at(seed, count) else { break };
            cuts += 2;
            let at = format!("seed {seed}, killed after {count}");
            crash.assert_indexes(crash.disk.clone(), &at);
            crash.clean_again(crash.judge(crash.disk.clone(), &at), &at);
            let mut dark = crash.disk.clone();
            dark.lose_power(&mut Draws::from_seed(seed << 32 | count as u64));
            let at = format!("seed {seed}, power lost after {count}");
            crash.clean_again(crash.judge(dark.clone(), &at), &at);
            if seed == 0 {
                loads += crash_while_loading(&crash, &dark);
            }
        }
    }
    println!("{cuts} cuts of a clean, and {loads} of the load that follows one");
    assert!(cuts > 1_000 && loads > 5_000, "{cuts} and {loads}");
}

/// Cuts the load, too, at each of its writes.
fn crash_while_loading(crash: &Crash, disk: &Disk) -> u64 {
    for limit in 0.. {
        let mut half = disk.clone();
        if load(&mut half, CONFIG, crash.known, nobody(), limit).is_some() {
            return limit;
        }
        let at = format!("the load cut after {limit}");
        crash.judge(half.clone(), &at);
        half.lose_power(&mut Draws::from_seed(limit));
        crash.judge(half, &at);
    }
    unreachable!("a load ends")
}
