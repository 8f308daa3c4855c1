//! The director against hands that only write down what they are told.

use super::director::Director;
use super::effects::{Condition, Ending, Flow, Hands};
use super::roster::{HostIx, Roster};
use crate::script::Script;
use klamm_base::{
    ClientId, ClientKind, ClientRecord, Election, NodeId, Observation, Outcome, Source, TopicPartition, Uuid,
};
use std::collections::BTreeMap;

const MS: u64 = 1_000_000;
const ORDERS: TopicPartition = TopicPartition { topic: Uuid(7), partition: 0 };

struct Paper {
    roster: Roster,
    conditions: BTreeMap<HostIx, Condition>,
    lines: Vec<String>,
    wakes: Vec<u64>,
}

impl Paper {
    fn name(&self, host: HostIx) -> String {
        self.roster.name(host).to_owned()
    }

    fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }
}

impl Hands for Paper {
    fn condition(&self, host: HostIx) -> Condition {
        self.conditions.get(&host).copied().unwrap_or(Condition::Up)
    }
    fn end(&mut self, host: HostIx, how: Ending) {
        self.conditions.insert(host, Condition::Down);
        self.lines.push(format!("{how:?} {}", self.name(host)));
    }
    fn restart(&mut self, host: HostIx) {
        self.conditions.insert(host, Condition::Up);
        self.lines.push(format!("restart {}", self.name(host)));
    }
    fn pause(&mut self, host: HostIx) {
        self.conditions.insert(host, Condition::Paused);
        self.lines.push(format!("pause {}", self.name(host)));
    }
    fn resume(&mut self, host: HostIx) {
        self.conditions.insert(host, Condition::Up);
        self.lines.push(format!("resume {}", self.name(host)));
    }
    fn flow(&mut self, from: HostIx, to: HostIx, flow: Flow) {
        self.lines.push(format!("{}>{} {flow:?}", self.name(from), self.name(to)));
    }
    fn latency(&mut self, from: HostIx, to: HostIx, latency: Option<(u64, u64)>) {
        self.lines.push(format!("{}>{} {latency:?}", self.name(from), self.name(to)));
    }
    fn skew(&mut self, host: HostIx, by_ms: i64) {
        self.lines.push(format!("clock {} {by_ms}", self.name(host)));
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
    };
    director.see(0, Source::Node(NodeId(101)), &topic);
    (director, Paper { roster, conditions: BTreeMap::new(), lines: Vec::new(), wakes: Vec::new() })
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
        tp: ORDERS,
        base_offset: 0,
        last_offset: 0,
        leader_epoch: epoch,
        batch: 1,
        as_leader: true,
        position: 0,
        bytes: 100,
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
    assert_eq!(paper.take(), ["Kill b3"]);
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
    assert_eq!(paper.take(), ["b1>b2 Silent", "b2>b1 Silent"]);
    assert_eq!(paper.wakes, [5 * MS]);
    director.act(2 * MS, &mut paper);
    assert_eq!(paper.take(), ["b1>b2 Silent", "b1>b3 Silent"]);
    director.act(5 * MS, &mut paper);
    assert_eq!(paper.take(), ["b1>b2 Silent", "b2>b1 Up"]);
    director.act(11 * MS, &mut paper);
    assert_eq!(paper.take(), ["b1>b2 Up", "b1>b3 Up"]);
}

#[test]
fn a_crash_for_a_while_restarts_the_same_machine_though_the_role_moved_on() {
    let (mut director, mut paper) = play("[[step]]\nat = \"1ms\"\nfor = \"4ms\"\ncrash = \"leader(orders-0)\"\n");
    leads(&mut director, 0, Some(1), 0, &[1, 2, 3]);
    director.act(MS, &mut paper);
    leads(&mut director, 3 * MS, Some(2), 1, &[2, 3]);
    director.act(5 * MS, &mut paper);
    assert_eq!(paper.take(), ["Kill b1", "restart b1"]);
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
    assert_eq!(paper.take(), ["Kill b2"]);
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
    assert_eq!(paper.take(), ["pause b1", "clock b1 -2000"]);
}

#[test]
fn mending_restarts_and_heals_everything_but_what_is_gone_for_good() {
    let steps = "[[step]]\nat = \"1ms\"\nforever = true\ncrash = \"b1\"\n[[step]]\nat = \"1ms\"\npower-off = \"b2\"\n\
                 [[step]]\nat = \"1ms\"\npause = \"p1\"\n[[step]]\nat = \"1ms\"\ncut = { from = \"b3\", to = \"c1\" }\n\
                 [[step]]\nat = \"9ms\"\ncrash = \"b3\"\n";
    let (mut director, mut paper) = play(steps);
    director.act(MS, &mut paper);
    paper.take();
    director.mend(&mut paper);
    assert_eq!(paper.take(), ["b3>c1 Up", "restart b2", "resume p1"]);
    director.act(10 * MS, &mut paper);
    assert!(paper.take().is_empty(), "nothing strikes after the end");
    assert_eq!(director.never_struck(), [("crash b3".to_owned(), false)]);
}
