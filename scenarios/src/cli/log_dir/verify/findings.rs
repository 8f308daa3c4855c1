//! What was found, and how it is told.

use serde::Serialize;
use std::fmt::Write;

/// Something at a byte of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub file: String,
    pub position: u64,
    pub what: String,
}

/// All that was found, and how much was read.
#[derive(Debug, Default, Serialize)]
pub struct Findings {
    pub files: u64,
    pub bytes: u64,
    pub batches: u64,
    pub records: u64,
    /// Indexes of active segments that still end in the zeros which were set aside for them, and those zeros.
    pub preallocated_files: u64,
    pub preallocated_bytes: u64,
    damages: Vec<Finding>,
    notes: Vec<Finding>,
}

impl Findings {
    /// Something is not as it must be.
    pub fn damage(&mut self, file: &str, position: u64, what: String) {
        self.damages.push(Finding { file: file.to_owned(), position, what });
    }

    /// Something is worth knowing, and no damage.
    pub fn note(&mut self, file: &str, position: u64, what: String) {
        self.notes.push(Finding { file: file.to_owned(), position, what });
    }

    /// True without damage.
    pub fn is_whole(&self) -> bool {
        self.damages.is_empty()
    }

    /// One line of JSON.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("numbers and texts are JSON")
    }

    /// For people.
    pub fn told(&self, dir: &str) -> String {
        let mut text = String::new();
        let mut list = |kind: &str, findings: &[Finding]| {
            for Finding { file, position, what } in findings {
                writeln!(text, "{kind}  {file}  byte {position}: {what}").expect("a string takes all");
            }
        };
        list("damage", &self.damages);
        list("note  ", &self.notes);
        let Findings { files, bytes, batches, records, preallocated_files, preallocated_bytes, .. } = self;
        if *preallocated_files > 0 {
            writeln!(
                text,
                "note    {preallocated_files} indexes end in zeros ({preallocated_bytes} bytes) that were set aside when their \
                 segments were opened: the broker was killed, or still runs"
            )
            .expect("a string takes all");
        }
        let verdict = match self.damages.len() {
            0 => "no damage".to_owned(),
            1 => "1 damage".to_owned(),
            many => format!("{many} damages"),
        };
        writeln!(text, "{dir}: {files} files, {bytes} bytes, {batches} batches, {records} records: {verdict}")
            .expect("a string takes all");
        text
    }
}
