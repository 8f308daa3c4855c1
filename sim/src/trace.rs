//! All that happens, folded into one number; as text too for those who ask: `TIME KIND WHO WHAT`, where `WHO` is the
//! `host/task` that ran, or `world` for what happened by itself, and `WHAT` ends with a digest of what was hashed.

use crate::ctx;

/// The running hash of a run and, if asked for, its lines.
#[derive(Debug)]
pub(crate) struct Trace {
    pub hash: u64,
    pub lines: Option<Vec<String>>,
}

impl Trace {
    /// Nothing happened yet.
    pub fn new(seed: u64, keep_lines: bool) -> Self {
        Self { hash: fold(0, seed), lines: keep_lines.then(Vec::new) }
    }

    /// `kind` happened at `now_ns`. The line is made only if somebody keeps it; the hash is the same.
    pub fn note(&mut self, now_ns: u64, kind: Kind, words: [u64; 3], line: impl FnOnce() -> String) {
        let hash = fold(fold(self.hash, now_ns), kind as u64);
        self.hash = fold(fold(fold(hash, words[0]), words[1]), words[2]);
        if let Some(lines) = &mut self.lines {
            // What was hashed stands in the line: no two lines are equal whose events are not.
            let mark = words.into_iter().fold(0, fold);
            lines.push(format!("{now_ns} {} {} {} #{mark:016x}", kind.name(), ctx::who(), line()));
        }
    }
}

/// What can happen.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Timer = 1,
    Send,
    Deliver,
    Fin,
    Rst,
    Connect,
    Syn,
    Disk,
    Process,
    Fault,
    Spawn,
    Observe,
    Lost,
    Corrupt,
    Probe,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Timer => "timer",
            Self::Send => "send",
            Self::Deliver => "deliver",
            Self::Fin => "fin",
            Self::Rst => "rst",
            Self::Connect => "connect",
            Self::Syn => "syn",
            Self::Disk => "disk",
            Self::Process => "process",
            Self::Fault => "fault",
            Self::Spawn => "spawn",
            Self::Observe => "observe",
            Self::Lost => "lost",
            Self::Corrupt => "corrupt",
            Self::Probe => "probe",
        }
    }
}

const fn fold(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(23) ^ word).wrapping_mul(0x9fb2_1c65_1e98_df25)
}

/// A few words of some bytes: all of up to 128, else 16 spread evenly with the first and the last among them.
pub(crate) fn sample(bytes: &[u8]) -> u64 {
    let length = fold(0, bytes.len() as u64);
    if bytes.len() < 8 {
        return bytes.iter().fold(length, |hash, byte| fold(hash, u64::from(*byte)));
    }
    let last = bytes.len() - 8;
    let picks = last.div_ceil(8).min(15);
    let stride = last.checked_div(picks).unwrap_or(0);
    // Two sums that do not wait for each other.
    let (mut even, mut odd) = (length, fold(length, word_at(bytes, last)));
    let mut at = 0;
    for _ in 0..picks / 2 {
        even = fold(even, word_at(bytes, at));
        odd = fold(odd, word_at(bytes, at + stride));
        at += 2 * stride;
    }
    if picks % 2 == 1 {
        even = fold(even, word_at(bytes, at));
    }
    fold(even, odd)
}

fn word_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}
