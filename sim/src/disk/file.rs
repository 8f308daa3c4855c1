//! The content of one file: the bytes as the cache has them, and a log of undo records that leads back to the platter.
//!
//! Undoing every pending change, newest first, gives the durable content. So a sync drops records from the front of the log,
//! an append costs one record without any bytes, and reading costs nothing.

use super::content::Content;
use super::draw;
use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, VecDeque};

/// What a device writes whole or not at all, bytes.
const SECTOR: usize = 512;
/// What the cache writes back at once, bytes.
pub(super) const PAGE: usize = 4096;
/// Appends are joined in one record up to so many bytes and so long.
const JOIN_BYTES: usize = 64 << 10;
const JOIN_NS: u64 = 100_000_000;

#[derive(Debug, Default)]
pub(super) struct FileData {
    content: Content,
    pending: VecDeque<Pending>,
    /// A sync was issued since the last change: the next append must not join a record that the sync covers.
    sealed: bool,
    /// What the platter holds beneath the pending changes, where the cache shows something else: after a failed sync or a
    /// write that went elsewhere.
    platter: Option<Vec<u8>>,
    /// Handles that are open.
    pub(super) opens: u32,
}

#[derive(Debug)]
struct Pending {
    sequence: u64,
    since_ns: u64,
    change: Change,
}

#[derive(Debug)]
enum Change {
    /// `len` bytes at `start`; `old` is what they replaced, up to the end of the file as it was.
    Write { start: usize, len: usize, len_before: usize, old: Vec<u8> },
    /// The length was set; `removed` is what a cut took away.
    Resize { len_before: usize, len_after: usize, removed: Vec<u8> },
}

/// A pending change with its new bytes, for doing it again.
#[derive(Debug)]
enum Redo {
    Write { start: usize, data: Vec<u8> },
    Resize { len: usize },
}

/// What power loss did to one file, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Loss {
    pub(super) lost: u64,
    pub(super) kept: u64,
}

/// Which of a file's pending changes may survive a loss of power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Truncations in order, and a truncation binds what came before it.
    Own,
    /// Truncations up to that sequence and no later ones; without holes, a file that grew ends where its first byte is
    /// missing.
    Journal { until: u64, holes: bool },
    /// Each truncation by itself.
    Loose,
}

/// Tells the model whether a change opened a new record, and how many bytes became pending.
pub(super) struct Changed {
    pub(super) new_record: bool,
    pub(super) dirty: u64,
}

impl FileData {
    pub(super) fn len(&self) -> usize {
        self.content.len()
    }

    pub(super) fn read(&self, position: u64, len: u32) -> Bytes {
        let start = usize::try_from(position).unwrap_or(usize::MAX).min(self.len());
        let end = start.saturating_add(len as usize).min(self.len());
        self.content.read(start, end)
    }

    /// Writes `data` at `start`; a gap before it becomes zeros.
    pub(super) fn write(&mut self, start: usize, data: &Bytes, now_ns: u64, sequence: u64) -> Changed {
        let len_before = self.len();
        if start == len_before {
            let joins = self.joins(data.len(), now_ns);
            self.content.append(data);
            if joins {
                return Changed { new_record: false, dirty: data.len() as u64 };
            }
        }
        let mut old = vec![];
        if start != len_before {
            let overlap = len_before.min(start.saturating_add(data.len()));
            old = self.content.read(start.min(overlap), overlap).to_vec();
            self.content.change(|bytes| put(bytes, start, data));
        }
        let change = Change::Write { start, len: data.len(), len_before, old };
        self.push(change, now_ns, sequence);
        Changed { new_record: true, dirty: data.len() as u64 }
    }

    /// True, and the last record grown, if an append of `len` bytes now may join it.
    fn joins(&mut self, len: usize, now_ns: u64) -> bool {
        let end = self.len();
        let Some(last) = self.pending.back_mut().filter(|_| !self.sealed) else { return false };
        match &mut last.change {
            Change::Write { start, len: held, old, .. }
                if old.is_empty()
                    && *start + *held == end
                    && *held < JOIN_BYTES
                    && now_ns < last.since_ns + JOIN_NS =>
            {
                *held += len;
                true
            }
            _ => false,
        }
    }

