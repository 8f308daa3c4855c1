//! `klamm merge`.

use super::args::MergeArgs;
use super::ending::{self, Ended, Ending};
use super::{Bad, Exit};
use crate::campaign::{Head, SeedLine, Seeds, Tally, read_folder};
use crate::library;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One folder.
struct Part {
    dir: PathBuf,
    head: Head,
    done: Range<u64>,
}

/// Joins folders.
#[allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real time, for people")]
pub fn merge(args: MergeArgs) -> Result<Exit, Bad> {
    let began = std::time::Instant::now();
    let known = ending::known(&args.papers)?;
    let mut parts = Vec::new();
    for dir in &args.dirs {
        parts.push(read(dir, &mut |_| ())?);
    }
    parts.sort_by_key(|part| (part.done.start, part.done.end));
    let whole = joined(&parts)?;
    let mut tally = Tally::default();
    for part in &parts {
        read(&part.dir, &mut |line| tally.add(line))?;
    }
    let profile = library::profile(&whole.profile)?;
    let done = whole.seeds.0.start..whole.seeds.0.start + tally.done;
    let ended = if done.end == whole.seeds.0.end { Ended::Whole } else { Ended::InTime };
    let ended = if !whole.keep_going && !tally.findings.is_empty() { Ended::AtFinding } else { ended };
    let (wall, known) = (began.elapsed().as_secs_f64(), known.as_ref());
    let (head, profile, tally) = (&whole, &profile, &tally);
    let ending = Ending { head, profile, tally, done, ended, wall, ran_here: false, known, bugs: &[] };
    ending.conclude(&args.papers, None)
}

fn read(dir: &Path, each: &mut dyn FnMut(SeedLine)) -> Result<Part, Bad> {
    let (head, done) = read_folder(dir, each)?;
    Ok(Part { dir: dir.to_owned(), head, done })
}

/// The campaign of which these are the parts, in the order of their seeds.
fn joined(parts: &[Part]) -> Result<Head, Bad> {
    let first = &parts[0];
    for part in parts {
        if let Some((what, mine, other)) = first.head.differs(&part.head) {
            let (one, two) = (first.dir.display(), part.dir.display());
            return Err(Bad::plain(format!(
                "{one} and {two} are not parts of one campaign: their {what} are {mine} and {other}"
            )));
        }
    }
    let whole = Head { shard: None, ..first.head.clone() };
    tiles(parts, &whole)?;
    Ok(whole)
}

/// Every seed once.
fn tiles(parts: &[Part], whole: &Head) -> Result<(), Bad> {
    let mut next = whole.seeds.0.start;
    let mut before: Option<&Part> = None;
    for part in parts.iter().filter(|part| !part.done.is_empty()) {
        if part.done.start < next {
            let other = before.expect("a part came before").dir.display();
            let twice = Seeds(part.done.start..next.min(part.done.end));
            return Err(Bad::plain(format!("{} and {other} both hold seeds {twice}", part.dir.display())));
        }
        if part.done.start > next {
            return Err(gap(next..part.done.start, parts));
        }
        next = part.done.end;
        before = Some(part);
    }
    let stops_early = !whole.seeds.have_an_end() || !whole.keep_going;
    if next < whole.seeds.0.end && !stops_early { Err(gap(next..whole.seeds.0.end, parts)) } else { Ok(()) }
}

/// Names the folder that should hold the missing seeds.
fn gap(missing: Range<u64>, parts: &[Part]) -> Bad {
    let ought = parts.iter().find(|part| part.head.part().contains(&missing.start));
    let whose = match ought {
        Some(part) => format!("{} is not finished; go on with it: --resume", part.dir.display()),
        None => "no folder here is their shard's".to_owned(),
    };
    Bad::plain(format!("seeds {} are missing: {whose}", Seeds(missing)))
}
