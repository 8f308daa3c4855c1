//! Faults at work: which of those that are set strikes an operation or a device, and what it does to bytes and time.

use super::cache::PIECE;
use super::drives::{DriveMark, Drives, OpenFile, join, strip};
use super::fault::{Damage, DamageKind, DiskFault, DiskFaultError, DiskFaultId, DiskFaultKind, When};
use super::request::{Failure, Reply, Request, Target};
use crate::event::WorldEvent;
use crate::rng::below;
use bytes::Bytes;
use std::io::ErrorKind;
use std::ops::Range;

/// Tries for a place that suits a fault.
const TRIES: u32 = 64;
/// What a device addresses, bytes.
const SECTOR: u64 = 512;

/// A fault that is set.
#[derive(Debug)]
pub(super) struct Armed {
    id: DiskFaultId,
    fault: DiskFault,
    /// Operations that matched.
    seen: u64,
    /// Its episode began.
    open: bool,
    /// It struck, and will not again.
    spent: bool,
}

/// A place on a device.
struct Spot {
    inode: u32,
    path: String,
    range: Range<u64>,
}

impl Drives {
    /// Sets a fault. Whoever does calls [`Drives::tick`] then, at its begin and at its end.
    pub fn arm(&mut self, fault: DiskFault, now_ns: u64) -> Result<DiskFaultId, DiskFaultError> {
        fault.check()?;
        if let When::During { end_ns: Some(end_ns), .. } = fault.when
            && end_ns <= now_ns
        {
            return Err(DiskFaultError::Past { end_ns, now_ns });
        }
        if let Some(device) = &fault.device {
            let known: Vec<String> = self.drives.iter().map(|drive| drive.device.name.clone()).collect();
            if !known.contains(device) {
                return Err(DiskFaultError::NoDevice { device: device.clone(), known });
            }
        }
        self.next_fault += 1;
        let id = DiskFaultId(self.next_fault);
        self.armed.push(Armed { id, fault, seen: 0, open: false, spent: false });
        Ok(id)
    }

    /// Takes a fault back; false if it is over already. A device that it had removed returns.
    pub fn disarm(&mut self, id: DiskFaultId) -> bool {
        let Some(place) = self.armed.iter().position(|armed| armed.id == id) else { return false };
        let armed = self.armed.remove(place);
        self.end(&armed);
        true
    }

    /// Takes all faults back.
    pub fn disarm_all(&mut self) {
        for armed in std::mem::take(&mut self.armed) {
            self.end(&armed);
        }
    }

    /// True while operations may be stuck in it.
    pub fn is_armed(&self, id: DiskFaultId) -> bool {
        self.armed.iter().any(|armed| armed.id == id)
    }

    /// Episodes begin and end.
    pub fn tick(&mut self, now: u64) {
        let mut begun = vec![];
        for armed in &mut self.armed {
            let When::During { begin_ns, .. } = armed.fault.when else { continue };
            if begin_ns <= now && !armed.open {
                armed.open = true;
                begun.push(armed.fault.clone());
            }
        }
        for fault in begun {
            self.note_episode(&fault, true);
            self.act(now, &fault);
        }
        let is_over = |armed: &mut Armed| match armed.fault.when {
            When::During { end_ns, .. } => armed.open && end_ns.is_some_and(|end| end <= now),
            When::Nth { .. } => false,
        };
        let over: Vec<Armed> = self.armed.extract_if(.., is_over).collect();
        over.iter().for_each(|armed| self.end(armed));
    }

    fn end(&mut self, armed: &Armed) {
        if armed.fault.kind == DiskFaultKind::Removed {
            for at in self.devices_of(&armed.fault) {
                self.drives[at].removed &= self.is_removed_by_another(at);
            }
        }
        if armed.open {
            self.note_episode(&armed.fault, false);
        }
    }