    pub(super) fn resize(&mut self, len: usize, now_ns: u64, sequence: u64) {
        let len_before = self.len();
        let removed = self.content.read(len.min(len_before), len_before).to_vec();
        self.content.change(|bytes| bytes.resize(len, 0));
        self.push(Change::Resize { len_before, len_after: len, removed }, now_ns, sequence);
    }

    fn push(&mut self, change: Change, now_ns: u64, sequence: u64) {
        assert!(self.pending.back().is_none_or(|last| last.sequence < sequence), "changes come in order");
        self.pending.push_back(Pending { sequence, since_ns: now_ns, change });
        self.sealed = false;
    }

    pub(super) fn seal(&mut self) {
        self.sealed = true;
    }

    /// All changes up to `sequence` are on the platter. Answers how many bytes are pending no more.
    pub(super) fn harden(&mut self, sequence: u64) -> u64 {
        if self.platter.is_some() {
            return self.retire(sequence, true).iter().map(|(_, len)| len).sum();
        }
        let mut hardened = 0;
        while self.pending.front().is_some_and(|pending| pending.sequence <= sequence) {
            let pending = self.pending.pop_front().expect("there is a front");
            hardened += pending.change.dirty();
        }
        hardened
    }

    /// All changes up to `sequence` are forgotten: they are not pending any more, and never reach the platter by themselves.
    /// Answers which bytes, as start and length.
    pub(super) fn forget(&mut self, sequence: u64) -> Vec<(u64, u64)> {
        self.retire(sequence, false)
    }

    /// Takes all changes up to `sequence` out of the log. If they arrive, the platter gets the pages that they touched, as
    /// those were then, with all that else was in these pages.
    fn retire(&mut self, sequence: u64, arrive: bool) -> Vec<(u64, u64)> {
        let mut base = self.content.flat().to_vec();
        let mut redo: Vec<Redo> = self.pending.iter().rev().map(|pending| pending.change.undo(&mut base)).collect();
        redo.reverse();
        let mut platter = self.platter.take().unwrap_or_else(|| base.clone());
        let mut retired = vec![];
        for change in redo {
            if self.pending.front().is_none_or(|pending| pending.sequence > sequence) {
                break;
            }
            self.pending.pop_front();
            change.apply(&mut base);
            retired.extend(change.written());
            if arrive {
                change.reach(&base, &mut platter);
            }
        }
        self.platter = Some(platter).filter(|platter| *platter != base);
        retired
    }

    /// Bytes that are written and not on the platter, as start and length, up to `sequence`.
    pub(super) fn pending_ranges(&self, sequence: u64) -> Vec<(u64, u64)> {
        let pending = self.pending.iter().take_while(|pending| pending.sequence <= sequence);
        pending.filter_map(|pending| pending.change.range()).collect()
    }

