//! All disks of one host: which device a path is on, what is in memory, how long an operation takes, and what goes wrong.
//!
//! Faults draw from a stream of their own, and nothing is drawn, looked up or kept where none is set.

use super::cache::{PageCache, pieces};
use super::config::{Device, DiskSetup};
use super::fault::{Damage, DiskFaultId, DiskFaultKind};
use super::harm::Armed;
use super::model::{DiskModel, FileId, PowerLoss, SyncMark};
use super::request::{Failure, Reply, Request, Target};
use crate::event::WorldEvent;
use crate::rng::{between, chance};
use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use std::io::ErrorKind;

/// An open file and its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct OpenFile {
    pub(super) drive: u32,
    pub(super) file: FileId,
}

/// A sync that was issued, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DriveMark {
    pub(super) drive: u32,
    pub(super) mark: SyncMark,
}

/// How long an operation takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timing {
    /// In the queue of its device, nanoseconds.
    pub wait_ns: u64,
    /// Then, nanoseconds.
    pub took_ns: u64,
    /// It does not end before this fault does; then it takes its time.
    pub stuck: Option<DiskFaultId>,
    /// As long as this fault lasts; once that is over it takes so many nanoseconds more at most.
    pub slowed: Option<(DiskFaultId, u64)>,
}

/// How full a device is, bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskUse {
    /// The device's name.
    pub device: String,
    /// In files.
    pub used: u64,
    /// It has room for.
    pub capacity: u64,
    /// Written and not durable.
    pub dirty: u64,
}

#[derive(Debug)]
pub(super) struct Drive {
    pub(super) device: Device,
    pub(super) model: DiskModel,
    pub(super) removed: bool,
    /// When what it works on will be done, nanoseconds.
    busy: Vec<u64>,
}

/// All disks of one host.
#[derive(Debug)]
pub(crate) struct Drives {
    pub(super) host: String,
    pub(super) drives: Vec<Drive>,
    memory_bytes: u64,
    /// Over all devices; `None`: each by its own limit.
    hard_bytes: Option<u64>,
    pub(super) cache: PageCache,
    pub(super) armed: Vec<Armed>,
    pub(super) next_fault: u32,
    pub(super) rng: ChaCha8Rng,
    /// Every damage so far.
    pub atlas: Vec<Damage>,
    /// To be told.
    pub happened: Vec<WorldEvent>,
}

impl Drives {
    /// Empty disks. `rng` is what faults draw from; nothing else does.
    pub fn new(host: &str, setup: DiskSetup, rng: ChaCha8Rng) -> Self {
        let count = setup.devices.len().max(1) as u64;
        let memory = setup.memory;
        let part = |ratio: f64| memory.map(|memory| (memory.bytes as f64 * ratio) as u64);
        let background = part(memory.map_or(0.0, |memory| memory.background_ratio));
        let drive = |device: Device| {
            let mut config = device.profile.model.clone();
            if let (Some(memory), Some(background)) = (memory, background) {
                config.dirty_age_ns = memory.dirty_age_ns;
                config.background_bytes = background / count;
            }
            Drive { device, model: DiskModel::new(config), removed: false, busy: vec![] }
        };
        let mut drives = Self {
            host: host.to_owned(),
            drives: setup.devices.into_iter().map(drive).collect(),
            memory_bytes: memory.map_or(u64::MAX, |memory| memory.bytes),
            hard_bytes: part(memory.map_or(0.0, |memory| memory.hard_ratio)),
            cache: PageCache::default(),
            armed: vec![],
            next_fault: 0,
            rng,
            atlas: vec![],
            happened: vec![],
        };
        drives.make_mounts();
        drives
    }

    /// Makes the directories where devices are mounted, for good.
    pub(super) fn make_mounts(&mut self) {
        let mounts: Vec<String> = self.drives.iter().map(|drive| drive.device.mount.clone()).collect();
        for mount in mounts.iter().filter(|mount| !mount.is_empty()) {
            let parent = mount.rsplit_once('/').map_or("", |(parent, _)| parent);
            let at = self.route(parent);
            let inner = strip(&self.drives[at].device.mount, mount).to_owned();
            let model = &mut self.drives[at].model;
            let made = model.create_dir(&inner, 0);
            assert_eq!(made, Ok(()), "a mount point on an empty device");
            model.commit_names();
        }
    }

