//! What of a run must be the same, in a few words, and as one line of a file.

use crate::stage::RunResult;
use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

/// A run in a few words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Over all that the world did.
    pub trace: u64,
    /// Over the bytes of the history, as they are saved.
    pub history: u64,
    /// Entries of the history.
    pub events: u64,
    /// Network segments that arrived.
    pub deliveries: u64,
    /// Simulated nanoseconds.
    pub sim_ns: u64,
}

impl Fingerprint {
    /// Of a run.
    pub fn of(run: &RunResult) -> Self {
        let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
        run.history.to_json_lines(&mut hasher).expect("a hasher takes all bytes");
        let events = run.history.entries.len() as u64;
        Self { trace: run.trace_hash, history: hasher.0, events, deliveries: run.deliveries, sim_ns: run.sim_ns }
    }
}

/// FNV-1a, 64 bits: no secret, no state of the process.
struct Fnv(u64);

impl Write for Fnv {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = bytes.iter().fold(self.0, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A seed with its fingerprint: one line of `--hashes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hashed {
    /// The profile that drew the script.
    pub profile: String,
    /// Its seed.
    pub seed: u64,
    /// What it came to.
    pub fingerprint: Fingerprint,
}

impl fmt::Display for Hashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fingerprint { trace, history, events, deliveries, sim_ns } = self.fingerprint;
        write!(f, "{} {} trace={trace:016x} history={history:016x} ", self.profile, self.seed)?;
        write!(f, "events={events} deliveries={deliveries} ns={sim_ns}")
    }
}

impl FromStr for Hashed {
    type Err = ();

    fn from_str(line: &str) -> Result<Self, ()> {
        let mut words = line.split(' ');
        let mut word = |key: &str| words.next().and_then(|word| word.strip_prefix(key)).ok_or(());
        let (profile, seed) = (word("")?.to_owned(), number(word("")?, 10)?);
        let (trace, history) = (number(word("trace=")?, 16)?, number(word("history=")?, 16)?);
        let (events, deliveries) = (number(word("events=")?, 10)?, number(word("deliveries=")?, 10)?);
        let sim_ns = number(word("ns=")?, 10)?;
        Ok(Self { profile, seed, fingerprint: Fingerprint { trace, history, events, deliveries, sim_ns } })
    }
}

fn number(text: &str, radix: u32) -> Result<u64, ()> {
    u64::from_str_radix(text, radix).map_err(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let fingerprint = Fingerprint { trace: 0xabc, history: u64::MAX, events: 3, deliveries: 4, sim_ns: 5 };
        let hashed = Hashed { profile: "core".to_owned(), seed: 17, fingerprint };
        let line = hashed.to_string();
        assert_eq!(line, "core 17 trace=0000000000000abc history=ffffffffffffffff events=3 deliveries=4 ns=5");
        assert_eq!(line.parse(), Ok(hashed));
        for bad in ["", "core", "core x trace=1 history=1 events=1 deliveries=1 ns=1", "core 1 trace=1 events=1"] {
            assert_eq!(bad.parse::<Hashed>(), Err(()), "{bad}");
        }
    }

    #[test]
    fn every_byte_counts() {
        let hash = |bytes: &[u8]| {
            let mut hasher = Fnv(0);
            hasher.write_all(bytes).unwrap();
            hasher.0
        };
        assert_ne!(hash(&[1, 2, 3]), hash(&[1, 2, 4]));
        assert_ne!(hash(&[1, 2, 3]), hash(&[1, 2, 3, 0]));
    }
}