    fn is_removed_by_another(&self, at: usize) -> bool {
        let device = &self.drives[at].device.name;
        self.armed.iter().any(|armed| {
            let is_on = armed.fault.kind == DiskFaultKind::Removed && (armed.open || armed.spent);
            is_on && armed.fault.device.as_ref().is_none_or(|only| only == device)
        })
    }

    fn note_episode(&mut self, fault: &DiskFault, begins: bool) {
        let (host, name) = (self.host.clone(), fault.kind.name().to_owned());
        let device = fault.device.clone().unwrap_or_default();
        self.happened.push(if begins {
            WorldEvent::DiskFaultBegan { host, device, fault: name }
        } else {
            WorldEvent::DiskFaultEnded { host, device, fault: name }
        });
    }

    fn devices_of(&self, fault: &DiskFault) -> Vec<usize> {
        let fits = |name: &str| fault.device.as_deref().is_none_or(|device| device == name);
        (0..self.drives.len()).filter(|at| fits(&self.drives[*at].device.name)).collect()
    }

    /// What happens to a device at one instant, if the fault is of that kind.
    fn act(&mut self, now: u64, fault: &DiskFault) {
        let devices = self.devices_of(fault);
        match fault.kind {
            DiskFaultKind::BitRot { bits } => self.rot(now, &devices, &fault.path, bits),
            DiskFaultKind::Removed => {
                for at in devices {
                    self.damage_all(now, at, DamageKind::Removed);
                    self.remove_device(at, now);
                }
            }
            DiskFaultKind::Wiped => {
                for at in devices {
                    self.damage_all(now, at, DamageKind::Wiped);
                    self.drives[at].model.wipe();
                    self.cache.pieces(Some(at as u32)).into_iter().for_each(|piece| self.cache.remove(piece));
                }
                self.make_mounts();
            }
            _ => {}
        }
    }

    /// The faults that strike this operation, in the order in which they were set; each counts it.
    fn strikes(&mut self, now: u64, at: usize, request: &Request, delays: bool) -> Vec<(DiskFaultId, DiskFault)> {
        let paths = self.paths_of(at, request);
        let device = &self.drives[at].device.name;
        let mut strikes = vec![];
        for armed in &mut self.armed {
            let DiskFault { kind, when, path, device: only } = &armed.fault;
            let concerns = kind.is_delay() == delays
                && concerns(*kind, request)
                && only.as_ref().is_none_or(|only| only == device)
                && (path.is_empty() || paths.iter().any(|found| found.contains(path.as_str())));
            if !concerns || armed.spent {
                continue;
            }
            armed.seen += 1;
            let strikes_now = match *when {
                When::Nth { operation } => armed.seen == operation,
                When::During { .. } if kind.is_act() => false,
                When::During { begin_ns, end_ns, probability } => {
                    let is_on = begin_ns <= now && end_ns.is_none_or(|end| now < end);
                    is_on && (probability >= 1.0 || below(&mut self.rng, PARTS) < (probability * PARTS as f64) as u64)
                }
            };
            armed.spent |= strikes_now && matches!(when, When::Nth { .. });
            if strikes_now {
                strikes.push((armed.id, armed.fault.clone()));
            }
        }
        strikes
    }

    /// How long an operation takes, what it is stuck in, and what slows it down for as long as that lasts.
    pub(super) fn delay(
        &mut self,
        now: u64,
        at: usize,
        request: &Request,
        took: u64,
        bytes: u64,
    ) -> (u64, Option<DiskFaultId>, Option<DiskFaultId>) {
        let (mut took, mut stuck, mut slowed) = (took, None, None);
        for (id, fault) in self.strikes(now, at, request, true) {
            took = Self::kind_delay(fault.kind, took, bytes);
            if fault.kind == DiskFaultKind::Stuck {
                stuck = Some(id);
            }
            if matches!(fault.when, When::Nth { .. }) {
                self.note_strike(at, request, fault.kind);
            } else {
                slowed = Some(id);
            }
        }
        (took, stuck, slowed)
    }