    /// The device of a path: the one with the longest mount point above it.
    pub(super) fn route(&self, path: &str) -> usize {
        let holds = |mount: &str| mount.is_empty() || path.strip_prefix(mount).is_some_and(at_edge);
        let fits = self.drives.iter().enumerate().filter(|(_, drive)| holds(&drive.device.mount));
        fits.max_by_key(|(_, drive)| drive.device.mount.len()).map_or(0, |(at, _)| at)
    }

    pub(super) fn drive_of(&self, request: &Request) -> usize {
        match request.target() {
            Target::File(file) => file.drive as usize,
            Target::Path(_) if self.drives.len() == 1 => 0,
            Target::Path(path) => self.route(path),
        }
    }

    /// How long a request takes that is issued now. The host's ordinary stream draws once; so do faults from theirs.
    pub fn timing(&mut self, now: u64, request: &Request, rng: &mut ChaCha8Rng) -> Timing {
        let at = self.drive_of(request);
        let missed = self.missed(at, request);
        let throttled = matches!(request, Request::Write(..)) && self.throttled(at);
        let drive = &self.drives[at];
        let profile = &drive.device.profile;
        let (range, bytes, rate) = match request {
            Request::Write(_, _, data) => (profile.write_ns, data.len() as u64, profile.cache_bytes_per_second),
            Request::Read(file, start, len) => {
                let range = profile.miss_ns.filter(|_| missed > 0).unwrap_or(profile.read_ns);
                (range, drive.there(*file, *start, *len), profile.cache_bytes_per_second)
            }
            Request::Sync(_) => (profile.sync_ns, drive.model.dirty_bytes(), profile.sync_bytes_per_second),
            Request::SyncDir(_) => (profile.sync_ns, 0, profile.sync_bytes_per_second),
            _ => (profile.meta_ns, 0, profile.cache_bytes_per_second),
        };
        let wait = if throttled { profile.throttle_ns } else { 0 };
        let extra = carry(bytes, rate) + carry(missed, profile.miss_bytes_per_second) + wait;
        let took = (between(rng, range.0, range.1) + extra).max(1);
        let (took_ns, stuck, slowed) =
            if self.armed.is_empty() { (took, None, None) } else { self.delay(now, at, request, took, bytes) };
        let slowed = slowed.map(|fault| (fault, took));
        let uses_device = missed > 0 || matches!(request, Request::Sync(_) | Request::SyncDir(_));
        let wait_ns = if uses_device { self.drives[at].queue(now, took_ns) } else { 0 };
        Timing { wait_ns, took_ns, stuck, slowed }
    }

    /// A sync notes what it covers when it is issued.
    pub fn begin(&mut self, request: &Request) -> Option<Result<DriveMark, Failure>> {
        let at = self.drive_of(request);
        let drive = &mut self.drives[at];
        let mark = match request {
            Request::Sync(file) => drive.model.sync_begin(file.file),
            Request::SyncDir(path) => drive.model.sync_dir_begin(strip(&drive.device.mount, path)),
            _ => return None,
        };
        let mark = mark.map(|mark| DriveMark { drive: at as u32, mark });
        Some(mark.map_err(|kind| self.failure(at, request, kind)))
    }

    /// What an error of the model is to a process: a file that was open when its device went is a dead one.
    fn failure(&self, at: usize, request: &Request, kind: ErrorKind) -> Failure {
        let is_dead = matches!(request.target(), Target::File(_)) && kind == ErrorKind::NotFound;
        if is_dead || self.drives[at].removed { Failure::Device } else { Failure::Kind(kind) }
    }

