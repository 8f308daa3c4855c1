//! The checkpoints of lines: a version, a count, then an entry a line [L10].

use super::FormatError;
use std::fmt::Write;

/// The only version of these files.
const VERSION: i64 = 0;

/// A line of `leader-epoch-checkpoint`: `epoch` begins at `start` (KIP-101).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochStart {
    /// Leader epoch.
    pub epoch: i32,
    /// Offset of its first record, or where the log ended when it began.
    pub start: i64,
}

/// A line of the four checkpoints that keep an offset for each partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartitionOffset {
    /// Topic.
    pub topic: String,
    /// Partition, from 0.
    pub partition: i32,
    /// Recovery point, high watermark, log start, or first offset that is not cleaned.
    pub offset: i64,
}

/// Reads a `leader-epoch-checkpoint`.
///
/// # Errors
/// Another version, lines that are none or not as many as announced, epochs or offsets that do not grow.
pub fn parse_epochs(text: &str) -> Result<Vec<EpochStart>, FormatError> {
    let mut epochs: Vec<EpochStart> = Vec::new();
    for (at, line) in entries(text)? {
        let entry = epoch(line).ok_or_else(|| FormatError::text(at, line, "an epoch and its first offset"))?;
        if let Some(before) = epochs.last() {
            grows(at, "epoch", i64::from(entry.epoch), i64::from(before.epoch))?;
            grows(at, "offset", entry.start, before.start)?;
        }
        epochs.push(entry);
    }
    Ok(epochs)
}

/// The text of a `leader-epoch-checkpoint`.
pub fn render_epochs(epochs: &[EpochStart]) -> String {
    let mut text = head(epochs.len());
    for EpochStart { epoch, start } in epochs {
        writeln!(text, "{epoch} {start}").expect("a string takes all");
    }
    text
}

/// Reads a checkpoint of an offset for each partition, in the order of its lines; Kafka's own order is that of a hash table.
///
/// # Errors
/// Another version, lines that are none or not as many as announced.
pub fn parse_offsets(text: &str) -> Result<Vec<PartitionOffset>, FormatError> {
    let read =
        |(at, line)| partition_offset(line).ok_or_else(|| FormatError::text(at, line, "topic, partition, offset"));
    entries(text)?.into_iter().map(read).collect()
}

/// The text of a checkpoint of an offset for each partition.
pub fn render_offsets(offsets: &[PartitionOffset]) -> String {
    let mut text = head(offsets.len());
    for PartitionOffset { topic, partition, offset } in offsets {
        writeln!(text, "{topic} {partition} {offset}").expect("a string takes all");
    }
    text
}

fn head(count: usize) -> String {
    format!("{VERSION}\n{count}\n")
}

fn grows(at: u64, field: &'static str, value: i64, before: i64) -> Result<(), FormatError> {
    if value > before {
        return Ok(());
    }
    Err(FormatError::NotGrowing { at, field, value, before })
}

/// A number without a sign.
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn epoch(line: &str) -> Option<EpochStart> {
    let (epoch, start) = line.split_once(' ')?;
    Some(EpochStart { epoch: number(epoch)?, start: number(start)? })
}

fn partition_offset(line: &str) -> Option<PartitionOffset> {
    let mut words = line.split(' ');
    let topic = words.next().filter(|topic| !topic.is_empty())?.to_owned();
    let entry = PartitionOffset { topic, partition: number(words.next()?)?, offset: number(words.next()?)? };
    words.next().is_none().then_some(entry)
}

/// The lines behind version and count, each with its position in the text.
fn entries(text: &str) -> Result<Vec<(u64, &str)>, FormatError> {
    let mut at = 0;
    let with_position = text.split_inclusive('\n').map(|line| {
        let begin = at;
        at += line.len() as u64;
        (begin, line.strip_suffix('\n').unwrap_or(line))
    });
    let mut lines: Vec<(u64, &str)> = with_position.collect();
    let version = lines.first().and_then(|(_, line)| number::<i64>(line));
    if version != Some(VERSION) {
        let found = lines.first().map_or("", |(_, line)| *line);
        return Err(match version {
            Some(found) => FormatError::Version { at: 0, found, known: "0" },
            None => FormatError::text(0, found, "a version"),
        });
    }
    let (count_at, count) = lines.get(1).copied().unwrap_or((text.len() as u64, ""));
    let announced: u32 = number(count).ok_or_else(|| FormatError::text(count_at, count, "a count"))?;
    let entries = lines.split_off(2);
    let found = entries.len() as u64;
    if found != u64::from(announced) {
        let at = entries.get(announced as usize).map_or(text.len() as u64, |(at, _)| *at);
        return Err(FormatError::Count { at, what: "entries", found, announced: i64::from(announced) });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_stand_a_line_each_behind_version_and_count() {
        let epochs = vec![EpochStart { epoch: 1, start: 0 }, EpochStart { epoch: 4, start: 20 }];
        assert_eq!(render_epochs(&epochs), "0\n2\n1 0\n4 20\n");
        assert_eq!(parse_epochs("0\n2\n1 0\n4 20\n"), Ok(epochs));
        assert_eq!(parse_epochs("0\n0\n"), Ok(Vec::new()));
    }

    #[test]
    fn offsets_stand_a_line_each_behind_version_and_count() {
        let text = "0\n2\n__consumer_offsets 49 7\na.b 0 9223372036854775807\n";
        assert_eq!(parse_offsets(text).map(|offsets| render_offsets(&offsets)), Ok(text.to_owned()));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_byte() {
        let version = FormatError::Version { at: 0, found: 1, known: "0" };
        assert_eq!(parse_epochs("1\n0\n"), Err(version));
        assert_eq!(parse_epochs(""), Err(FormatError::text(0, "", "a version")));
        assert_eq!(parse_epochs("0\n"), Err(FormatError::text(2, "", "a count")));
        let few = FormatError::Count { at: 8, what: "entries", found: 1, announced: 2 };
        assert_eq!(parse_epochs("0\n2\n1 0\n"), Err(few));
        let many = FormatError::Count { at: 8, what: "entries", found: 2, announced: 1 };
        assert_eq!(parse_epochs("0\n1\n1 0\n2 5\n"), Err(many));
        let back = FormatError::NotGrowing { at: 8, field: "epoch", value: 1, before: 1 };
        assert_eq!(parse_epochs("0\n2\n1 0\n1 5\n"), Err(back));
        let line = FormatError::text(4, "orders 0 -3", "topic, partition, offset");
        assert_eq!(parse_offsets("0\n1\norders 0 -3\n"), Err(line));
        assert!(parse_offsets("0\n1\norders 0 3 4\n").is_err());
    }
}