    /// The sequences of pending changes of the length.
    pub(super) fn pending_cuts(&self) -> impl Iterator<Item = u64> + '_ {
        let cuts = self.pending.iter().filter(|pending| matches!(pending.change, Change::Resize { .. }));
        cuts.map(|pending| pending.sequence)
    }

    /// True if no pending change touches these bytes, so that the platter may have other ones without more ado. Those behind the
    /// end of the file are clean.
    pub(super) fn is_clean(&self, start: u64, end: u64) -> bool {
        let end = end.min(self.len() as u64);
        start >= end || self.pending.iter().all(|pending| pending.change.spares(start, end))
    }

    /// The page cache lets go of clean bytes: they read as on the platter from now on.
    pub(super) fn evict(&mut self, start: u64, end: u64) {
        let end = end.min(self.len() as u64);
        assert!(self.is_clean(start, end), "only clean pages are evicted");
        let Some(platter) = &self.platter else { return };
        self.content.change(|bytes| {
            for (place, byte) in bytes.iter_mut().enumerate().take(end as usize).skip(start as usize) {
                *byte = platter.get(place).copied().unwrap_or(0);
            }
        });
        if self.pending.is_empty() && *platter == self.content.flat() {
            self.platter = None;
        }
    }

    /// Clean bytes become others, in the cache and on the platter.
    pub(super) fn damage(&mut self, start: u64, data: &[u8]) {
        let (start, end) = (start as usize, start as usize + data.len());
        assert!(end <= self.len() && self.is_clean(start as u64, end as u64), "only clean bytes are damaged");
        self.content.change(|bytes| bytes[start..end].copy_from_slice(data));
        if let Some(platter) = &mut self.platter {
            put(platter, start, data);
        }
    }

    /// Bytes written and not on the platter.
    pub(super) fn dirty(&self) -> u64 {
        self.pending.iter().map(|pending| pending.change.dirty()).sum()
    }

    /// Power is lost: the content becomes what the platter happens to hold.
    pub(super) fn lose_power(&mut self, rule: Rule, rng: &mut ChaCha8Rng) -> Loss {
        if self.pending.is_empty() && self.platter.is_none() {
            return Loss::default();
        }
        // Below the first byte that anything pending touched all stays as it is.
        let from =
            if self.platter.is_some() { 0 } else { self.pending.iter().map(|p| p.change.from()).min().unwrap_or(0) };
        let before = self.content.read(from, self.len());
        let dirty = self.dirty();
        let sequences: Vec<u64> = self.pending.iter().map(|pending| pending.sequence).collect();
        let redo = self.undo_all();
        match self.platter.take() {
            Some(platter) => self.content.change(|bytes| *bytes = platter),
            None => assert!(!redo.is_empty(), "something was pending"),
        }
        self.content.change(|bytes| match rule {
            Rule::Journal { until, holes } => survive_journal(bytes, &sequences, &redo, until, holes, rng),
            Rule::Own | Rule::Loose => match draw(rng, 4) {
                0 => {}
                1 => redo.iter().for_each(|change| change.apply(bytes)),
                2 => survive_prefix(bytes, &redo, rng),
                _ if rule == Rule::Loose => survive_loosely(bytes, &redo, rng),
                _ => survive_sectors(bytes, &redo, rng),
            },
        });
        let lost = different(&before, self.content.flat().get(from..).unwrap_or_default());
        Loss { lost, kept: dirty.saturating_sub(lost) }
    }

    /// Goes back to the durable content; answers the changes undone, oldest first, with their bytes.
    fn undo_all(&mut self) -> Vec<Redo> {
        let mut redo = Vec::with_capacity(self.pending.len());
        while let Some(pending) = self.pending.pop_back() {
            redo.push(self.content.change(|bytes| pending.change.undo(bytes)));
        }
        redo.reverse();
        redo
    }
}

impl Change {
    fn dirty(&self) -> u64 {
        match self {
            Change::Write { len, .. } => *len as u64,
            Change::Resize { .. } => 0,
        }
    }

    /// The first byte that it touched.
    fn from(&self) -> usize {
        match *self {
            Change::Write { start, len_before, .. } => start.min(len_before),
            Change::Resize { len_before, len_after, .. } => len_before.min(len_after),
        }
    }

    fn range(&self) -> Option<(u64, u64)> {
        match self {
            Change::Write { start, len, .. } => Some((*start as u64, *len as u64)),
            Change::Resize { .. } => None,
        }
    }

    /// True if it leaves these bytes as they were.
    fn spares(&self, from: u64, to: u64) -> bool {
        match self {
            Change::Write { start, len, len_before, .. } => {
                let (start, end) = (*start as u64, (start + len) as u64);
                to <= *len_before as u64 && (to <= start || end <= from)
            }
            Change::Resize { len_before, len_after, .. } => to <= (*len_before).min(*len_after) as u64,
        }
    }

    fn undo(&self, bytes: &mut Vec<u8>) -> Redo {
        match *self {
            Change::Write { start, len, len_before, ref old } => {
                let data = bytes[start..start + len].to_vec();
                bytes.truncate(len_before);
                put(bytes, start.min(len_before), old);
                Redo::Write { start, data }
            }
            Change::Resize { len_before, len_after, ref removed } => {
                assert_eq!(bytes.len(), len_after, "undo in order");
                bytes.truncate(len_before);
                bytes.extend_from_slice(removed);
                assert_eq!(bytes.len(), len_before, "a cut remembers all that it took");
                Redo::Resize { len: len_after }
            }
        }
    }
}

