//! `klamm log verify`: every damage of a log directory, with file, byte and what was expected there.

mod checkpoints;
mod findings;
mod indexes;
mod partition;
mod producers;
mod snapshot;
mod texts;

use super::tree::{self, Dir, Target};
use super::watch::Watch;
use crate::cli::args::LogVerifyArgs;
use crate::cli::{Bad, Exit};
use findings::Findings;
use klamm_log::format::{CleanShutdown, DirState, file};
use partition::LogEnd;
use std::collections::BTreeMap;
use std::io::Write;

/// What is known of a partition whose log was read, by topic and partition.
type Ends = BTreeMap<(String, i32), LogEnd>;

/// What all checks share.
struct Checks {
    findings: Findings,
    watch: Watch,
    /// The broker closed every file; what a killed one leaves would be damage.
    clean: bool,
    /// One file was named, without its neighbours.
    alone: bool,
}

/// Checks a directory.
///
/// # Errors
/// What is no log directory or cannot be read.
pub fn verify(args: LogVerifyArgs) -> Result<Exit, Bad> {
    let target = tree::look_at(&args.dir)?;
    let total = target.dirs().iter().flat_map(|dir| &dir.files).map(|file| file.bytes).sum();
    let (clean, alone) = (is_clean(&target)?, matches!(target, Target::File(_)));
    let mut checks = Checks { findings: Findings::default(), watch: Watch::new(total), clean, alone };
    let checked = checks.target(&target);
    checks.watch.clear();
    checked?;
    let findings = checks.findings;
    let mut text = findings.told(&args.dir.display().to_string());
    if args.json {
        text += &findings.json();
        text.push('\n');
    }
    // A closed pipe (`| head`) is no error of ours.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    Ok(if findings.is_whole() { Exit::Fine } else { Exit::Violated })
}

fn is_clean(target: &Target) -> Result<bool, Bad> {
    let Target::Whole(dirs) = target else { return Ok(false) };
    let Some(mark) = dirs[0].get(file::CLEAN_SHUTDOWN) else { return Ok(false) };
    let text = tree::read_whole(mark)?;
    Ok(std::str::from_utf8(&text).is_ok_and(|text| CleanShutdown::parse(text).is_ok()))
}

impl Checks {
    fn target(&mut self, target: &Target) -> Result<(), Bad> {
        match target {
            Target::Whole(dirs) => self.whole(dirs),
            Target::Partition(dir) => self.partition(dir).map(drop),
            Target::File(dir) => self.alone(dir),
        }
    }

    fn whole(&mut self, dirs: &[Dir]) -> Result<(), Bad> {
        let (own, partitions) = dirs.split_first().expect("a log directory and its partitions");
        let mut ends = Ends::new();
        let mut ids = BTreeMap::new();
        for dir in partitions {
            let end = self.partition(dir)?;
            let name = dir.partition.as_ref().expect("a partition's directory has a name");
            if name.state == DirState::Live {
                self.one_topic_one_id(dir, &name.topic, end.topic_id, &mut ids);
                ends.insert((name.topic.clone(), name.partition), end);
            }
        }
        self.own_files(own, &ends)
    }

    /// One file without its neighbours: what can be said of it alone.
    fn alone(&mut self, dir: &Dir) -> Result<(), Bad> {
        let name = &dir.files[0].name;
        let of_partition = [file::LEADER_EPOCHS, file::PARTITION_METADATA, file::QUORUM_STATE];
        if tree::is_segments(name) || of_partition.contains(&name.as_str()) {
            return self.partition(dir).map(drop);
        }
        self.own_files(dir, &Ends::new())
    }
}
