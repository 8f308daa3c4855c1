//! Disks in time. An operation is issued at the first poll of its future, takes effect at one seeded instant, in the world,
//! and its caller is told later. Dropping the future cancels nothing; a kill before the instant does.

use crate::ctx;
pub use crate::disk::DiskProfile;
use crate::disk::{
    DiskFault, DiskFaultError, DiskFaultId, DiskSetup, DriveMark, Drives, Failure, OpenFile, PowerLoss, Reply, Request,
    When,
};
use crate::limits::{Descriptor, Memory};
use crate::rng::{below, between, stream};
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

/// One cached read in so many has to be asked for as any other.
const CACHED_OF: u64 = 16;

/// An operation under way.
#[derive(Debug)]
pub(crate) struct Op {
    host: u32,
    request: Option<Request>,
    mark: Option<DriveMark>,
    reply: Option<Result<Reply, Failure>>,
    /// A fault that holds it or slows it down, and when, after that ends, it takes effect and is done at the latest.
    stuck: Option<(DiskFaultId, u64, u64)>,
    is_done: bool,
    is_wanted: bool,
    waker: Option<Waker>,
}

impl Op {
    /// Whose disk it is for.
    pub fn host(&self) -> u32 {
        self.host
    }
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
        let timing = machine.disk.timing(now, &request, &mut machine.disk_rng);
        let effect = timing.wait_ns.saturating_add(between(&mut machine.disk_rng, 1, timing.took_ns));
        let done = timing.wait_ns.saturating_add(timing.took_ns);
        let (mark, reply) = match machine.disk.begin(&request) {
            Some(Ok(mark)) => (Some(mark), None),
            Some(Err(error)) => (None, Some(Err(error))),
            None => (None, None),
        };
        let slowed = timing.slowed.map(|(fault, plain)| (fault, effect.min(plain), plain));
        let stuck = timing.stuck.map(|fault| (fault, effect, done)).or(slowed);
        let op = Op { host, request: Some(request), mark, reply, stuck, is_done: false, is_wanted: true, waker: None };
        let id = self.disks.ops.insert_with(|_| op);
        if timing.stuck.is_none() {
            self.start_op(id, effect, done);
        }
        self.tell_disk(host);
        Some(id)
    }

    /// An operation will take effect, and its caller be told, so many nanoseconds from now.
    fn start_op(&mut self, id: Id, effect: u64, done: u64) {
        self.timers.push(self.now.saturating_add(effect), Event::DiskEffect(id));
        self.timers.push(self.now.saturating_add(done), Event::DiskDone(id));
    }

    /// The instant of an operation.
    pub fn disk_effect(&mut self, id: Id) {
        let now = self.now;
        let op = self.disks.ops.get_mut(id).expect("an operation under way");
        let Some(request) = op.request.take() else { return };
        let host = op.host;
        let digest = request.digest();
        self.trace.note(now, Kind::Disk, [u64::from(host), digest, 0], || {
            format!("{} {}", ctx::host_name(host).unwrap_or_default(), request.describe())
        });
        if op.reply.is_none() {
            let reply = self.machines[host as usize].disk.perform(now, request, op.mark);
            op.reply = Some(reply);
        }
        self.tell_disk(host);
    }

    /// Reads at once what memory holds. Now and then it does not, as where a page is locked; with faults in force or memory
    /// accounted for it never does.
    fn read_cached(&mut self, host: u32, file: OpenFile, position: u64, len: u32) -> Option<Bytes> {
        if self.is_zombie(host) || self.over {
            return None;
        }
        let machine = &mut self.machines[host as usize];
        if !machine.limits.is_none() || !machine.disk.is_plain(file) || below(&mut machine.disk_rng, CACHED_OF) == 0 {
            return None;
        }
        let data = machine.disk.read_cached(file, position, len)?;
        let words = [u64::from(host), position << 20 | data.len() as u64, 3];
        self.trace.note(self.now, Kind::Disk, words, || {
            format!("{} reads {} cached bytes at {position}", ctx::host_name(host).unwrap_or_default(), data.len())
        });
        Some(data)
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

    fn poll_disk(&mut self, id: Id, waker: &Waker) -> Result<Result<Reply, Failure>, Option<Waker>> {
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
        let now = self.now;
        for request in self.void_ops(host) {
            let machine = &mut self.machines[host as usize];
            if let Some(cut) = machine.disk.cut(&request, now, &mut machine.disk_rng) {
                self.trace.note(now, Kind::Disk, [u64::from(host), cut, 1], || {
                    format!("{} cut write at {cut}", ctx::host_name(host).unwrap_or_default())
                });
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
        self.trace
            .note(self.now, Kind::Disk, words, || format!("{} {loss:?}", ctx::host_name(host).unwrap_or_default()));
        loss
    }

    /// Takes away all that had no effect yet, in the order in which it was issued.
    fn void_ops(&mut self, host: u32) -> Vec<Request> {
        let ids = self.disks.ops.ids(|op| op.host == host && op.request.is_some());
        let (now, timers, ops) = (self.now, &mut self.timers, &mut self.disks.ops);
        let void = |id| {
            let op = ops.get_mut(id).expect("a listed operation");
            op.reply = Some(Err(Failure::Kind(ErrorKind::Other)));
            if op.stuck.take().is_some() {
                timers.push(now, Event::DiskDone(id)); // nothing else would ever end it
            }
            op.request.take()
        };
        ids.into_iter().filter_map(void).collect()
    }

    /// The disks of a new host.
    pub fn new_disks(&self, name: &str) -> Drives {
        self.make_disks(name, DiskSetup::single(self.config.disk.clone()))
    }

    /// Empty disks of that host.
    pub fn make_disks(&self, name: &str, setup: DiskSetup) -> Drives {
        Drives::new(name, setup, stream(self.config.seed, &format!("disk-faults/{name}")))
    }

    /// Episodes of a host's disk faults begin or end; what was stuck in them goes on.
    pub fn disk_tick(&mut self, host: u32) {
        let now = self.now;
        self.machines[host as usize].disk.tick(now);
        let disk = &self.machines[host as usize].disk;
        let is_free = |op: &Op| op.host == host && op.stuck.is_some_and(|(fault, ..)| !disk.is_armed(fault));
        let free = self.disks.ops.ids(is_free);
        if !free.is_empty() {
            self.machines[host as usize].disk.forget_queues();
        }
        for id in free {
            let stuck = self.disks.ops.get_mut(id).and_then(|op| op.stuck.take());
            let (_, effect, done) = stuck.expect("a stuck operation");
            self.start_op(id, effect, done);
        }
        self.tell_disk(host);
    }

    /// Sets a fault, and looks again when it begins and ends.
    pub fn arm_disk(&mut self, host: u32, fault: DiskFault) -> Result<DiskFaultId, DiskFaultError> {
        let when = fault.when;
        let id = self.machines[host as usize].disk.arm(fault, self.now)?;
        if let When::During { begin_ns, end_ns, .. } = when {
            let later = [Some(begin_ns), end_ns].into_iter().flatten().filter(|at| *at > self.now);
            later.for_each(|at| {
                self.timers.push(at, Event::DiskFault(host));
            });
        }
        self.disk_tick(host);
        Ok(id)
    }

    /// Tells what happened to a host's disks, if something did.
    fn tell_disk(&mut self, host: u32) {
        let disk = &mut self.machines[host as usize].disk;
        if disk.happened.is_empty() {
            return;
        }
        for event in std::mem::take(&mut disk.happened) {
            let line = format!("{event:?}");
            let words = [u64::from(host), sample(line.as_bytes()), 2];
            self.trace.note(self.now, Kind::Fault, words, || line);
            self.tell(event);
        }
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
    id: OpenFile,
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

    fn read_cached(&self, position: u64, len: u32) -> Option<Bytes> {
        let Handle { host, id } = *self.handle;
        with(|world| world.read_cached(host, id, position, len))
    }

    fn truncate(&self, len: u64) -> BoxFuture<io::Result<()>> {
        self.ask(Request::Truncate(self.handle.id, len), nothing)
    }

    fn sync(&self) -> BoxFuture<io::Result<()>> {
        self.ask(Request::Sync(self.handle.id), nothing)
    }
}