    /// The instant of an operation.
    pub fn perform(&mut self, now: u64, request: Request, mark: Option<DriveMark>) -> Result<Reply, Failure> {
        let at = self.drive_of(&request);
        let harm = if self.armed.is_empty() { None } else { self.harm(now, at, &request, mark) };
        if let Some(reply) = harm {
            return reply;
        }
        if self.drives[at].removed {
            return Err(Failure::Device);
        }
        let reply = self.plain(now, at, &request, mark).map_err(|kind| self.failure(at, &request, kind));
        self.forget_freed(at);
        reply
    }

    /// What a request does where nothing goes wrong.
    pub(super) fn plain(
        &mut self,
        now: u64,
        at: usize,
        request: &Request,
        mark: Option<DriveMark>,
    ) -> Result<Reply, ErrorKind> {
        if self.drives.len() > 1 {
            self.check_mounts(at, request)?;
        }
        let Drive { device, model, .. } = &mut self.drives[at];
        let inner = |path| strip(&device.mount, path);
        match request {
            Request::CreateDir(path) => model.create_dir(inner(path), now)?,
            Request::RemoveDir(path) => model.remove_dir(inner(path), now)?,
            Request::List(path) => return model.list(inner(path)).map(Reply::Names),
            Request::Open(path, create) => {
                let file = model.open(inner(path), *create, now)?;
                return Ok(Reply::File(OpenFile { drive: at as u32, file }));
            }
            Request::Rename(from, to) => model.rename(inner(from), inner(to), now)?,
            Request::Remove(path) => model.remove(inner(path), now)?,
            Request::Len(file) => return model.len(file.file).map(Reply::Len),
            Request::Write(file, position, data) => {
                let start = position.map_or_else(|| model.len(file.file), Ok)?;
                model.write_piece(file.file, start, data, now)?;
                self.wrote(*file, start, data.len() as u64);
            }
            Request::Read(file, start, len) => {
                return model.read_at(file.file, *start, *len).map(Reply::Data);
            }
            Request::Truncate(file, len) => model.truncate(file.file, *len, now)?,
            Request::Sync(_) | Request::SyncDir(_) => model.sync_finish(mark.expect("a sync that was begun").mark),
        }
        Ok(Reply::Nothing)
    }

    /// Nothing moves between devices, and where one is mounted no name goes away.
    fn check_mounts(&self, at: usize, request: &Request) -> Result<(), ErrorKind> {
        let (from, to) = match request {
            Request::Rename(from, to) => (from, Some(to)),
            Request::RemoveDir(path) | Request::Remove(path) => (path, None),
            _ => return Ok(()),
        };
        let mounts = || self.drives.iter().map(|drive| &drive.device.mount).filter(|mount| !mount.is_empty());
        let busy = |path: &String| mounts().any(|mount| mount.strip_prefix(path.as_str()).is_some_and(at_edge));
        if to.into_iter().chain([from]).any(busy) {
            return Err(ErrorKind::ResourceBusy);
        }
        let crosses = to.is_some_and(|to| self.route(to) != at);
        if crosses { Err(ErrorKind::CrossesDevices) } else { Ok(()) }
    }

    fn throttled(&self, at: usize) -> bool {
        match self.hard_bytes {
            Some(hard) => self.drives.iter().map(|drive| drive.model.dirty_bytes()).sum::<u64>() > hard,
            None => self.drives[at].model.throttled(),
        }
    }

    fn keeps_account(&self, at: usize) -> bool {
        self.drives[at].device.profile.miss_ns.is_some()
    }

    /// Whether nothing special is true of a file's device: no fault is set, and all that it holds is in memory.
    pub fn is_plain(&self, file: OpenFile) -> bool {
        let at = file.drive as usize;
        self.armed.is_empty() && !self.drives[at].removed && !self.keeps_account(at)
    }

    /// The bytes of a file that is plain; `None` if it is not open any more.
    pub fn read_cached(&self, file: OpenFile, position: u64, len: u32) -> Option<Bytes> {
        assert!(self.is_plain(file), "only what is surely in memory");
        self.drives[file.drive as usize].model.read_at(file.file, position, len).ok()
    }