    /// What goes wrong with an operation; `None`: nothing, or nothing that it would notice by itself.
    pub(super) fn harm(
        &mut self,
        now: u64,
        at: usize,
        request: &Request,
        mark: Option<DriveMark>,
    ) -> Option<Result<Reply, Failure>> {
        for (_, fault) in self.strikes(now, at, request, false) {
            if fault.kind.is_act() {
                self.note_strike(at, request, fault.kind);
                let device = Some(self.drives[at].device.name.clone());
                self.act(now, &DiskFault { device, ..fault });
                continue;
            }
            let once = matches!(fault.when, When::Nth { .. });
            let passes = matches!(fault.kind, DiskFaultKind::NoSpace { fill } if !once && self.fits(at, request, fill));
            if !passes && !self.drives[at].removed {
                self.note_strike(at, request, fault.kind);
                return Some(self.struck(now, at, request, mark, fault.kind));
            }
        }
        None
    }

    fn struck(
        &mut self,
        now: u64,
        at: usize,
        request: &Request,
        mark: Option<DriveMark>,
        kind: DiskFaultKind,
    ) -> Result<Reply, Failure> {
        match (kind, request) {
            (DiskFaultKind::NoSpace { .. }, _) => Err(Failure::Kind(ErrorKind::StorageFull)),
            (DiskFaultKind::SyncError | DiskFaultKind::LyingSync, _) => self.bad_sync(now, at, request, mark, kind),
            (DiskFaultKind::ShortWrite, Request::Write(file, position, data)) => {
                self.short_write(now, *file, *position, data)
            }
            (DiskFaultKind::MisdirectedWrite, Request::Write(file, position, data)) => {
                self.misdirect_write(now, *file, *position, data)
            }
            (DiskFaultKind::MisdirectedRead, Request::Read(file, start, len)) => {
                self.misdirect_read(now, *file, *start, *len)
            }
            _ => Err(Failure::Device),
        }
    }

    /// Whether what a request needs is free on a device of which others use the part `fill`.
    fn fits(&self, at: usize, request: &Request, fill: f64) -> bool {
        let model = &self.drives[at].model;
        let capacity = model.config().capacity;
        let others = (capacity as f64 * fill) as u64;
        let free = capacity.saturating_sub(others).saturating_sub(model.used_bytes());
        let grown = |file: &OpenFile, end: u64| end.saturating_sub(model.len(file.file).unwrap_or(end));
        match request {
            Request::Write(_, None, data) => data.len() as u64 <= free,
            Request::Write(file, Some(start), data) => grown(file, start.saturating_add(data.len() as u64)) <= free,
            Request::Truncate(file, len) => grown(file, *len) <= free,
            Request::Open(path, true) | Request::CreateDir(path) => {
                free > 0 || model.exists(strip(&self.drives[at].device.mount, path))
            }
            _ => true,
        }
    }

    fn bad_sync(
        &mut self,
        now: u64,
        at: usize,
        request: &Request,
        mark: Option<DriveMark>,
        kind: DiskFaultKind,
    ) -> Result<Reply, Failure> {
        let mark = mark.expect("a sync that was begun").mark;
        let path = self.paths_of(at, request).swap_remove(0);
        let lies = kind == DiskFaultKind::LyingSync;
        let is_file = matches!(request, Request::Sync(_));
        let model = &mut self.drives[at].model;
        let ranges = match (lies, is_file) {
            (true, true) => model.covered(mark),
            (false, true) => model.sync_fail(mark),
            (_, false) => vec![],
        };
        let damage = if lies { DamageKind::NotDurable } else { DamageKind::Forgotten };
        if lies && !is_file {
            self.note_damage(now, at, &path, 0..0, DamageKind::NamesNotDurable);
        }
        for (start, len) in ranges {
            self.note_damage(now, at, &path, start..start + len, damage);
        }
        if lies { Ok(Reply::Nothing) } else { Err(Failure::Device) }
    }

