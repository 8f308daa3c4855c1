//! The director against hands that only write down what they are told.

use super::director::{Away, Director};
use super::effects::{Condition, Hands};
use super::roster::{HostIx, Roster};
use crate::script::Script;
use klamm_base::{
    ClientId, ClientKind, ClientRecord, Election, NodeId, Observation, Outcome, Source, TopicPartition, Uuid,
};
use klamm_sim::{Fault, Struck};
use std::collections::BTreeMap;

const MS: u64 = 1_000_000;
const ORDERS: TopicPartition = TopicPartition { topic: Uuid(7), partition: 0 };

struct Paper {
    roster: Roster,
    conditions: BTreeMap<HostIx, Condition>,
    lines: Vec<String>,
    wakes: Vec<u64>,
    /// By their numbers, as they are mended.
    struck: Vec<Fault>,
}

impl Paper {
    fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }

    fn write(&mut self, verb: &str, fault: &Fault) {
        let places: Vec<String> = fault.places().into_iter().map(ToString::to_string).collect();
        self.lines.push(format!("{verb}{} {}", fault.name(), places.join(">")));
    }

    fn set(&mut self, fault: &Fault, condition: Condition) {
        let host = self.roster.by_name(&fault.places()[0].to_string()).unwrap();
        match fault {
            Fault::Pause { .. } if condition != Condition::Up => self.conditions.insert(host, Condition::Paused),
            Fault::Pause { .. } => self.conditions.insert(host, condition),
            _ if fault.takes_down() => self.conditions.insert(host, condition),
            _ => None,
        };
    }
}

impl Hands for Paper {
    fn condition(&self, host: HostIx) -> Condition {
        self.conditions.get(&host).copied().unwrap_or(Condition::Up)
    }
    fn strike(&mut self, fault: &Fault) -> Option<Struck> {
        self.write("", fault);
        self.set(fault, Condition::Down);
        self.struck.push(fault.clone());
        Some(Struck(self.struck.len() as u64))
    }
    fn mend(&mut self, struck: Struck) {
        let fault = self.struck[struck.0 as usize - 1].clone();
        self.write("mend ", &fault);
        self.set(&fault, Condition::Up);
    }
    fn restart(&mut self, host: HostIx) {
        self.conditions.insert(host, Condition::Up);
        self.lines.push(format!("restart {}", self.roster.name(host)));
    }
    fn struck(&mut self, _text: String, _fault: bool) {}
    fn wake_at(&mut self, ns: u64) {
        self.wakes.push(ns);
    }
}

fn play(steps: &str) -> (Director, Paper) {
    let clients =
        "[[producer]]\nname = \"p1\"\ntopics = [\"orders\"]\n[[producer]]\nname = \"p2\"\ntopics = [\"orders\"]\n";
    let text = format!("[[topic]]\nname = \"orders\"\n{clients}{steps}");
    let script = Script::from_toml("test.toml", &text).unwrap();
    let roster = Roster::new(&script);
    let mut director = Director::new(&script, roster.clone());
    director.begin(0);
    let topic = Observation::TopicCreated {
        topic: ORDERS.topic,
        name: "orders".to_owned(),
        partitions: 1,
        replication: 3,
        min_insync_replicas: 1,
        unclean: false,
        retention_ms: -1,
        retention_bytes: -1,
        compacted: None,
    };
    director.see(0, Source::Node(NodeId(101)), &topic);
    (director, Paper { roster, conditions: BTreeMap::new(), lines: Vec::new(), wakes: Vec::new(), struck: Vec::new() })
}

fn leads(director: &mut Director, now: u64, leader: Option<i32>, epoch: i32, isr: &[i32]) {
    let changed = Observation::PartitionChanged {
        tp: ORDERS,
        leader: leader.map(NodeId),
        leader_epoch: epoch,
        partition_epoch: epoch,
        replicas: [1, 2, 3].map(NodeId).to_vec(),
        isr: isr.iter().copied().map(NodeId).collect(),
        election: Election::Clean,
    };
    director.see(now, Source::Node(NodeId(101)), &changed);
}

fn appended(director: &mut Director, now: u64, epoch: i32) {
    let appended = Observation::Appended {
        keys: Vec::new(),
        tp: ORDERS,
        base_offset: 0,
        last_offset: 0,
        leader_epoch: epoch,
        batch: 1,
        as_leader: true,
        position: 0,
        bytes: 100,
        producer: None,
        max_timestamp: -1,
    };
    director.see(now, Source::Node(NodeId(1)), &appended);
}

fn acked(director: &mut Director, now: u64, client: u32) {
    let record = ClientRecord { client: ClientId(client), number: 0 };
    let ended = Observation::Ended { tp: ORDERS, record, outcome: Outcome::Acked(0) };
    director.see(now, Source::Client(ClientId(client)), &ended);
}

