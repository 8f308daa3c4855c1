//! The folder of a campaign's results: `seeds.jsonl` grows by one line a seed, so that a killed campaign goes on where it
//! was; `result.json` is written in the end, for people and other programs.
#![allow(clippy::disallowed_methods, reason = "the command line writes where the user says")]

use super::shard::{Seeds, Shard};
use super::tally::SeedLine;
use klamm_base::Guard;
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, ErrorKind, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Of the lines that are written and read here.
const FORMAT: u32 = 1;
const LINES: &str = "seeds.jsonl";
const RESULT: &str = "result.json";

/// The commit of this build, or `unknown`.
pub const COMMIT: &str = env!("KLAMM_COMMIT");

/// What makes two campaigns the same: the first line of `seeds.jsonl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Version of this format.
    pub format: u32,
    /// Klamm's version.
    pub klamm: String,
    /// Klamm's commit.
    pub commit: String,
    /// From which profile scripts are drawn.
    pub profile: String,
    /// Guards that are off, sorted.
    pub without: Vec<Guard>,
    /// False if the first finding ends it.
    pub keep_going: bool,
    /// True if the range was drawn.
    pub fresh: bool,
    /// All seeds, of every shard.
    pub seeds: Seeds,
    /// Which part of them.
    pub shard: Option<Shard>,
}

impl Head {
    /// A campaign of this build.
    pub fn new(profile: &str, seeds: Seeds) -> Head {
        Head {
            format: FORMAT,
            klamm: env!("CARGO_PKG_VERSION").to_owned(),
            commit: COMMIT.to_owned(),
            profile: profile.to_owned(),
            without: Vec::new(),
            keep_going: true,
            fresh: false,
            seeds,
            shard: None,
        }
    }

    /// The seeds of its part.
    pub fn part(&self) -> Range<u64> {
        self.shard.map_or_else(|| self.seeds.0.clone(), |shard| shard.of(&self.seeds.0))
    }

    /// Guards that are off, as text.
    pub fn guards_off(&self) -> String {
        let names: Vec<&str> = self.without.iter().map(|guard| guard.name()).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }

    /// What two parts of one campaign have in common, each with its name.
    fn common(&self) -> [(&'static str, String); 6] {
        [
            ("version of Klamm", self.klamm.clone()),
            ("commit", self.commit.clone()),
            ("profile", self.profile.clone()),
            ("guards off", self.guards_off()),
            ("seeds", self.seeds.to_string()),
            ("keep-going", self.keep_going.to_string()),
        ]
    }

    /// The first thing in which two cannot be parts of one campaign: its name and both values.
    pub fn differs(&self, other: &Head) -> Option<(&'static str, String, String)> {
        let pairs = self.common().into_iter().zip(other.common());
        pairs.into_iter().find(|((_, mine), (_, theirs))| mine != theirs).map(|((name, a), (_, b))| (name, a, b))
    }

    fn shard_told(&self) -> String {
        self.shard.map_or_else(|| "none".to_owned(), |shard| shard.to_string())
    }
}

/// Why a folder of results cannot be read or written, in one sentence with its path.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("{0}")]
pub struct FolderError(String);

impl FolderError {
    fn at(path: &Path, what: impl Display) -> FolderError {
        FolderError(format!("{}: {what}", path.display()))
    }
}

/// What a folder holds.
struct Content {
    head: Head,
    /// So many seeds from the part's first on.
    done: u64,
    /// Of whole lines; what stands behind them is half a line that a kill left.
    bytes: u64,
}

/// A folder that is being written.
pub struct Folder {
    dir: PathBuf,
    lines: File,
}

impl Folder {
    /// Begins a campaign in an empty (or new) folder, or goes on with the one that is there: then each of its seeds is handed
    /// to `each`. Only one process may write a folder at a time.
    ///
    /// # Errors
    /// If the folder holds a campaign and `resume` is false, or holds another campaign, or cannot be written.
    pub fn open(dir: &Path, head: &Head, resume: bool, each: &mut dyn FnMut(SeedLine)) -> Result<Folder, FolderError> {
        let path = dir.join(LINES);
        let failed = |error: std::io::Error| FolderError::at(&path, error);
        std::fs::create_dir_all(dir).map_err(failed)?;
        let mut lines = OpenOptions::new().read(true).append(true).create(true).open(&path).map_err(failed)?;
        lock(&lines, dir)?;
        let bytes = match read(&lines, &path, each)? {
            None => 0,
            Some(content) if !resume => return Err(taken(dir, &content)),
            Some(content) => same(dir, head, content)?.bytes,
        };
        // What a kill left of a line would spoil the next one.
        lines.set_len(bytes).and_then(|()| lines.seek(SeekFrom::End(0))).map_err(failed)?;
        let mut folder = Folder { dir: dir.to_owned(), lines };
        if bytes == 0 {
            folder.write(head)?;
        }
        Ok(folder)
    }

    /// Adds a seed.
    pub fn append(&mut self, line: &SeedLine) -> Result<(), FolderError> {
        self.write(line)
    }