    fn short_write(&mut self, now: u64, file: OpenFile, position: Option<u64>, data: &Bytes) -> Result<Reply, Failure> {
        let at = file.drive as usize;
        let cut = if data.is_empty() { 0 } else { below(&mut self.rng, data.len() as u64) };
        let start = position.map_or_else(|| self.drives[at].model.len(file.file), Ok).map_err(|_| Failure::Device)?;
        let request = Request::Write(file, Some(start), data.slice(..cut as usize));
        self.plain(now, at, &request, None)?;
        if cut > 0 {
            let path = self.paths_of(at, &request).swap_remove(0);
            self.note_damage(now, at, &path, start..start + cut, DamageKind::Partial);
        }
        Err(Failure::Kind(ErrorKind::WriteZero))
    }

    fn misdirect_write(
        &mut self,
        now: u64,
        file: OpenFile,
        position: Option<u64>,
        data: &Bytes,
    ) -> Result<Reply, Failure> {
        let (at, len) = (file.drive as usize, data.len() as u64);
        let start = position.map_or_else(|| self.drives[at].model.len(file.file), Ok).map_err(|_| Failure::Device)?;
        self.drives[at].model.write_lost(file.file, start, data, now)?;
        self.wrote(file, start, len);
        let path = self.paths_of(at, &Request::Len(file)).swap_remove(0);
        self.note_damage(now, at, &path, start..start + len, DamageKind::Missing);
        for _ in 0..TRIES {
            let Some(spot) = self.spot(at, len) else { break };
            let is_self = spot.inode == file.file.inode && spot.range.start < start + len && start < spot.range.end;
            let count = (spot.range.end - spot.range.start) as usize;
            let put = |bytes: &mut [u8]| bytes.copy_from_slice(&data[..count]);
            if !is_self && self.drives[at].model.damage(spot.inode, spot.range.start, put, count as u64) {
                self.cache.remove((file.drive, spot.inode, spot.range.start / PIECE));
                self.note_damage(now, at, &spot.path, spot.range, DamageKind::Overwritten);
                break;
            }
        }
        Ok(Reply::Nothing)
    }

    fn misdirect_read(&mut self, now: u64, file: OpenFile, start: u64, len: u32) -> Result<Reply, Failure> {
        let at = file.drive as usize;
        let right = self.drives[at].model.read_at(file.file, start, len)?.to_vec();
        for _ in 0..TRIES {
            let Some(spot) = self.spot(at, right.len() as u64) else { break };
            let count = (spot.range.end - spot.range.start) as u32;
            let mut wrong = self.drives[at].model.peek(spot.inode, spot.range.start, count).to_vec();
            wrong.resize(right.len(), 0);
            if wrong != right {
                let path = self.paths_of(at, &Request::Len(file)).swap_remove(0);
                self.note_damage(now, at, &path, start..start + right.len() as u64, DamageKind::Misread);
                return Ok(Reply::Data(wrong.into()));
            }
        }
        Ok(Reply::Data(right.into()))
    }

    /// A drawn sector of a drawn file of a device, and up to `len` bytes from there.
    fn spot(&mut self, at: usize, len: u64) -> Option<Spot> {
        let mut files = self.named(&[at], "");
        if files.is_empty() || len == 0 {
            return None;
        }
        let (_, path, inode, end) = files.swap_remove(below(&mut self.rng, files.len() as u64) as usize);
        let start = below(&mut self.rng, end.div_ceil(SECTOR)) * SECTOR;
        Some(Spot { inode, path, range: start..end.min(start + len) })
    }

    /// Files with a name and at least one byte: device, path, inode, length.
    fn named(&self, devices: &[usize], path: &str) -> Vec<(usize, String, u32, u64)> {
        let mut named = vec![];
        for at in devices {
            let drive = &self.drives[*at];
            for (inner, inode) in drive.model.named() {
                let full = join(&drive.device.mount, &inner);
                let len = drive.model.peek(inode, 0, u32::MAX).len() as u64;
                if len > 0 && full.contains(path) {
                    named.push((*at, full, inode, len));
                }
            }
        }
        named
    }