    /// How many bytes of a read the device has to give, counted in whole pieces; they are in memory from now on.
    fn missed(&mut self, at: usize, request: &Request) -> u64 {
        let Request::Read(file, start, len) = request else { return 0 };
        if !self.keeps_account(at) {
            return 0;
        }
        let len = self.drives[at].there(*file, *start, *len);
        let touched = pieces(*start, len).filter(|piece| !self.cache.touch((file.drive, file.file.inode, *piece)));
        let missed = touched.count() as u64 * super::cache::PIECE;
        self.shrink();
        missed
    }

    /// Written bytes are in memory.
    pub(super) fn wrote(&mut self, file: OpenFile, start: u64, len: u64) {
        if self.keeps_account(file.drive as usize) {
            for piece in pieces(start, len) {
                self.cache.touch((file.drive, file.file.inode, piece));
            }
            self.shrink();
        }
    }

    /// Evicts the oldest clean pieces until memory suffices. Dirty ones stay: they count as used again.
    fn shrink(&mut self) {
        let mut dirty = 0;
        while self.cache.bytes() > self.memory_bytes && dirty * super::cache::PIECE <= self.memory_bytes {
            let Some((drive, inode, piece)) = self.cache.oldest() else { return };
            let (start, end) = (piece * super::cache::PIECE, (piece + 1) * super::cache::PIECE);
            if self.drives[drive as usize].model.evict(inode, start, end) {
                self.cache.remove((drive, inode, piece));
            } else {
                self.cache.touch((drive, inode, piece));
                dirty += 1;
            }
        }
    }

    /// Memory of files that are gone is free.
    fn forget_freed(&mut self, at: usize) {
        for inode in std::mem::take(&mut self.drives[at].model.freed) {
            self.cache.remove_file(at as u32, inode);
        }
    }

    /// Evicts all that is clean, on one device or on all.
    pub fn drop_caches(&mut self, only: Option<usize>) {
        for (at, drive) in self.drives.iter_mut().enumerate() {
            if only.is_none_or(|only| only == at) {
                drive.model.evict_all();
            }
        }
        for (drive, inode, piece) in self.cache.pieces(only.map(|at| at as u32)) {
            let (start, end) = (piece * super::cache::PIECE, (piece + 1) * super::cache::PIECE);
            if self.drives[drive as usize].model.evict(inode, start, end) {
                self.cache.remove((drive, inode, piece));
            }
        }
    }

    /// Closes what one open gave.
    pub fn close(&mut self, file: OpenFile) {
        self.drives[file.drive as usize].model.close(file.file);
        self.forget_freed(file.drive as usize);
    }

    /// The process died.
    pub fn close_all(&mut self) {
        for at in 0..self.drives.len() {
            self.drives[at].model.close_all();
            self.forget_freed(at);
        }
    }

    /// A write under way is cut by a kill, perhaps: how many bytes arrived.
    pub fn cut(&mut self, request: &Request, now: u64, rng: &mut ChaCha8Rng) -> Option<u64> {
        let Request::Write(file, position, data) = request else { return None };
        let drive = &mut self.drives[file.drive as usize];
        let cut = chance(rng, drive.device.profile.cut_ppm) && !drive.removed;
        cut.then(|| drive.model.kill_cut(file.file, *position, data, now, rng).unwrap_or(0))
    }

    /// Power is lost, for all devices at once.
    pub fn power_loss(&mut self, now: u64, rng: &mut ChaCha8Rng) -> PowerLoss {
        let mut all = PowerLoss::default();
        for at in 0..self.drives.len() {
            let loss = self.unplug(at, now, rng);
            all.files += loss.files;
            all.lost_bytes += loss.lost_bytes;
            all.kept_bytes += loss.kept_bytes;
            all.lost_entries += loss.lost_entries;
        }
        all
    }

    /// One device loses power, and memory what it held of it.
    fn unplug(&mut self, at: usize, now: u64, rng: &mut ChaCha8Rng) -> PowerLoss {
        let drive = &mut self.drives[at];
        drive.busy.clear();
        drive.model.freed.clear();
        let loss = drive.model.power_loss(now, rng);
        self.cache.pieces(Some(at as u32)).into_iter().for_each(|piece| self.cache.remove(piece));
        loss
    }

