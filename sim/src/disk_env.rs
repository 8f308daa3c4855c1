//! Disks in time. An operation is issued at the first poll of its future, takes effect at one seeded instant, in the world,
//! and its caller is told later. Dropping the future cancels nothing; a kill before the instant does.

use crate::disk::{DiskConfig, FileId, PowerLoss, SyncMark};
use crate::hosts::Machine;
use crate::limits::{Descriptor, Memory};
use crate::rng::{between, chance};
use crate::slab::{Id, Slab};
use crate::timer::Event;
use crate::trace::{Kind, sample};
use crate::world::{Inner, try_with, with};
use bytes::Bytes;
use klamm_env::{BoxFuture, Disk, File, OpenMode};
use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// How fast a disk is. Ranges in nanoseconds, drawn evenly.
#[derive(Clone, Debug)]
pub struct DiskProfile {
    /// A write into the page cache, without its bytes.
    pub write_ns: (u64, u64),
    /// A read, without its bytes.
    pub read_ns: (u64, u64),
    /// A sync, without the pending bytes that it carries.
    pub sync_ns: (u64, u64),
    /// Opening, renaming, removing, listing.
    pub meta_ns: (u64, u64),
    /// Bytes a second between process and page cache.
    pub cache_bytes_per_second: u64,
    /// Bytes a second between page cache and platter.
    pub sync_bytes_per_second: u64,
    /// What a writer waits beyond the hard limit of pending bytes.
    pub throttle_ns: u64,
    /// Of writes under way when their process is killed, so many in a million leave a part of themselves.
    pub cut_ppm: u32,
    /// Size and habits.
    pub model: DiskConfig,
}

impl Default for DiskProfile {
    fn default() -> Self {
        Self {
            write_ns: (5_000, 20_000),
            read_ns: (10_000, 60_000),
            sync_ns: (300_000, 3_000_000),
            meta_ns: (5_000, 40_000),
            cache_bytes_per_second: 4_000_000_000,
            sync_bytes_per_second: 500_000_000,
            throttle_ns: 50_000_000,
            cut_ppm: 300_000,
            model: DiskConfig::default(),
        }
    }
}

/// What is asked of a disk.
#[derive(Debug)]
pub(crate) enum Request {
    CreateDir(String),
    RemoveDir(String),
    List(String),
    Open(String, bool),
    Rename(String, String),
    Remove(String),
    SyncDir(String),
    Len(FileId),
    /// At a position, or at the end.
    Write(FileId, Option<u64>, Bytes),
    Read(FileId, u64, u32),
    Truncate(FileId, u64),
    Sync(FileId),
}

/// What it answers.
#[derive(Debug)]
enum Reply {
    Nothing,
    Names(Vec<String>),
    File(FileId),
    Len(u64),
    Data(Bytes),
}

/// An operation under way.
#[derive(Debug)]
pub(crate) struct Op {
    host: u32,
    request: Option<Request>,
    mark: Option<SyncMark>,
    reply: Option<Result<Reply, ErrorKind>>,
    is_done: bool,
    is_wanted: bool,
    waker: Option<Waker>,
}

/// All operations under way, on all hosts.
#[derive(Debug)]
pub(crate) struct DiskOps {
    pub ops: Slab<Op>,
}

impl Default for DiskOps {
    fn default() -> Self {
        Self { ops: Slab::new() }
    }
}

impl Inner {
    /// Issues an operation. `None`: whoever asks is dead, and will never know.
    fn issue(&mut self, host: u32, request: Request) -> Option<Id> {
        if self.is_zombie(host) || self.over {
            return None;
        }
        let now = self.now;
        let machine = &mut self.machines[host as usize];
        let took = duration(machine, &self.config.disk, &request).max(1);
        let effect = now + between(&mut machine.disk_rng, 1, took);
        let marked = match &request {
            Request::Sync(file) => Some(machine.disk.sync_begin(*file)),
            Request::SyncDir(path) => Some(machine.disk.sync_dir_begin(path)),
            _ => None,
        };
        let (mark, reply) = match marked {
            Some(Ok(mark)) => (Some(mark), None),
            Some(Err(error)) => (None, Some(Err(error))),
            None => (None, None),
        };
        let op = Op { host, request: Some(request), mark, reply, is_done: false, is_wanted: true, waker: None };
        let id = self.disks.ops.insert_with(|_| op);
        self.timers.push(effect, Event::DiskEffect(id));
        self.timers.push(now + took, Event::DiskDone(id));
        Some(id)
    }

