//! What the directory that was named is, and which files lie in it.

use crate::cli::Bad;
use klamm_log::format::{DirName, SegmentFile, SegmentKind, SnapshotName, file};
use std::path::{Path, PathBuf};

/// The files of one directory, in the order of their names.
#[derive(Debug)]
pub struct Dir {
    /// The name of the partition's directory; `None` for a log directory itself.
    pub partition: Option<DirName>,
    /// How the directory's files are told: what stands before their names.
    pub prefix: String,
    pub files: Vec<FileEntry>,
}

/// A file.
#[derive(Clone, Debug)]
pub struct FileEntry {
    pub name: String,
    pub path: PathBuf,
    pub bytes: u64,
}

impl Dir {
    /// How a file of it is told.
    pub fn told(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The file of that name.
    pub fn get(&self, name: &str) -> Option<&FileEntry> {
        self.files.iter().find(|file| file.name == name)
    }

    /// True if there is a log in it, or what stands beside one.
    fn is_partition(&self) -> bool {
        let has = |name: &str| self.get(name).is_some();
        has(file::PARTITION_METADATA)
            || has(file::LEADER_EPOCHS)
            || self.files.iter().any(|file| is_segments(&file.name))
    }

    /// Base offsets of its segments, ascending.
    pub fn segments(&self) -> Vec<i64> {
        let logs = self.files.iter().filter_map(|file| SegmentFile::parse(&file.name));
        logs.filter(|file| file.kind == SegmentKind::Log && file.transient.is_none())
            .map(|file| file.base_offset)
            .collect()
    }
}

/// What was named.
#[derive(Debug)]
pub enum Target {
    /// A log directory: its own files first, then its partitions.
    Whole(Vec<Dir>),
    /// One partition's directory.
    Partition(Dir),
    /// One file, alone in its directory.
    File(Dir),
}

impl Target {
    /// The directories, in the order in which they are told.
    pub fn dirs(&self) -> &[Dir] {
        match self {
            Target::Whole(dirs) => dirs,
            Target::Partition(dir) | Target::File(dir) => std::slice::from_ref(dir),
        }
    }
}

const IN_THE_WAY: &str = "give a broker's log directory (log.dirs of its server.properties), one TOPIC-PARTITION \
                          directory in it, or one file of those";

/// Finds out what `path` is.
///
/// # Errors
/// What cannot be read, and what is none of Kafka's.
pub fn look_at(path: &Path) -> Result<Target, Bad> {
    let cannot = |error| Bad::plain(format!("{}: {error}; {IN_THE_WAY}", path.display()));
    // `.` and `..` have names, too.
    let whole = path.canonicalize().map_err(cannot)?;
    let name = whole.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if !whole.is_dir() {
        return one_file(path, &whole, &name);
    }
    let dir = read_dir(&whole, String::new(), DirName::parse(&name))?;
    if dir.is_partition() {
        return Ok(Target::Partition(dir));
    }
    let partitions = partitions(&whole)?;
    // Many a directory's name ends in a number.
    let is_log_dir = dir.get(file::META_PROPERTIES).is_some() || partitions.iter().any(Dir::is_partition);
    if !is_log_dir {
        return Err(Bad::plain(format!("{}: this is no log directory; {}", path.display(), way_out(path, &whole)?)));
    }
    let own = Dir { partition: None, ..dir };
    Ok(Target::Whole(std::iter::once(own).chain(partitions).collect()))
}

/// What to do instead: a log directory may lie right below, as `logs` does in what `klamm broker --dir` is given.
fn way_out(path: &Path, whole: &Path) -> Result<String, Bad> {
    for (name, below) in children(whole)? {
        if below.join(file::META_PROPERTIES).is_file() {
            return Ok(format!("{} is one", path.join(name).display()));
        }
    }
    Ok(IN_THE_WAY.to_owned())
}

fn one_file(path: &Path, whole: &Path, name: &str) -> Result<Target, Bad> {
    if !is_known(name) {
        return Err(Bad::plain(format!("{}: no file of a log directory is called so; {IN_THE_WAY}", path.display())));
    }
    let of = whole.parent().and_then(Path::file_name).and_then(|name| DirName::parse(&name.to_string_lossy()));
    let files = vec![entry(whole, name.to_owned())?];
    Ok(Target::File(Dir { partition: of, prefix: String::new(), files }))
}

/// True if Kafka has files of that name.
pub fn is_known(name: &str) -> bool {
    let fixed = [
        file::LEADER_EPOCHS,
        file::PARTITION_METADATA,
        file::QUORUM_STATE,
        file::RECOVERY_POINTS,
        file::HIGH_WATERMARKS,
        file::LOG_STARTS,
        file::CLEANER_OFFSETS,
        file::META_PROPERTIES,
        file::CLEAN_SHUTDOWN,
        file::BOOTSTRAP,
        file::LOCK,
    ];
    let stem = name.strip_suffix(file::TEMPORARY).unwrap_or(name);
    fixed.contains(&stem) || SegmentFile::parse(name).is_some() || SnapshotName::parse(name).is_some()
}

/// True for files that stand beside a log's segments.
pub fn is_segments(name: &str) -> bool {
    SegmentFile::parse(name).is_some() || SnapshotName::parse(name).is_some()
}

/// The partitions' directories in a log directory.
fn partitions(path: &Path) -> Result<Vec<Dir>, Bad> {
    let mut dirs = Vec::new();
    for (name, path) in children(path)? {
        if let Some(partition) = DirName::parse(&name).filter(|_| path.is_dir()) {
            dirs.push(read_dir(&path, format!("{name}/"), Some(partition))?);
        }
    }
    Ok(dirs)
}

fn read_dir(path: &Path, prefix: String, partition: Option<DirName>) -> Result<Dir, Bad> {
    let mut files = Vec::new();
    for (name, path) in children(path)? {
        if path.is_file() {
            files.push(entry(&path, name)?);
        }
    }
    Ok(Dir { partition, prefix, files })
}

/// Names and paths in a directory, in the order of names.
#[allow(clippy::disallowed_methods, reason = "the command line reads the user's directory")]
fn children(path: &Path) -> Result<Vec<(String, PathBuf)>, Bad> {
    let cannot = |error| Bad::plain(format!("{}: {error}", path.display()));
    let mut all = Vec::new();
    for child in std::fs::read_dir(path).map_err(cannot)? {
        let child = child.map_err(cannot)?;
        all.push((child.file_name().to_string_lossy().into_owned(), child.path()));
    }
    all.sort();
    Ok(all)
}

fn entry(path: &Path, name: String) -> Result<FileEntry, Bad> {
    let known = path.metadata().map_err(|error| Bad::plain(format!("{}: {error}", path.display())))?;
    Ok(FileEntry { name, path: path.to_owned(), bytes: known.len() })
}

/// Most that is read at once of a file that is not a log. A producer snapshot of a million producers is 46 MB.
const WHOLE_MAX: u64 = 256 << 20;

/// Reads a small file.
///
/// # Errors
/// What the disk says, and a file that is too large to be what its name says.
#[allow(clippy::disallowed_methods, reason = "the command line reads the user's files")]
pub fn read_whole(file: &FileEntry) -> Result<Vec<u8>, Bad> {
    if file.bytes > WHOLE_MAX {
        let size = file.bytes;
        return Err(Bad::plain(format!("{}: {size} bytes are too many for such a file", file.path.display())));
    }
    std::fs::read(&file.path).map_err(|error| Bad::plain(format!("{}: {error}", file.path.display())))
}
