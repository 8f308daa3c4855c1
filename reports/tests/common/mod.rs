//! A report in which something of every kind happened.

#![allow(dead_code, reason = "each test takes a part")]

use klamm_base::{ClientId, ClientRecord, TopicPartition, Uuid};
use klamm_checkers::{AllowedLoss, Counts, Fact, Report, Stretch, Verdict, Witness};

pub const REPRO: &str = "klamm run core --seed 17 --without epoch-truncation";

pub fn stretch(from: i64, to: i64) -> Stretch {
    let record = |number| ClientRecord { client: ClientId(3), number };
    Stretch {
        tp: TopicPartition { topic: Uuid(7), partition: 0 },
        topic: "orders".into(),
        from,
        to,
        records: (from as u32..to as u32).map(record).collect(),
    }
}

pub fn broken() -> Report {
    let witness = Witness {
        rule: "An acknowledged record survives.".into(),
        first: Fact { seq: 12, at_ns: 1_500_000_000, text: "p1 was told that its record 417 is written".into() },
        second: Fact { seq: 40, at_ns: 2_000_000_000, text: "node 3 took up epoch 3".into() },
        text: "Node 3 leads without it.".into(),
        records: vec![stretch(417, 420)],
        derived: 2,
    };
    let loss = AllowedLoss {
        what: "1 record of orders-0 that only its leader had".into(),
        records: vec![stretch(9, 10)],
        setting: "acks=1".into(),
        cause: "epoch 2 was taken up at 1.000 s by a leader without it".into(),
    };
    let mut report = Report::default();
    report.verdicts.insert("acked-survive", Verdict::Violated { witness, obligations: 1234 });
    report.verdicts.insert("consumers-read-committed", Verdict::Allowed { obligations: 8, losses: vec![loss] });
    report.verdicts.insert("log-matching", Verdict::Held { obligations: 5678 });
    report.verdicts.insert("recovery", Verdict::NotTested { reason: "no replica was loaded again".into() });
    report.counts = Counts { acked: 1500, refused: 1, unknown: 2, sent: 0, read: 3000, faults: 4, allowed_losses: 1 };
    report.sim_ns = 20_000_000_000;
    report.operations = 9876;
    report
}