impl Redo {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Redo::Write { start, data } => put(bytes, *start, data),
            Redo::Resize { len } => bytes.resize(*len, 0),
        }
    }

    fn written(&self) -> Option<(u64, u64)> {
        match self {
            Redo::Write { start, data } => Some((*start as u64, data.len() as u64)),
            Redo::Resize { .. } => None,
        }
    }

    /// It arrives on a platter that may differ from `base`, the content after it: a write takes its whole pages along.
    fn reach(&self, base: &[u8], platter: &mut Vec<u8>) {
        match self {
            Redo::Write { start, data } => {
                let from = start / PAGE * PAGE;
                let to = (start + data.len()).next_multiple_of(PAGE).min(base.len());
                put(platter, from, &base[from..to]);
                if start + data.len() == base.len() {
                    platter.truncate(base.len()); // a write at the end takes the new length along
                }
            }
            Redo::Resize { len } => platter.resize(*len, 0),
        }
    }

    /// The length of the file after it, from the length before it.
    fn len_after(&self, len: usize) -> usize {
        match self {
            Redo::Write { data, .. } if data.is_empty() => len,
            Redo::Write { start, data } => len.max(start + data.len()),
            Redo::Resize { len } => *len,
        }
    }
}

/// Writes over and beyond the end; a gap becomes zeros.
fn put(bytes: &mut Vec<u8>, start: usize, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    let end = start + data.len();
    if start == bytes.len() {
        return bytes.extend_from_slice(data);
    }
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[start..end].copy_from_slice(data);
}

/// How many bytes of `before` read otherwise, or not at all, in `after`.
fn different(before: &[u8], after: &[u8]) -> u64 {
    // Whole sectors first: nearly all of them are what they were.
    let sectors = before.chunks(SECTOR).zip(after.chunks(SECTOR)).filter(|(a, b)| a != b);
    let common: usize = sectors.map(|(a, b)| a.iter().zip(b).filter(|(a, b)| a != b).count()).sum();
    (common + before.len().saturating_sub(after.len())) as u64
}

/// The first changes survive whole, the next one up to a sector's edge, the others not at all.
fn survive_prefix(bytes: &mut Vec<u8>, redo: &[Redo], rng: &mut ChaCha8Rng) {
    let whole = draw(rng, redo.len() as u64 + 1) as usize;
    redo[..whole].iter().for_each(|change| change.apply(bytes));
    if let Some(Redo::Write { start, data }) = redo.get(whole) {
        let sectors = sectors(*start, data.len()).count() as u64;
        let cut = sectors_end(*start, draw(rng, sectors + 1) as usize).clamp(*start, start + data.len());
        put(bytes, *start, &data[..cut - start]);
    }
}

/// Truncations survive in order, up to a drawn one; of the writes before the first truncation that did not, each sector has
/// any of its states; the length is one that the file had after the last truncation that survived.
fn survive_sectors(bytes: &mut Vec<u8>, redo: &[Redo], rng: &mut ChaCha8Rng) {
    let cuts: Vec<usize> = (0..redo.len()).filter(|i| matches!(redo[*i], Redo::Resize { .. })).collect();
    let kept_cuts = draw(rng, cuts.len() as u64 + 1) as usize;
    let considered = &redo[..cuts.get(kept_cuts).copied().unwrap_or(redo.len())];
    let lengths = lengths(bytes.len(), considered, kept_cuts.checked_sub(1).map_or(0, |last| cuts[last] + 1));
    let mut kept = kept_states(considered, rng);
    for change in considered {
        match change {
            Redo::Resize { len } => bytes.resize(*len, 0),
            Redo::Write { start, data } => {
                put_sectors(bytes, *start, data, &mut kept);
            }
        }
    }
    let len = lengths[draw(rng, lengths.len() as u64) as usize];
    bytes.resize(len, 0);
}

