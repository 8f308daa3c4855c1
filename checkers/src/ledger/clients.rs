//! Clients and the records that they sent.

use klamm_base::{ClientId, ClientKind, ClientRecord, Outcome};
use std::collections::BTreeMap;

/// A record's name in one machine word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Word(u64);

impl Word {
    /// Nobody looked.
    pub const UNSEEN: Word = Word(u64::MAX);
    /// A value that no workload wrote.
    pub const FOREIGN: Word = Word(u64::MAX - 1);

    pub fn of(record: Option<ClientRecord>) -> Word {
        record.map_or(Word::FOREIGN, |record| Word(u64::from(record.client.0) << 32 | u64::from(record.number)))
    }

    pub fn seen(self) -> bool {
        self != Word::UNSEEN
    }

    pub fn record(self) -> Option<ClientRecord> {
        let named = self != Word::UNSEEN && self != Word::FOREIGN;
        named.then_some(ClientRecord { client: ClientId((self.0 >> 32) as u32), number: self.0 as u32 })
    }
}

/// One client incarnation.
#[derive(Debug)]
pub(crate) struct Client {
    pub name: String,
    pub kind: ClientKind,
    /// Entries at which it learned a producer id: each begins a session.
    pub sessions: Vec<u32>,
}

impl Client {
    pub fn idempotent(&self) -> bool {
        matches!(self.kind, ClientKind::Producer { idempotent: true, .. })
    }

    pub fn acks(&self) -> Option<i16> {
        match self.kind {
            ClientKind::Producer { acks, .. } => Some(acks),
            _ => None,
        }
    }

    /// True if a new session began after entry `from` and not after `to`.
    pub fn renewed_between(&self, from: u32, to: u32) -> bool {
        self.sessions.iter().skip(1).any(|at| from < *at && *at <= to)
    }
}

/// One record of a producer in one partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    /// Entry of its invocation; `u32::MAX` if the history holds none.
    pub invoked: u32,
    /// Entry and outcome of its end.
    pub ended: Option<(u32, Outcome)>,
    /// Where the final reading met it first; `None` if it did not.
    pub stands: Option<i64>,
}

impl Sent {
    /// Where it stands, or was told to.
    pub fn place(&self) -> Option<i64> {
        let told = match self.ended {
            Some((_, Outcome::Acked(offset))) => Some(offset),
            _ => None,
        };
        self.stands.or(told)
    }
}

const UNHEARD: Sent = Sent { invoked: u32::MAX, ended: None, stands: None };

/// The records of one producer in one partition, by number.
#[derive(Debug, Default)]
pub(crate) struct Sending {
    /// Numbers are dense from 0; those of a broken history go to `odd`.
    dense: Vec<Sent>,
    odd: BTreeMap<u32, Sent>,
    /// Invoked and not ended.
    pub pending: u32,
}

impl Sending {
    pub fn get(&self, number: u32) -> Option<&Sent> {
        self.dense.get(number as usize).or_else(|| self.odd.get(&number))
    }

    pub fn at(&mut self, number: u32) -> &mut Sent {
        let index = number as usize;
        if index == self.dense.len() {
            self.dense.push(UNHEARD);
        }
        if index < self.dense.len() {
            return &mut self.dense[index];
        }
        self.odd.entry(number).or_insert(UNHEARD)
    }

    /// Every record, by ascending number.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Sent)> {
        let dense = self.dense.iter().enumerate().map(|(number, sent)| (number as u32, sent));
        dense.chain(
            self.odd.iter().filter(|(number, _)| **number as usize >= self.dense.len()).map(|(n, sent)| (*n, sent)),
        )
    }
}
