//! `cargo bench -p klamm-benches --bench black_box`: the black-box judge on made-up histories of 10^4 to 10^7 operations. Half of them
//! send up to eight values, the others poll up to 48 from three of 24 keys, some of them in transactions that send too; one in a
//! hundred sends has an unknown outcome, one in two hundred fails, offsets have holes, and in the end everything is read. Nothing
//! is wrong in them. `-- --most N` stops at N operations.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

use klamm_checkers::blackbox::{
    Does, Ended, Key, Looking, NO_OFFSET, Op, Operations, Process, Record, Settings, judge,
};
use std::time::Instant;

const KEYS: u32 = 24;
const THREADS: u32 = 32;
const ROUNDS: usize = 3;

/// Draws that repeat.
struct Draws(u64);

impl Draws {
    fn below(&mut self, end: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % u64::from(end)) as u32
    }
}

/// One client thread: its process of the day, and where it reads on in the keys that it is assigned.
struct Thread {
    process: u32,
    assigned: Vec<(u32, usize)>,
}

struct Maker {
    operations: Operations,
    draws: Draws,
    /// Offset and value of what stands in each key.
    logs: Vec<Vec<(i64, u32)>>,
    next_offset: Vec<i64>,
    threads: Vec<Thread>,
    records: Vec<Record>,
    lines: u32,
}

fn made(ops: usize) -> Operations {
    let mut maker = Maker {
        operations: Operations::with_room(ops, ops * 9),
        draws: Draws(7),
        logs: vec![Vec::new(); KEYS as usize],
        next_offset: vec![0; KEYS as usize],
        threads: Vec::new(),
        records: Vec::new(),
        lines: 0,
    };
    (0..KEYS).for_each(|number| {
        maker.operations.add_key(Key { number: i64::from(number), partition: None });
    });
    for _ in 0..THREADS {
        let process = maker.process();
        maker.threads.push(Thread { process, assigned: Vec::new() });
    }
    while maker.operations.len() < ops {
        let thread = maker.draws.below(THREADS) as usize;
        if thread.is_multiple_of(2) { maker.send(thread) } else { maker.poll(thread) }
    }
    maker.read_all();
    maker.operations
}

impl Maker {
    fn process(&mut self) -> u32 {
        let number = self.draws.0 as i64;
        self.operations.add_process(Process { number, client: String::new(), settings: Settings::default() })
    }

    fn push(&mut self, thread: usize, does: Does, ended: Ended, keys: &[u32]) {
        let at = self.lines;
        self.lines += 2;
        let ns = |line: u32| (line, u64::from(line) * 1_000);
        let mut op = Op::new(self.threads[thread].process, does, ended, ns(at), ns(at + 1));
        op.from_beginning = false;
        self.operations.push(op, &self.records, keys);
        self.records.clear();
    }

    fn sent(&mut self, key: u32, ended: Ended) {
        let value = self.operations.add_value(i64::from(self.lines) << 4 | self.records.len() as i64);
        let written = ended == Ended::Ok || (ended == Ended::Info && self.draws.below(2) == 0);
        let offset = &mut self.next_offset[key as usize];
        if written {
            *offset += 1 + i64::from(self.draws.below(50) == 0);
            self.logs[key as usize].push((*offset, value));
        }
        let told = if ended == Ended::Ok { *offset } else { NO_OFFSET };
        self.records.push(Record::sent(key, told, value));
    }

    fn send(&mut self, thread: usize) {
        let ended = match self.draws.below(200) {
            0 => Ended::Fail,
            1 | 2 => Ended::Info,
            _ => Ended::Ok,
        };
        let (key, values) = (self.draws.below(KEYS), 1 + self.draws.below(8));
        (0..values).for_each(|_| self.sent(key, ended));
        self.push(thread, Does::Send, ended, &[]);
        if ended == Ended::Info {
            self.threads[thread].process = self.process();
        }
    }

    fn poll(&mut self, thread: usize) {
        if self.threads[thread].assigned.is_empty() || self.draws.below(25) == 0 {
            return self.assign(thread);
        }
        for (key, position) in &mut self.threads[thread].assigned {
            let log = &self.logs[*key as usize];
            let to = log.len().min(*position + 16);
            self.records.extend(log[*position..to].iter().map(|(offset, value)| Record::polled(*key, *offset, *value)));
            *position = to;
        }
        let sends = self.draws.below(10) == 0;
        if sends {
            let key = self.draws.below(KEYS);
            self.sent(key, Ended::Ok);
        }
        self.push(thread, if sends { Does::Txn } else { Does::Poll }, Ended::Ok, &[]);
    }

    /// Three neighbouring keys anew, each from a little before its end.
    fn assign(&mut self, thread: usize) {
        let first = self.draws.below(KEYS);
        let keys = [0, 1, 2].map(|step| (first + step) % KEYS);
        self.push(thread, Does::Assign, Ended::Ok, &[]);
        self.push(thread, Does::Assign, Ended::Ok, &keys);
        let back = |key: u32| (key, self.logs[key as usize].len().saturating_sub(50));
        self.threads[thread].assigned = keys.map(back).to_vec();
    }

    fn read_all(&mut self) {
        let process = self.process();
        let at = self.lines;
        let all: Vec<u32> = (0..KEYS).collect();
        let mut op =
            Op::new(process, Does::Assign, Ended::Ok, (at, u64::from(at) * 1_000), (at, u64::from(at) * 1_000));
        op.from_beginning = true;
        self.operations.push(op, &[], &all);
        self.threads[0].process = process;
        for key in all {
            for part in std::mem::take(&mut self.logs[key as usize]).chunks(48) {
                self.records.extend(part.iter().map(|(offset, value)| Record::polled(key, *offset, *value)));
                self.push(0, Does::Poll, Ended::Ok, &[]);
            }
        }
    }
}

fn measure(ops: usize) {
    let operations = made(ops);
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let report = judge(&operations, Looking::default());
        best = best.min(start.elapsed().as_secs_f64());
        assert_eq!(report.violated(), Vec::<&str>::new(), "nothing is wrong in it");
        assert!(report.verdict("lost-write").obligations() as usize > ops, "every value was judged");
    }
    let (ops, records) = (operations.len() as f64, operations.records_len() as f64);
    println!(
        "{ops:>9} operations {records:>9} records  {best:.4} s  {:.2} M operations/s  {:.1} M records/s  {:.0} ns an operation",
        ops / best / 1e6,
        records / best / 1e6,
        best / ops * 1e9
    );
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_test = arguments.iter().any(|argument| argument == "--test");
    let at = arguments.iter().position(|argument| argument == "--most");
    let most = at.map_or(if is_test { 10_000 } else { 10_000_000 }, |at| {
        arguments.get(at + 1).and_then(|text| text.parse().ok()).expect("--most N")
    });
    (4..=7).map(|power| 10usize.pow(power)).take_while(|ops| *ops <= most).for_each(measure);
}