    /// One write a line: a kill leaves at most one line that is not whole.
    fn write(&mut self, line: &impl Serialize) -> Result<(), FolderError> {
        let mut text = serde_json::to_string(line).expect("texts, numbers, lists and maps with text keys become JSON");
        text.push('\n');
        self.lines.write_all(text.as_bytes()).map_err(|error| FolderError::at(&self.dir.join(LINES), error))
    }

    /// Puts `result.json` in its place, whole or not at all.
    pub fn finish(&self, result: &str) -> Result<(), FolderError> {
        let (half, whole) = (self.dir.join("result.json.half"), self.dir.join(RESULT));
        let write = || {
            let mut file = File::create(&half)?;
            writeln!(file, "{result}")?;
            file.sync_all()?;
            self.lines.sync_all()?;
            std::fs::rename(&half, &whole)
        };
        write().map_err(|error| FolderError::at(&whole, error))
    }
}

fn lock(lines: &File, dir: &Path) -> Result<(), FolderError> {
    lines.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => FolderError::at(dir, "another klamm writes its results here"),
        TryLockError::Error(error) => FolderError::at(dir, error),
    })
}

fn taken(dir: &Path, content: &Content) -> FolderError {
    let (profile, part) = (&content.head.profile, Seeds(content.head.part()));
    let done = content.done;
    let ways = "--resume goes on with it, another folder begins anew";
    FolderError::at(dir, format!("holds a campaign already ({profile} {part}, {done} seeds done); {ways}"))
}

fn same(dir: &Path, wanted: &Head, content: Content) -> Result<Content, FolderError> {
    let there = &content.head;
    let shards = ("shard", there.shard_told(), wanted.shard_told());
    let other = there.differs(wanted).or_else(|| (shards.1 != shards.2).then_some(shards));
    match other {
        None => Ok(content),
        Some((what, there, wanted)) => {
            let message = format!("holds another campaign: its {what} is {there}, and {wanted} is wanted now");
            Err(FolderError::at(dir, message))
        }
    }
}

/// What begins the campaign of a folder; `None` if there is none.
pub fn folder_head(dir: &Path) -> Result<Option<Head>, FolderError> {
    let Some(file) = existing(dir)? else { return Ok(None) };
    let path = dir.join(LINES);
    let mut line = String::new();
    BufReader::new(file).read_line(&mut line).map_err(|error| FolderError::at(&path, error))?;
    if line.ends_with('\n') { head(&path, &line).map(Some) } else { Ok(None) }
}

/// The campaign of a folder, and which seeds of it are done; each of them is handed to `each`.
///
/// # Errors
/// If there is none, or a line is wrong.
pub fn read_folder(dir: &Path, each: &mut dyn FnMut(SeedLine)) -> Result<(Head, Range<u64>), FolderError> {
    let none =
        || FolderError::at(dir, "holds no results of a campaign (no seeds.jsonl that `klamm campaign --out` wrote)");
    let file = existing(dir)?.ok_or_else(none)?;
    let content = read(&file, &dir.join(LINES), each)?.ok_or_else(none)?;
    let first = content.head.part().start;
    Ok((content.head, first..first + content.done))
}

fn existing(dir: &Path) -> Result<Option<File>, FolderError> {
    match File::open(dir.join(LINES)) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FolderError::at(&dir.join(LINES), error)),
    }
}

fn read(file: &File, path: &Path, each: &mut dyn FnMut(SeedLine)) -> Result<Option<Content>, FolderError> {
    let mut lines = BufReader::new(file);
    let mut content: Option<Content> = None;
    let mut text = Vec::new();
    for number in 1_u64.. {
        text.clear();
        lines.read_until(b'\n', &mut text).map_err(|error| FolderError::at(path, error))?;
        if text.last() != Some(&b'\n') {
            break;
        }
        let line = String::from_utf8_lossy(&text);
        match &mut content {
            None => content = Some(Content { head: head(path, &line)?, done: 0, bytes: text.len() as u64 }),
            Some(content) => {
                each(seed_line(path, number, &line, content.head.part(), content.done)?);
                content.done += 1;
                content.bytes += text.len() as u64;
            }
        }
    }
    Ok(content)
}

fn head(path: &Path, line: &str) -> Result<Head, FolderError> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let wrong =
        |error: serde_json::Error| FolderError::at(path, format!("line 1 is not the head of a campaign: {error}"));
    let Format { format } = serde_json::from_str(line).map_err(wrong)?;
    if format != FORMAT {
        let message = format!("is of format {format}; this klamm reads format {FORMAT}: take the one that wrote it");
        return Err(FolderError::at(path, message));
    }
    serde_json::from_str(line).map_err(wrong)
}

/// Seeds stand in their order from the part's first on, so that none is counted twice.
fn seed_line(path: &Path, number: u64, line: &str, part: Range<u64>, done: u64) -> Result<SeedLine, FolderError> {
    let wrong = |what: String| FolderError::at(path, format!("line {number}: {what}"));
    let read: SeedLine =
        serde_json::from_str(line).map_err(|error| wrong(format!("is not what is kept of a seed: {error}")))?;
    let expected = part.start + done;
    if read.seed != expected || !part.contains(&expected) {
        return Err(wrong(format!("seed {} stands where seed {expected} of {} is due", read.seed, Seeds(part))));
    }
    Ok(read)
}