#[test]
fn a_role_is_resolved_when_the_step_strikes_and_not_before() {
    let (mut director, mut paper) = play("[[step]]\nat = \"5ms\"\ncrash = \"leader(orders-0)\"\n");
    leads(&mut director, 0, Some(2), 0, &[1, 2, 3]);
    director.act(4 * MS, &mut paper);
    assert!(paper.take().is_empty());
    leads(&mut director, 4 * MS, Some(3), 1, &[1, 2, 3]);
    director.act(5 * MS, &mut paper);
    assert_eq!(paper.take(), ["kill b3"]);
}

#[test]
fn a_step_whose_target_is_nobody_waits_until_there_is_somebody() {
    let (mut director, mut paper) = play("[[step]]\nat = \"5ms\"\npause = \"leader(orders-0)\"\n");
    leads(&mut director, 0, None, 0, &[1]);
    director.act(9 * MS, &mut paper);
    assert!(paper.take().is_empty());
    assert_eq!(director.never_struck().len(), 1);
    leads(&mut director, 12 * MS, Some(1), 1, &[1]);
    director.act(12 * MS, &mut paper);
    assert_eq!(paper.take(), ["pause b1"]);
    assert!(director.never_struck().is_empty());
}

#[test]
fn an_effect_ends_by_itself_and_a_machine_held_by_two_steps_is_freed_by_the_last() {
    let steps = "[[step]]\nat = \"1ms\"\nfor = \"4ms\"\ncut = { between = \"b1\", and = \"b2\" }\n\
                 [[step]]\nat = \"2ms\"\nfor = \"9ms\"\ncut = { from = \"b1\", to = \"followers(orders-0)\" }\n";
    let (mut director, mut paper) = play(steps);
    leads(&mut director, 0, Some(1), 0, &[1, 2, 3]);
    director.act(MS, &mut paper);
    assert_eq!(paper.take(), ["one-way-cut b1>b2", "one-way-cut b2>b1"]);
    assert_eq!(paper.wakes, [5 * MS]);
    director.act(2 * MS, &mut paper);
    assert_eq!(paper.take(), ["one-way-cut b1>b2", "one-way-cut b1>b3"]);
    director.act(5 * MS, &mut paper);
    assert_eq!(paper.take(), ["mend one-way-cut b1>b2", "mend one-way-cut b2>b1"]);
    director.act(11 * MS, &mut paper);
    assert_eq!(paper.take(), ["mend one-way-cut b1>b2", "mend one-way-cut b1>b3"]);
}

#[test]
fn a_process_that_its_disk_brought_down_is_started_again_when_the_fault_is_over() {
    let steps = "[[step]]\nat = \"1ms\"\nfor = \"4ms\"\ndisk = { target = \"b1\", fault = \"write-error\" }\n\
                 [[step]]\nat = \"2ms\"\ncrash = \"b2\"\n\
                 [[step]]\nat = \"2ms\"\nfor = \"4ms\"\nfill = \"brokers\"\n";
    let (mut director, mut paper) = play(steps);
    director.act(MS, &mut paper);
    director.act(2 * MS, &mut paper);
    assert_eq!(paper.take(), ["write-error b1", "kill b2", "no-space b1", "no-space b2", "no-space b3"]);
    let b1 = paper.roster.by_name("b1").unwrap();
    paper.conditions.insert(b1, Condition::Down);
    director.act(5 * MS, &mut paper);
    assert_eq!(paper.take(), ["mend write-error b1", "restart b1"]);
    director.act(6 * MS, &mut paper);
    assert_eq!(paper.take(), ["mend no-space b1", "mend no-space b2", "mend no-space b3"], "b2 is held down by a step");
}

#[test]
fn restored_disks_and_healed_links_end_what_steps_began_there_and_nothing_else() {
    let steps = "[[step]]\nat = \"1ms\"\nfill = \"b1\"\n[[step]]\nat = \"1ms\"\nfill = \"b2\"\n\
                 [[step]]\nat = \"1ms\"\ncut = { between = \"b1\", and = \"b2\" }\n\
                 [[step]]\nat = \"2ms\"\nrestore-disk = \"b1\"\n[[step]]\nat = \"3ms\"\nheal = \"b2\"\n";
    let (mut director, mut paper) = play(steps);
    director.act(MS, &mut paper);
    paper.take();
    director.act(2 * MS, &mut paper);
    assert_eq!(paper.take(), ["mend no-space b1"]);
    director.act(3 * MS, &mut paper);
    assert_eq!(paper.take(), ["mend one-way-cut b1>b2", "mend one-way-cut b2>b1"]);
}

#[test]
fn a_crash_for_a_while_restarts_the_same_machine_though_the_role_moved_on() {
    let (mut director, mut paper) = play("[[step]]\nat = \"1ms\"\nfor = \"4ms\"\ncrash = \"leader(orders-0)\"\n");
    leads(&mut director, 0, Some(1), 0, &[1, 2, 3]);
    director.act(MS, &mut paper);
    leads(&mut director, 3 * MS, Some(2), 1, &[2, 3]);
    director.act(5 * MS, &mut paper);
    assert_eq!(paper.take(), ["kill b1", "mend kill b1"]);
}

