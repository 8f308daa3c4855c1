//! `partition.metadata` and `meta.properties` [L10].

use super::FormatError;
use klamm_base::Uuid;
use std::fmt;

/// `partition.metadata`: the topic's id, in each partition's directory (KIP-516). Without it a directory could belong to a
/// deleted topic of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionMetadata {
    /// The topic's id.
    pub topic_id: Uuid,
}

impl PartitionMetadata {
    /// Reads the file.
    ///
    /// # Errors
    /// Another version, or lines other than `version` and `topic_id`.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let (version, id) =
            text.split_once('\n').ok_or_else(|| FormatError::text(0, text, "a version and a topic id"))?;
        let found = version.strip_prefix("version: ").and_then(|found| found.parse::<i64>().ok());
        match found {
            Some(0) => {}
            Some(found) => return Err(FormatError::Version { at: 0, found, known: "0" }),
            None => return Err(FormatError::text(0, version, "`version: 0`")),
        }
        let at = version.len() as u64 + 1;
        let topic_id = id.strip_suffix('\n').unwrap_or(id).strip_prefix("topic_id: ");
        let topic_id = topic_id.and_then(|id| Uuid::try_from(id.to_owned()).ok());
        Ok(Self { topic_id: topic_id.ok_or_else(|| FormatError::text(at, id, "`topic_id: ` and 22 characters"))? })
    }
}

impl fmt::Display for PartitionMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version: 0\ntopic_id: {}", self.topic_id)
    }
}

/// `meta.properties`: to which cluster and node a log directory belongs, version 1 (KIP-631, KIP-858).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaProperties {
    /// When it was written, as its comment says: `Fri Nov 20 05:19:05 UTC 2026`. Kafka never reads it.
    pub written: String,
    /// The node.
    pub node_id: i32,
    /// This directory's own id; absent before KIP-858.
    pub directory_id: Option<Uuid>,
    /// The cluster. Usually a UUID's text, but any text is legal.
    pub cluster_id: String,
}

impl MetaProperties {
    /// Reads the file. Keys that are not known are left out, as Kafka leaves them.
    ///
    /// # Errors
    /// A line that is neither comment nor pair, another version than 1, an id that is missing or none.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let (written, pairs) = pairs(text)?;
        let get = |key: &str| pairs.iter().rev().find(|pair| pair.key == key);
        let end = text.len() as u64;
        let need = |key, expected| get(key).ok_or_else(|| FormatError::text(end, "", expected));
        let version = need("version", "`version=1`")?;
        if version.value != "1" {
            let found = version.value.parse().ok();
            return Err(found.map_or_else(
                || FormatError::text(version.at, &version.value, "a version"),
                |found| FormatError::Version { at: version.at, found, known: "1" },
            ));
        }
        let node = need("node.id", "`node.id=` and a number")?;
        let node_id: Option<i32> = node.value.parse().ok().filter(|id| *id >= 0);
        Ok(Self {
            written,
            node_id: node_id.ok_or_else(|| FormatError::text(node.at, &node.value, "a node's id"))?,
            directory_id: get("directory.id").map(directory).transpose()?,
            cluster_id: need("cluster.id", "`cluster.id=` and an id")?.value.clone(),
        })
    }
}

fn directory(pair: &Pair) -> Result<Uuid, FormatError> {
    Uuid::try_from(pair.value.clone()).map_err(|_| FormatError::text(pair.at, &pair.value, "a directory's id"))
}

impl fmt::Display for MetaProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#\n#{}\nnode.id={}\n", self.written, self.node_id)?;
        if let Some(id) = self.directory_id {
            writeln!(f, "directory.id={id}")?;
        }
        writeln!(f, "version=1\ncluster.id={}", escaped(&self.cluster_id))
    }
}

/// A `key=value` and where its line begins.
struct Pair {
    at: u64,
    key: String,
    value: String,
}

/// The last comment that says something, and all pairs of a file of Java properties.
fn pairs(text: &str) -> Result<(String, Vec<Pair>), FormatError> {
    let (mut at, mut comment, mut pairs) = (0, "", Vec::new());
    for line in text.split_inclusive('\n') {
        let (begin, trimmed) = (at, line.trim());
        at += line.len() as u64;
        if let Some(said) = trimmed.strip_prefix(['#', '!']) {
            comment = if said.is_empty() { comment } else { said };
        } else if !trimmed.is_empty() {
            let (key, value) =
                trimmed.split_once(['=', ':']).ok_or_else(|| FormatError::text(begin, trimmed, "`key=value`"))?;
            let (key, value) = (key.trim().to_owned(), unescaped(value.trim()));
            pairs.push(Pair { at: begin, key, value });
        }
    }
    Ok((comment.to_owned(), pairs))
}

/// The characters that Java puts a backslash before in the value of a property.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        if "\\=:#!".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn unescaped(value: &str) -> String {
    let (mut out, mut chars) = (String::with_capacity(value.len()), value.chars());
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const META: &str = "#\n#Fri Nov 20 05:19:05 UTC 2026\nnode.id=1\ndirectory.id=qSPCLf1USn0lM5vYp6gKJg\nversion=1\n\
                        cluster.id=4L6g3nShT-eMCtK--X86sw\n";

    #[test]
    fn a_topic_id_is_read_and_written() {
        let text = "version: 0\ntopic_id: LOxqhBY1QV67IKeG6vQgKw";
        assert_eq!(PartitionMetadata::parse(text).map(|read| read.to_string()), Ok(text.to_owned()));
        let other = FormatError::Version { at: 0, found: 1, known: "0" };
        assert_eq!(PartitionMetadata::parse("version: 1\ntopic_id: x"), Err(other));
        let none = PartitionMetadata::parse("version: 0\ntopic_id: short").unwrap_err();
        assert_eq!(none.at(), 11);
    }

    #[test]
    fn the_ids_of_a_directory_are_read_and_written() {
        let read = MetaProperties::parse(META).expect("what Kafka wrote");
        assert_eq!((read.node_id, read.cluster_id.as_str()), (1, "4L6g3nShT-eMCtK--X86sw"));
        assert_eq!(read.to_string(), META);
    }

    #[test]
    fn pairs_may_be_written_as_java_allows() {
        let text = "! by hand\nversion: 1\n  node.id = 7\nbroker.rack=a\ncluster.id=a\\=b\\:c\n";
        let read = MetaProperties::parse(text).expect("legal properties");
        assert_eq!((read.node_id, read.directory_id, read.cluster_id.as_str()), (7, None, "a=b:c"));
        assert!(read.to_string().ends_with("cluster.id=a\\=b\\:c\n"));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named_with_its_byte() {
        let wrong = |text: &str| MetaProperties::parse(text).unwrap_err();
        assert_eq!(wrong("node.id=1\nversion=0\n"), FormatError::Version { at: 10, found: 0, known: "1" });
        assert_eq!(wrong("version=1\nnode.id=x\n"), FormatError::text(10, "x", "a node's id"));
        assert_eq!(wrong("version=1\nnode.id=1\n"), FormatError::text(20, "", "`cluster.id=` and an id"));
        assert_eq!(wrong("rubbish\n"), FormatError::text(0, "rubbish", "`key=value`"));
    }
}