    /// The instant of an operation.
    pub fn disk_effect(&mut self, id: Id) {
        let now = self.now;
        let op = self.disks.ops.get_mut(id).expect("an operation under way");
        let Some(request) = op.request.take() else { return };
        let host = op.host;
        let digest = digest(&request);
        self.trace.note(now, Kind::Disk, [u64::from(host), digest, 0], || format!("{host} {}", describe(&request)));
        if op.reply.is_none() {
            let reply = perform(&mut self.machines[host as usize], now, request, op.mark);
            op.reply = Some(reply);
        }
    }

    /// The caller of an operation is told.
    pub fn disk_done(&mut self, id: Id) {
        let op = self.disks.ops.get_mut(id).expect("an operation under way");
        op.is_done = true;
        let waker = op.waker.take();
        self.wakers.extend(waker);
        if !op.is_wanted {
            self.end_op(id);
        }
    }

    /// Forgets an operation that nobody waits for; what it opened is closed.
    fn end_op(&mut self, id: Id) {
        let Some(op) = self.disks.ops.remove(id) else { return };
        if let Some(Ok(Reply::File(file))) = op.reply {
            self.machines[op.host as usize].disk.close(file);
        }
    }

    fn poll_disk(&mut self, id: Id, waker: &Waker) -> Result<Result<Reply, ErrorKind>, Option<Waker>> {
        let op = self.disks.ops.get_mut(id).expect("an operation that somebody waits for");
        if !op.is_done {
            return Err(op.waker.replace(waker.clone()));
        }
        let op = self.disks.ops.remove(id).expect("an operation that was just seen");
        Ok(op.reply.expect("an operation that is done had its effect, or was voided"))
    }

    fn forget_disk(&mut self, id: Id) -> Option<Waker> {
        let op = self.disks.ops.get_mut(id)?;
        op.is_wanted = false;
        let waker = op.waker.take();
        if op.is_done {
            self.end_op(id);
        }
        waker
    }

    /// The process of a host died: what had no effect yet never has, but a write may leave a part of itself.
    pub fn kill_disk(&mut self, host: u32) {
        let (now, ppm) = (self.now, self.config.disk.cut_ppm);
        for request in self.void_ops(host) {
            let machine = &mut self.machines[host as usize];
            let Request::Write(file, position, data) = request else { continue };
            if chance(&mut machine.disk_rng, ppm) {
                let cut = machine.disk.kill_cut(file, position, &data, now, &mut machine.disk_rng).unwrap_or(0);
                self.trace.note(now, Kind::Disk, [u64::from(host), cut, 1], || format!("{host} cut write at {cut}"));
            }
        }
        self.machines[host as usize].disk.close_all();
    }

    /// A host lost power.
    pub fn power_off_disk(&mut self, host: u32) -> PowerLoss {
        self.void_ops(host);
        let machine = &mut self.machines[host as usize];
        let loss = machine.disk.power_loss(self.now, &mut machine.disk_rng);
        let words = [u64::from(host), loss.lost_bytes, loss.kept_bytes];
        self.trace.note(self.now, Kind::Disk, words, || format!("{host} {loss:?}"));
        loss
    }

    /// Takes away all that had no effect yet, in the order in which it was issued.
    fn void_ops(&mut self, host: u32) -> Vec<Request> {
        let ids = self.disks.ops.ids(|op| op.host == host && op.request.is_some());
        let void = |id| {
            let op = self.disks.ops.get_mut(id).expect("a listed operation");
            op.reply = Some(Err(ErrorKind::Other));
            op.request.take()
        };
        ids.into_iter().filter_map(void).collect()
    }
}