    /// Flips bits of one file; the next file is tried where no clean byte is found.
    fn rot(&mut self, now: u64, devices: &[usize], path: &str, bits: u32) {
        let mut files = self.named(devices, path);
        let mut left = bits;
        while left > 0 && !files.is_empty() {
            let (at, path, inode, len) = files.swap_remove(below(&mut self.rng, files.len() as u64) as usize);
            for _ in 0..TRIES * left {
                let (place, bit) = (below(&mut self.rng, len), below(&mut self.rng, 8));
                if self.drives[at].model.damage(inode, place, |bytes| bytes[0] ^= 1 << bit, 1) {
                    self.cache.remove((at as u32, inode, place / PIECE));
                    self.note_damage(now, at, &path, place..place + 1, DamageKind::BitRot);
                    left -= 1;
                }
                if left == 0 {
                    break;
                }
            }
            if left < bits {
                return;
            }
        }
    }

    fn damage_all(&mut self, now: u64, at: usize, kind: DamageKind) {
        for (_, path, _, len) in self.named(&[at], "") {
            self.note_damage(now, at, &path, 0..len, kind);
        }
    }

    fn note_damage(&mut self, now: u64, at: usize, path: &str, range: Range<u64>, kind: DamageKind) {
        let damage = Damage {
            host: self.host.clone(),
            device: self.drives[at].device.name.clone(),
            path: path.to_owned(),
            start: range.start,
            end: range.end,
            kind,
            at_ns: now,
        };
        self.atlas.push(damage.clone());
        self.happened.push(WorldEvent::DiskDamaged { damage });
    }

    fn note_strike(&mut self, at: usize, request: &Request, kind: DiskFaultKind) {
        let path = self.paths_of(at, request).swap_remove(0);
        let device = self.drives[at].device.name.clone();
        let fault = kind.name().to_owned();
        self.happened.push(WorldEvent::DiskFaultStruck { host: self.host.clone(), device, path, fault });
    }

    /// The paths that an operation names, or the one of its file (empty if that has none); at least one.
    fn paths_of(&self, at: usize, request: &Request) -> Vec<String> {
        match (request, request.target()) {
            (Request::Rename(from, to), _) => vec![from.clone(), to.clone()],
            (_, Target::Path(path)) => vec![path.to_owned()],
            (_, Target::File(file)) => {
                let drive = &self.drives[at];
                let path = drive.model.path_of(file.file.inode);
                vec![path.map(|path| join(&drive.device.mount, &path)).unwrap_or_default()]
            }
        }
    }
}

/// Grain of probabilities.
const PARTS: u64 = 1_000_000_000;

/// Whether a fault of that kind is about such an operation.
fn concerns(kind: DiskFaultKind, request: &Request) -> bool {
    let is_sync = matches!(request, Request::Sync(_) | Request::SyncDir(_));
    let is_write = matches!(request, Request::Write(..));
    match kind {
        DiskFaultKind::ReadError | DiskFaultKind::MisdirectedRead => matches!(request, Request::Read(..)),
        DiskFaultKind::WriteError => is_write || matches!(request, Request::Truncate(..)),
        DiskFaultKind::ShortWrite | DiskFaultKind::MisdirectedWrite => is_write,
        DiskFaultKind::SyncError | DiskFaultKind::LyingSync => is_sync,
        DiskFaultKind::NoSpace { .. } => {
            let makes = matches!(request, Request::Open(_, true) | Request::CreateDir(_) | Request::Truncate(..));
            is_write || makes
        }
        DiskFaultKind::Throttled { .. } => is_write || is_sync || matches!(request, Request::Read(..)),
        DiskFaultKind::BitRot { .. } | DiskFaultKind::Stuck | DiskFaultKind::Slow { .. } => true,
        DiskFaultKind::Removed | DiskFaultKind::Wiped => true,
    }
}