    /// The device vanishes, with what of it was only in memory.
    pub(super) fn remove_device(&mut self, at: usize, now: u64) {
        let mut rng = self.rng.clone();
        self.unplug(at, now, &mut rng);
        self.rng = rng;
        self.drives[at].removed = true;
    }

    /// New, empty devices.
    pub fn wipe(&mut self) {
        (0..self.drives.len()).for_each(|at| self.drives[at].model.wipe());
        self.cache = PageCache::default();
        self.make_mounts();
    }

    /// Every file that has a name, with its length, sorted by path.
    pub fn files(&self) -> Vec<(String, u64)> {
        let full = |drive: &Drive| {
            let mount = drive.device.mount.clone();
            drive.model.files().into_iter().map(move |(path, len)| (join(&mount, &path), len)).collect::<Vec<_>>()
        };
        let mut files: Vec<(String, u64)> = self.drives.iter().flat_map(full).collect();
        files.sort();
        files
    }

    /// How full each device is.
    pub fn uses(&self) -> Vec<DiskUse> {
        let one = |drive: &Drive| DiskUse {
            device: drive.device.name.clone(),
            used: drive.model.used_bytes(),
            capacity: drive.model.config().capacity,
            dirty: drive.model.dirty_bytes(),
        };
        self.drives.iter().map(one).collect()
    }

    /// Bytes of files in memory, as far as account is kept.
    pub fn cached_bytes(&self) -> u64 {
        self.cache.bytes()
    }

    /// True if nobody would miss them: no file, no fault.
    pub fn is_fresh(&self) -> bool {
        self.armed.is_empty() && self.drives.iter().all(|drive| drive.model.has_no_file())
    }

    /// What held or slowed the devices down is over: nobody waits behind it any more.
    pub fn forget_queues(&mut self) {
        self.drives.iter_mut().for_each(|drive| drive.busy.clear());
    }

    pub(super) fn kind_delay(kind: DiskFaultKind, took: u64, bytes: u64) -> u64 {
        match kind {
            DiskFaultKind::Slow { factor } => (took as f64 * factor) as u64,
            DiskFaultKind::Throttled { bytes_per_second } => took.saturating_add(carry(bytes, bytes_per_second)),
            _ => took,
        }
    }
}

impl Drive {
    /// How many of the bytes that a read asks for are there.
    fn there(&self, file: OpenFile, start: u64, len: u32) -> u64 {
        let end = self.model.len(file.file).unwrap_or(0);
        u64::from(len).min(end.saturating_sub(start))
    }

    /// Takes a place in the device's queue; answers how long until its work starts.
    fn queue(&mut self, now: u64, took: u64) -> u64 {
        let depth = self.device.profile.queue_depth as usize;
        if depth == 0 {
            return 0;
        }
        self.busy.retain(|done| *done > now);
        self.busy.sort_unstable();
        let behind = self.busy.len().checked_sub(depth);
        let start = behind.map_or(now, |ahead| self.busy[ahead]);
        self.busy.push(start.saturating_add(took));
        start - now
    }
}

fn carry(bytes: u64, rate: u64) -> u64 {
    bytes.saturating_mul(1_000_000_000) / rate.max(1)
}

/// True behind a whole part of a path.
fn at_edge(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with('/')
}

/// The path as the device has it.
pub(super) fn strip<'a>(mount: &str, path: &'a str) -> &'a str {
    match path.strip_prefix(mount) {
        Some(rest) if !mount.is_empty() => rest.strip_prefix('/').unwrap_or(rest),
        _ => path,
    }
}

/// The path as the host has it.
pub(super) fn join(mount: &str, path: &str) -> String {
    match (mount.is_empty(), path.is_empty()) {
        (true, _) => path.to_owned(),
        (false, true) => mount.to_owned(),
        (false, false) => format!("{mount}/{path}"),
    }
}