/// As with a journal that holds all truncations up to `until` and none after: of the writes before the first lost
/// truncation each sector has any of its states.
fn survive_journal(
    bytes: &mut Vec<u8>,
    sequences: &[u64],
    redo: &[Redo],
    until: u64,
    holes: bool,
    rng: &mut ChaCha8Rng,
) {
    let is_lost = |(sequence, change): (&u64, &Redo)| matches!(change, Redo::Resize { .. }) && *sequence > until;
    let considered = &redo[..sequences.iter().zip(redo).position(is_lost).unwrap_or(redo.len())];
    let mut kept = match draw(rng, 4) {
        0 => all_states(considered).into_keys().map(|sector| (sector, 0)).collect(),
        1 => all_states(considered),
        _ => kept_states(considered, rng),
    };
    let (mut solid, mut missing) = (bytes.len(), usize::MAX);
    for change in considered {
        match change {
            Redo::Resize { len } => {
                // The new length is in the journal, whether the data below it arrived or not.
                bytes.resize(*len, 0);
                (solid, missing) = (*len, usize::MAX);
            }
            Redo::Write { start, data } => {
                missing = missing.min(put_sectors(bytes, *start, data, &mut kept).max(solid));
            }
        }
    }
    bytes.truncate(if holes { usize::MAX } else { missing });
}

/// Without any order: each truncation is lost or kept by itself, each written sector has any of its states, and the length is
/// one that the file had.
fn survive_loosely(bytes: &mut Vec<u8>, redo: &[Redo], rng: &mut ChaCha8Rng) {
    let mut lengths = vec![bytes.len()];
    let mut kept = kept_states(redo, rng);
    for change in redo {
        match change {
            Redo::Resize { .. } if draw(rng, 2) == 0 => continue,
            Redo::Resize { len } => {
                bytes.resize(*len, 0);
                lengths.clear();
            }
            Redo::Write { start, data } => {
                put_sectors(bytes, *start, data, &mut kept);
            }
        }
        lengths.push(change.len_after(lengths.last().copied().unwrap_or(bytes.len())));
    }
    let len = lengths[draw(rng, lengths.len() as u64) as usize];
    bytes.resize(len, 0);
}

/// The lengths that the file had, after the first `from` changes and later.
fn lengths(len: usize, changes: &[Redo], from: usize) -> Vec<usize> {
    let mut len = len;
    let mut lengths = vec![];
    for (i, change) in changes.iter().enumerate() {
        if i >= from {
            lengths.push(len);
        }
        len = change.len_after(len);
    }
    lengths.push(len);
    lengths
}

/// How often each sector was written.
fn all_states(changes: &[Redo]) -> BTreeMap<usize, u64> {
    let mut states: BTreeMap<usize, u64> = BTreeMap::new();
    for change in changes {
        if let Redo::Write { start, data } = change {
            sectors(*start, data.len()).for_each(|sector| *states.entry(sector).or_default() += 1);
        }
    }
    states
}

/// Draws for every written sector how many of its writes arrived.
fn kept_states(changes: &[Redo], rng: &mut ChaCha8Rng) -> BTreeMap<usize, u64> {
    let mut states = all_states(changes);
    let arrived_in_ten = [1, 5, 9][draw(rng, 3) as usize];
    for writes in states.values_mut() {
        *writes = if draw(rng, 10) < arrived_in_ten { *writes } else { draw(rng, *writes + 1) };
    }
    states
}

/// Writes those sectors of a write that have arrivals left. Answers where the first of the others starts.
fn put_sectors(bytes: &mut Vec<u8>, start: usize, data: &[u8], kept: &mut BTreeMap<usize, u64>) -> usize {
    let end = start + data.len();
    let mut missing = usize::MAX;
    for sector in sectors(start, data.len()) {
        let left = kept.get_mut(&sector).expect("every written sector was drawn");
        let from = (sector * SECTOR).max(start);
        if *left > 0 {
            *left -= 1;
            let to = ((sector + 1) * SECTOR).min(end);
            put(bytes, from, &data[from - start..to - start]);
        } else {
            missing = missing.min(from);
        }
    }
    missing
}

/// The sectors that a write touches.
fn sectors(start: usize, len: usize) -> std::ops::Range<usize> {
    if len == 0 { 0..0 } else { start / SECTOR..(start + len).div_ceil(SECTOR) }
}

/// Where the first `count` sectors from the one of `start` end.
fn sectors_end(start: usize, count: usize) -> usize {
    (start / SECTOR + count) * SECTOR
}
