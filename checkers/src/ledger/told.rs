//! What clients did and were told.

use super::partition::Final;
use super::witnesses::Astray;
use super::{Client, Effect, Ledger, Word};
use klamm_base::{ClientId, ClientRecord, Observation, Outcome, TopicPartition};

impl Ledger {
    pub(super) fn client(&mut self, at: u32, client: ClientId, observation: &Observation) -> Effect {
        match observation {
            Observation::ClientStarted { name, kind } => {
                let began = Client { name: name.clone(), kind: *kind, sessions: Vec::new() };
                self.clients.insert(client, began);
                Effect::Nothing
            }
            Observation::ProducerIdLearned { .. } => {
                if let Some(known) = self.clients.get_mut(&client) {
                    known.sessions.push(at);
                }
                Effect::Nothing
            }
            Observation::Invoked { tp, record } => {
                let part = self.part(*tp);
                let sending = self.parts[part].sendings.entry(record.client).or_default();
                sending.at(record.number).invoked = at;
                sending.pending += 1;
                Effect::Nothing
            }
            Observation::Ended { tp, record, outcome } => self.ended(at, *tp, *record, *outcome),
            Observation::Read { tp, offset, records, finally } => {
                let part = self.part(*tp);
                self.counts.read += records.len() as u64;
                let astray = self.astray(at, client, part, (*offset, records.len()), *finally);
                // What the reader does behind the end of this partition's reading is no part of it.
                if *finally && self.parts[part].finally.is_none() {
                    self.parts[part].finally_astray = astray;
                }
                if astray.is_none() {
                    self.read(at, part, *offset, records, *finally);
                }
                Effect::Read { part, astray: astray.map(|astray| astray.cause) }
            }
            Observation::Positioned { tp, offset } => {
                let part = self.part(*tp);
                self.witnesses.positioned(client, part, *offset);
                Effect::Read { part, astray: None }
            }
            Observation::FinallyRead { tp, log_start, log_end, complete } => {
                let part = self.part(*tp);
                let (start, end) = (*log_start, *log_end);
                // Of a cluster that is not at rest a reading shows what is there, and not what is gone.
                let complete = *complete && self.rested != Some(false);
                self.parts[part].finally = Some(Final { start, end, complete, at });
                self.parts[part].finally_began.get_or_insert(at);
                Effect::Nothing
            }
            _ => Effect::Nothing,
        }
    }

    fn ended(&mut self, at: u32, tp: TopicPartition, record: ClientRecord, outcome: Outcome) -> Effect {
        let part = self.part(tp);
        let partition = &mut self.parts[part];
        let sending = partition.sendings.entry(record.client).or_default();
        sending.at(record.number).ended = Some((at, outcome));
        sending.pending = sending.pending.saturating_sub(1);
        let mut stored = (None, None);
        match outcome {
            Outcome::Acked(offset) => {
                self.counts.acked += 1;
                let slot = partition.slots.at(offset);
                slot.acked = Word::of(Some(record));
                stored = slot.tell();
            }
            Outcome::Refused(_) => self.counts.refused += 1,
            Outcome::Unknown(_) => self.counts.unknown += 1,
            Outcome::Sent => self.counts.sent += 1,
        }
        Effect::Ended { part, record, outcome, stored }
    }

    /// What led a consumer elsewhere than to its position, if damage or a spoilt frame did: from then on, until it is set anew,
    /// it is no witness of what stands at which offset.
    fn astray(
        &mut self,
        at: u32,
        client: ClientId,
        part: usize,
        (offset, len): (i64, usize),
        finally: bool,
    ) -> Option<Astray> {
        let position = self.witnesses.read_on(client, part, offset.saturating_add(len as i64));
        if let Some(position) = position.filter(|position| *position != offset) {
            let name = self.clients.get(&client).map_or("", |client| client.name.as_str());
            let frame = self.witnesses.misled_lately(name, self.now_ns);
            let harm = || self.parts[part].harm_met(position, at, finally).map(|harm| harm.at);
            if let Some(cause) = frame.or_else(harm) {
                self.witnesses.lead_astray(client, part, Astray { cause, from: position });
            }
        }
        self.witnesses.astray(client, part)
    }

    /// Notes what was read where nothing was read before; a second reading is compared by the property that cares.
    fn read(&mut self, at: u32, part: usize, offset: i64, records: &[Option<ClientRecord>], finally: bool) {
        let partition = &mut self.parts[part];
        if finally {
            partition.finally_began.get_or_insert(at);
        }
        for (step, record) in records.iter().enumerate() {
            let offset = offset.saturating_add(step as i64);
            let word = Word::of(*record);
            let slot = partition.slots.at(offset);
            if !slot.read.seen() {
                (slot.read, slot.read_at) = (word, at);
            }
            if finally && !slot.last.seen() {
                (slot.last, slot.last_at) = (word, at);
                if let Some(record) = record {
                    let sent = partition.sendings.entry(record.client).or_default().at(record.number);
                    sent.stands = sent.stands.or(Some(offset));
                }
            }
        }
    }
}
