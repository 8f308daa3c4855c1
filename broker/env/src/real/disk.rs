//! Files, on the runtime's blocking threads.

use crate::{BoxFuture, Disk, File, OpenMode};
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

pub(super) struct RealDisk {
    handle: Handle,
    root: PathBuf,
}

impl RealDisk {
    pub(super) fn new(handle: Handle, root: PathBuf) -> Self {
        Self { handle, root }
    }

    /// Runs `work` on the full path, away from the runtime's own threads, from the first poll on and to its end.
    fn on_path<T: Send + 'static>(
        &self,
        path: &str,
        work: impl FnOnce(PathBuf) -> io::Result<T> + Send + 'static,
    ) -> BoxFuture<io::Result<T>> {
        let path = self.full(path);
        let handle = self.handle.clone();
        Box::pin(async move {
            let path = path?;
            flatten(handle.spawn_blocking(move || work(path)).await)
        })
    }

    /// Keeps every path below the root.
    fn full(&self, path: &str) -> io::Result<PathBuf> {
        let bad = |part: &str| matches!(part, "" | "." | "..");
        if !path.is_empty() && path.split('/').any(bad) {
            return Err(io::Error::new(ErrorKind::InvalidInput, format!("`{path}` is no path below the root")));
        }
        Ok(self.root.join(path))
    }
}

impl Disk for RealDisk {
    fn create_dir(&self, path: &str) -> BoxFuture<io::Result<()>> {
        self.on_path(path, fs::create_dir_all)
    }

    fn remove_dir(&self, path: &str) -> BoxFuture<io::Result<()>> {
        self.on_path(path, |path| absent_is_fine(fs::remove_dir_all(path)))
    }

    fn list(&self, path: &str) -> BoxFuture<io::Result<Vec<String>>> {
        self.on_path(path, |path| match fs::read_dir(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(vec![]),
            Err(error) => Err(error),
            Ok(entries) => names(entries),
        })
    }

    fn open(&self, path: &str, mode: OpenMode) -> BoxFuture<io::Result<Arc<dyn File>>> {
        let handle = self.handle.clone();
        self.on_path(path, move |path| {
            let mut options = fs::OpenOptions::new();
            let file = options.read(true).write(true).create(mode == OpenMode::Create).truncate(false).open(path)?;
            if file.metadata()?.is_dir() {
                return Err(ErrorKind::IsADirectory.into());
            }
            Ok(Arc::new(RealFile { handle, shared: Arc::new(Shared::new(file)) }) as Arc<dyn File>)
        })
    }

    fn rename(&self, from: &str, to: &str) -> BoxFuture<io::Result<()>> {
        match self.full(to) {
            Ok(to) => self.on_path(from, |from| fs::rename(from, to)),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn remove(&self, path: &str) -> BoxFuture<io::Result<()>> {
        self.on_path(path, |path| absent_is_fine(fs::remove_file(path)))
    }

    fn sync_dir(&self, path: &str) -> BoxFuture<io::Result<()>> {
        self.on_path(path, |path| fs::File::open(path)?.sync_all())
    }
}

/// An open file. What changes it runs one at a time, in the order of the first polls; reads run beside.
struct RealFile {
    handle: Handle,
    shared: Arc<Shared>,
}

struct Shared {
    file: fs::File,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Work>,
    /// A blocking thread is at work; it takes what comes.
    running: bool,
}

type Work = Box<dyn FnOnce(&fs::File) + Send>;

impl Shared {
    fn new(file: fs::File) -> Self {
        Self { file, queue: Mutex::default() }
    }

    /// Queues work; true if nobody is there to do it.
    fn push(&self, work: Work) -> bool {
        let mut queue = self.queue.lock().expect("no work panics under the lock");
        queue.waiting.push_back(work);
        !std::mem::replace(&mut queue.running, true)
    }

    /// The next work; without one the worker must leave.
    fn next(&self) -> Option<Work> {
        let mut queue = self.queue.lock().expect("no work panics under the lock");
        let next = queue.waiting.pop_front();
        queue.running = next.is_some();
        next
    }

    fn work(&self) {
        while let Some(work) = self.next() {
            work(&self.file);
        }
    }
}

impl RealFile {
    /// Runs `work` after all that was asked before.
    fn in_order<T: Send + 'static>(
        &self,
        work: impl FnOnce(&fs::File) -> io::Result<T> + Send + 'static,
    ) -> BoxFuture<io::Result<T>> {
        let (handle, shared) = (self.handle.clone(), self.shared.clone());
        Box::pin(async move {
            let (tell, told) = oneshot::channel();
            let work = Box::new(move |file: &fs::File| {
                // Nobody may be waiting any more; the work is done all the same.
                let _ = tell.send(work(file));
            });
            if shared.push(work) {
                handle.spawn_blocking(move || shared.work());
            }
            told.await.unwrap_or_else(|_| Err(io::Error::other("the process is ending")))
        })
    }

    fn at_once<T: Send + 'static>(
        &self,
        work: impl FnOnce(&fs::File) -> io::Result<T> + Send + 'static,
    ) -> BoxFuture<io::Result<T>> {
        let (handle, shared) = (self.handle.clone(), self.shared.clone());
        Box::pin(async move { flatten(handle.spawn_blocking(move || work(&shared.file)).await) })
    }
}

impl File for RealFile {
    fn len(&self) -> BoxFuture<io::Result<u64>> {
        self.at_once(|file| Ok(file.metadata()?.len()))
    }

    fn append(&self, data: Bytes) -> BoxFuture<io::Result<()>> {
        self.in_order(move |file| {
            let end = file.metadata()?.len();
            file.write_all_at(&data, end).inspect_err(|_| {
                // Whole or not at all, as far as the device lets us.
                let _ = file.set_len(end);
            })
        })
    }

    fn write_at(&self, position: u64, data: Bytes) -> BoxFuture<io::Result<()>> {
        self.in_order(move |file| file.write_all_at(&data, position))
    }

    fn read_at(&self, position: u64, len: u32) -> BoxFuture<io::Result<Bytes>> {
        self.at_once(move |file| read_up_to(file, position, len))
    }

    fn read_cached(&self, _position: u64, _len: u32) -> Option<Bytes> {
        None // the standard library cannot ask without waiting
    }

    fn truncate(&self, len: u64) -> BoxFuture<io::Result<()>> {
        self.in_order(move |file| file.set_len(len))
    }

    fn sync(&self) -> BoxFuture<io::Result<()>> {
        self.in_order(|file| file.sync_data())
    }
}

/// Up to `len` bytes from `position`; the room is made for what the file has, not for what was asked.
fn read_up_to(file: &fs::File, position: u64, len: u32) -> io::Result<Bytes> {
    let there = file.metadata()?.len().saturating_sub(position).min(u64::from(len)) as usize;
    let mut bytes = BytesMut::zeroed(there);
    let mut filled = 0;
    while filled < there {
        match file.read_at(&mut bytes[filled..], position + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes.freeze())
}

fn names(entries: fs::ReadDir) -> io::Result<Vec<String>> {
    let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
    let mut names = entries.map(name).collect::<io::Result<Vec<String>>>()?;
    names.sort();
    Ok(names)
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn flatten<T>(joined: Result<io::Result<T>, tokio::task::JoinError>) -> io::Result<T> {
    joined.unwrap_or_else(|error| Err(io::Error::other(error)))
}