fn duration(machine: &mut Machine, profile: &DiskProfile, request: &Request) -> u64 {
    let carry = |bytes: u64, rate: u64| bytes.saturating_mul(1_000_000_000) / rate.max(1);
    let (range, extra) = match request {
        Request::Write(_, _, data) => {
            let wait = if machine.disk.throttled() { profile.throttle_ns } else { 0 };
            (profile.write_ns, carry(data.len() as u64, profile.cache_bytes_per_second) + wait)
        }
        Request::Read(_, _, len) => (profile.read_ns, carry(u64::from(*len), profile.cache_bytes_per_second)),
        Request::Sync(_) => (profile.sync_ns, carry(machine.disk.dirty_bytes(), profile.sync_bytes_per_second)),
        Request::SyncDir(_) => (profile.sync_ns, 0),
        _ => (profile.meta_ns, 0),
    };
    between(&mut machine.disk_rng, range.0, range.1) + extra
}

fn perform(machine: &mut Machine, now: u64, request: Request, mark: Option<SyncMark>) -> Result<Reply, ErrorKind> {
    let disk = &mut machine.disk;
    match request {
        Request::CreateDir(path) => disk.create_dir(&path, now)?,
        Request::RemoveDir(path) => disk.remove_dir(&path, now)?,
        Request::List(path) => return disk.list(&path).map(Reply::Names),
        Request::Open(path, create) => return disk.open(&path, create, now).map(Reply::File),
        Request::Rename(from, to) => disk.rename(&from, &to, now)?,
        Request::Remove(path) => disk.remove(&path, now)?,
        Request::Len(file) => return disk.len(file).map(Reply::Len),
        Request::Write(file, None, data) => disk.append(file, &data, now)?,
        Request::Write(file, Some(position), data) => disk.write_at(file, position, &data, now)?,
        Request::Read(file, at, len) => {
            return disk.read_at(file, at, len).map(|data| Reply::Data(Bytes::copy_from_slice(data)));
        }
        Request::Truncate(file, len) => disk.truncate(file, len, now)?,
        Request::Sync(_) | Request::SyncDir(_) => disk.sync_finish(mark.expect("a sync that was begun")),
    }
    Ok(Reply::Nothing)
}

fn digest(request: &Request) -> u64 {
    match request {
        Request::CreateDir(path) => sample(path.as_bytes()),
        Request::RemoveDir(path) => 1 ^ sample(path.as_bytes()),
        Request::List(path) => 2 ^ sample(path.as_bytes()),
        Request::Open(path, _) => 3 ^ sample(path.as_bytes()),
        Request::Rename(from, to) => sample(from.as_bytes()).rotate_left(7) ^ sample(to.as_bytes()),
        Request::Remove(path) => 4 ^ sample(path.as_bytes()),
        Request::SyncDir(path) => 5 ^ sample(path.as_bytes()),
        Request::Write(_, position, data) => sample(data) ^ position.unwrap_or(6),
        Request::Read(_, position, len) => position << 32 | u64::from(*len),
        Request::Truncate(_, len) => 7 ^ len << 8,
        Request::Len(_) => 8,
        Request::Sync(_) => 9,
    }
}

fn describe(request: &Request) -> String {
    match request {
        Request::Write(file, position, data) => format!("Write({file:?}, {position:?}, {} bytes)", data.len()),
        other => format!("{other:?}"),
    }
}

/// The disk of one host.
pub(crate) struct HostDisk {
    pub host: u32,
}

/// A future of an operation.
struct DiskFuture<T> {
    host: u32,
    request: Option<Request>,
    id: Option<Id>,
    /// Keeps the file open at least until the operation is done.
    file: Option<Arc<Handle>>,
    /// What it takes of the process's budget, if that has one.
    memory: Option<Memory>,
    finish: fn(u32, Reply) -> T,
}

impl<T> Future for DiskFuture<T> {
    type Output = io::Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if let Some(request) = self.request.take() {
            self.memory = Memory::pass(self.host, &request)?;
            self.id = with(|world| world.issue(self.host, request));
        }
        let Some(id) = self.id else { return Poll::Pending };
        match with(|world| world.poll_disk(id, cx.waker())) {
            Err(_replaced) => Poll::Pending,
            Ok(reply) => {
                self.id = None;
                Poll::Ready(reply.map(|reply| (self.finish)(self.host, reply)).map_err(Into::into))
            }
        }
    }
}

impl<T> Drop for DiskFuture<T> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let _waker = try_with(|world| world.forget_disk(id));
        }
        self.file = None;
    }
}