#[test]
fn counts_begin_when_the_step_is_armed_and_may_belong_to_one_producer() {
    let (mut director, mut paper) = play("[[step]]\nat = \"5ms\"\nwhen = \"ack 2 of p2\"\npause = \"b1\"\n");
    for (client, name) in [(4, "p1"), (5, "p2")] {
        let kind = ClientKind::Producer { acks: -1, idempotent: true };
        let started = Observation::ClientStarted { name: name.to_owned(), kind };
        director.see(0, Source::Client(ClientId(client)), &started);
    }
    acked(&mut director, MS, 5);
    director.act(5 * MS, &mut paper);
    for client in [5, 4, 4] {
        acked(&mut director, 6 * MS, client);
    }
    director.act(6 * MS, &mut paper);
    assert!(paper.take().is_empty());
    acked(&mut director, 7 * MS, 5);
    director.act(7 * MS, &mut paper);
    assert_eq!(paper.take(), ["pause b1"]);
}

#[test]
fn a_fresh_append_is_one_in_an_epoch_that_began_after_the_step_was_armed() {
    let (mut director, mut paper) =
        play("[[step]]\nwhen = \"fresh append on orders-0\"\nafter = \"2ms\"\ncrash = \"leader(orders-0)\"\n");
    leads(&mut director, 0, Some(1), 3, &[1, 2, 3]);
    director.act(0, &mut paper);
    appended(&mut director, MS, 3);
    director.act(MS, &mut paper);
    assert!(paper.wakes.is_empty());
    leads(&mut director, 2 * MS, Some(2), 4, &[2, 3]);
    appended(&mut director, 2 * MS, 4);
    director.act(2 * MS, &mut paper);
    assert_eq!(paper.wakes, [4 * MS]);
    director.act(4 * MS, &mut paper);
    assert_eq!(paper.take(), ["kill b2"]);
}

#[test]
fn states_that_hold_when_a_step_is_armed_count_at_once_and_steps_trigger_steps() {
    let steps = "[[step]]\nname = \"first\"\nat = \"3ms\"\nwhen = \"isr(orders-0) is [b2, b1]\"\npause = \"b1\"\n\
                 [[step]]\nwhen = \"step first\"\nskew = { target = \"struck(first)\", by = \"-2s\" }\n";
    let (mut director, mut paper) = play(steps);
    leads(&mut director, 0, Some(1), 0, &[1, 2]);
    director.act(0, &mut paper);
    assert!(paper.take().is_empty());
    director.act(3 * MS, &mut paper);
    assert_eq!(paper.take(), ["pause b1", "skew b1"]);
}

#[test]
fn mending_restarts_and_heals_everything_but_what_is_gone_for_good() {
    let steps = "[[step]]\nat = \"1ms\"\nforever = true\ncrash = \"b1\"\n[[step]]\nat = \"1ms\"\npower-off = \"b2\"\n\
                 [[step]]\nat = \"1ms\"\npause = \"p1\"\n[[step]]\nat = \"1ms\"\ncut = { from = \"b3\", to = \"c1\" }\n\
                 [[step]]\nat = \"9ms\"\ncrash = \"b3\"\n";
    let (mut director, mut paper) = play(steps);
    director.act(MS, &mut paper);
    paper.take();
    director.mend(&mut paper, &BTreeMap::new());
    assert_eq!(paper.take(), ["mend one-way-cut b3>c1", "mend pause p1", "mend power-off b2"]);
    director.act(10 * MS, &mut paper);
    assert!(paper.take().is_empty(), "nothing strikes after the end");
    assert_eq!(director.never_struck(), [("crash b3".to_owned(), false)]);
}

#[test]
fn who_is_left_out_of_the_heal_stays_dead_or_is_cut_off_from_everybody() {
    let steps = "[[step]]\nat = \"1ms\"\npower-off = \"b1\"\n[[step]]\nat = \"1ms\"\ncut = { from = \"b2\", to = \"c1\" }\n\
                 [[step]]\nat = \"1ms\"\npause = \"b3\"\n";
    let (mut director, mut paper) = play(steps);
    director.act(MS, &mut paper);
    paper.take();
    let host = |name: &str| paper.roster.by_name(name).unwrap();
    let out = BTreeMap::from([(host("b1"), Away::Dead), (host("b2"), Away::CutOff), (host("b3"), Away::Dead)]);
    director.mend(&mut paper, &out);
    let lines = paper.take();
    assert_eq!(lines[..3], ["kill b3", "mend one-way-cut b2>c1", "mend pause b3"]);
    let cut: Vec<String> =
        ["c1", "b1", "b3", "p1", "p2", "admin", "judge"].map(|other| format!("cut b2>{other}")).into();
    assert_eq!(lines[3..], cut);
}