impl HostDisk {
    fn ask<T: Send + 'static>(&self, request: Request, finish: fn(u32, Reply) -> T) -> BoxFuture<io::Result<T>> {
        Box::pin(DiskFuture { host: self.host, request: Some(request), id: None, file: None, memory: None, finish })
    }
}

fn nothing(_: u32, reply: Reply) {
    assert!(matches!(reply, Reply::Nothing), "an answer to another question: {reply:?}");
}

impl Disk for HostDisk {
    fn create_dir(&self, path: &str) -> BoxFuture<io::Result<()>> {
        self.ask(Request::CreateDir(path.to_owned()), nothing)
    }

    fn remove_dir(&self, path: &str) -> BoxFuture<io::Result<()>> {
        self.ask(Request::RemoveDir(path.to_owned()), nothing)
    }

    fn list(&self, path: &str) -> BoxFuture<io::Result<Vec<String>>> {
        self.ask(Request::List(path.to_owned()), |_, reply| match reply {
            Reply::Names(names) => names,
            other => unreachable!("an answer to another question: {other:?}"),
        })
    }

    fn open(&self, path: &str, mode: OpenMode) -> BoxFuture<io::Result<Arc<dyn File>>> {
        let request = Request::Open(path.to_owned(), mode == OpenMode::Create);
        let opened = self.ask(request, |host, reply| match reply {
            Reply::File(id) => Handle { host, id },
            other => unreachable!("an answer to another question: {other:?}"),
        });
        let host = self.host;
        Box::pin(async move {
            let descriptor = Descriptor::take(host)?;
            let handle = Arc::new(opened.await?);
            Ok(Arc::new(SimFile { handle, _descriptor: descriptor }) as Arc<dyn File>)
        })
    }

    fn rename(&self, from: &str, to: &str) -> BoxFuture<io::Result<()>> {
        self.ask(Request::Rename(from.to_owned(), to.to_owned()), nothing)
    }

    fn remove(&self, path: &str) -> BoxFuture<io::Result<()>> {
        self.ask(Request::Remove(path.to_owned()), nothing)
    }

    fn sync_dir(&self, path: &str) -> BoxFuture<io::Result<()>> {
        self.ask(Request::SyncDir(path.to_owned()), nothing)
    }
}

/// An open file; dropping it closes.
struct Handle {
    host: u32,
    id: FileId,
}

impl Drop for Handle {
    fn drop(&mut self) {
        try_with(|world| world.machines[self.host as usize].disk.close(self.id));
    }
}

struct SimFile {
    handle: Arc<Handle>,
    _descriptor: Descriptor,
}

impl SimFile {
    fn ask<T: Send + 'static>(&self, request: Request, finish: fn(u32, Reply) -> T) -> BoxFuture<io::Result<T>> {
        let (host, file) = (self.handle.host, Some(self.handle.clone()));
        Box::pin(DiskFuture { host, request: Some(request), id: None, file, memory: None, finish })
    }
}

impl File for SimFile {
    fn len(&self) -> BoxFuture<io::Result<u64>> {
        self.ask(Request::Len(self.handle.id), |_, reply| match reply {
            Reply::Len(len) => len,
            other => unreachable!("an answer to another question: {other:?}"),
        })
    }

    fn append(&self, data: Bytes) -> BoxFuture<io::Result<()>> {
        self.ask(Request::Write(self.handle.id, None, data), nothing)
    }

    fn write_at(&self, position: u64, data: Bytes) -> BoxFuture<io::Result<()>> {
        self.ask(Request::Write(self.handle.id, Some(position), data), nothing)
    }

    fn read_at(&self, position: u64, len: u32) -> BoxFuture<io::Result<Bytes>> {
        self.ask(Request::Read(self.handle.id, position, len), |_, reply| match reply {
            Reply::Data(data) => data,
            other => unreachable!("an answer to another question: {other:?}"),
        })
    }

    fn truncate(&self, len: u64) -> BoxFuture<io::Result<()>> {
        self.ask(Request::Truncate(self.handle.id, len), nothing)
    }

    fn sync(&self) -> BoxFuture<io::Result<()>> {
        self.ask(Request::Sync(self.handle.id), nothing)
    }
}
