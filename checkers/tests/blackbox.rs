//! Golden micro-histories of the black-box judge: for every class one that has it and one that nearly has it.

use klamm_checkers::blackbox::{self, ANOMALIES, Looking, Report, anomaly, edn};
use klamm_checkers::{Standing, Verdict};

/// A history in Jepsen's format, operation by operation.
#[derive(Default)]
struct Told {
    text: String,
    lines: usize,
}

impl Told {
    fn line(mut self, process: u32, kind: &str, function: &str, value: &str, more: &str) -> Told {
        let (index, time) = (self.lines, self.lines * 100);
        self.text.push_str(&format!(
            "{{:index {index} :time {time} :type :{kind} :process {process} :f :{function} :value {value}{more}}}\n"
        ));
        self.lines += 1;
        self
    }

    fn ended(self, process: u32, kind: &str, function: &str, value: &str, more: &str) -> Told {
        self.line(process, "invoke", function, "nil", "").line(process, kind, function, value, more)
    }

    fn ok(self, process: u32, function: &str, value: &str) -> Told {
        self.ended(process, "ok", function, value, "")
    }

    /// Process 0 sends to key 1 and is told the offset.
    fn sent(self, value: u32, offset: u32) -> Told {
        self.ok(0, "send", &format!("[[:send 1 [{offset} {value}]]]"))
    }

    /// A process polls pairs of offset and value from key 1.
    fn polled(self, process: u32, pairs: &[(u32, u32)]) -> Told {
        let pairs: Vec<String> = pairs.iter().map(|(offset, value)| format!("[{offset} {value}]")).collect();
        self.ok(process, "poll", &format!("[[:poll {{1 [{}]}}]]", pairs.join(" ")))
    }

    fn judged(&self) -> Report {
        self.judged_looking(Looking::default())
    }

    fn judged_looking(&self, looking: Looking) -> Report {
        blackbox::judge(&edn::read(&self.text).unwrap(), looking)
    }

    /// Judged: exactly these classes are violated.
    fn violates(&self, classes: &[&str]) -> Report {
        let report = self.judged();
        assert_eq!(report.violated(), classes, "{}", self.text);
        report
    }

    fn holds(&self, class: &str) -> Report {
        let report = self.violates(&[]);
        assert_eq!(report.standing(class), Standing::Held, "{:?}", report.verdict(class));
        report
    }

    fn allows(&self, class: &str) -> String {
        let report = self.violates(&[]);
        setting(&report, class)
    }
}

/// By what a class is allowed.
fn setting(report: &Report, class: &str) -> String {
    match report.verdict(class) {
        Verdict::Allowed { losses, .. } => losses[0].setting.clone(),
        verdict => panic!("{class} is {verdict:?}"),
    }
}

fn told() -> Told {
    Told::default()
}

#[test]
fn a_history_in_which_everything_is_read_in_order_has_no_anomaly() {
    let good = told().sent(10, 0).sent(11, 1).sent(12, 3).polled(1, &[(0, 10), (1, 11)]).polled(1, &[(3, 12)]);
    for class in ["lost-write", "inconsistent-offsets", "duplicate", "poll-skip", "int-poll-skip", "nonmonotonic-send"]
    {
        good.holds(class);
    }
    assert_eq!(good.judged().operations, 5);
}

#[test]
fn a_value_that_everybody_read_past_is_lost_and_its_skips_are_told_with_it() {
    let bad = told().sent(10, 0).sent(11, 1).sent(12, 2).polled(1, &[(0, 10), (2, 12)]).polled(2, &[(0, 10)]);
    let bad = bad.polled(2, &[(2, 12)]);
    let report = bad.violates(&["lost-write"]);
    let Verdict::Violated { witness, .. } = report.verdict("lost-write") else { panic!() };
    assert_eq!(witness.first.text, "process 0 sent value 11 to key 1, acknowledged at offset 1");
    assert_eq!(witness.second.text, "process 1 polled value 12 at offset 2 of key 1");
    assert_eq!((witness.records[0].from, witness.records[0].to, witness.derived), (1, 2, 0));
    assert_eq!(setting(&report, "int-poll-skip"), "follows from lost-write");
    assert_eq!(setting(&report, "poll-skip"), "follows from lost-write");
}

#[test]
fn a_value_at_the_end_that_nobody_read_yet_is_not_lost() {
    let late = told().sent(10, 0).sent(11, 1).polled(1, &[(0, 10)]);
    late.holds("lost-write");
    assert_eq!(late.allows("unseen"), "no final polls");
}

#[test]
fn a_record_of_a_producer_that_asked_for_less_than_all_may_be_lost() {
    let lost = told().ok(0, "send", "[[:send 1 [0 10]]]").sent(11, 1).polled(1, &[(1, 11)]);
    lost.violates(&["lost-write"]);
    let weak = Told { text: lost.text.replacen(":value nil", ":value nil :acks 1", 1), ..told() };
    assert_eq!(weak.allows("lost-write"), "acks=1");
}

#[test]
fn one_value_of_a_transaction_of_unknown_outcome_that_was_read_proves_the_others() {
    let txn = "[[:send 1 [0 10]] [:send 2 [0 20]]]";
    let torn = told().ended(0, "info", "txn", txn, "").ok(3, "send", "[[:send 2 [1 21]]]");
    let later = |torn: Told| torn.ok(1, "poll", "[[:poll {2 [[1 21]]}]]");
    later(torn).violates(&[]);
    let torn = told().ended(0, "info", "txn", txn, "").ok(3, "send", "[[:send 2 [1 21]]]").polled(4, &[(0, 10)]);
    later(torn).violates(&["lost-write"]);
}

#[test]
fn an_offset_with_two_values_is_inconsistent() {
    let report = told().sent(10, 0).polled(1, &[(0, 10)]).polled(2, &[(0, 11)]).violates(&["inconsistent-offsets"]);
    let Verdict::Violated { witness, .. } = report.verdict("inconsistent-offsets") else { panic!() };
    assert_eq!(witness.second.text, "process 2 polled value 11 at offset 0 of key 1");
    told().sent(10, 0).polled(1, &[(0, 10)]).polled(2, &[(0, 10)]).holds("inconsistent-offsets");
}

#[test]
fn an_offset_that_was_given_away_again_after_a_loss_is_the_loss() {
    let bad = told().sent(10, 0).sent(11, 0).polled(1, &[(0, 11)]);
    let report = bad.violates(&["lost-write"]);
    assert_eq!(setting(&report, "inconsistent-offsets"), "follows from lost-write");
    assert_eq!(setting(&report, "nonmonotonic-send"), "follows from lost-write");
}

#[test]
fn what_a_failed_transaction_polled_counts_and_what_it_sent_does_not() {
    let seen = told().sent(10, 0).ended(1, "fail", "txn", "[[:poll {1 [[0 11]]}]]", "");
    seen.polled(2, &[(0, 10)]).violates(&["inconsistent-offsets"]);
    let sent = told().sent(10, 0).ended(1, "fail", "txn", "[[:send 1 [0 11]]]", "").polled(2, &[(0, 10)]);
    sent.violates(&[]);
}

#[test]
fn a_value_at_two_offsets_is_a_duplicate_unless_its_producer_is_not_idempotent() {
    let bad = told().sent(10, 0).polled(1, &[(0, 10), (1, 10)]);
    let report = bad.violates(&["duplicate"]);
    let Verdict::Violated { witness, .. } = report.verdict("duplicate") else { panic!() };
    assert_eq!(witness.text, "value 10 stands at offsets 0 and 1 of key 1.");
    let weak = Told { text: bad.text.replacen(":value nil", ":value nil :idempotence false", 1), ..told() };
    assert_eq!(weak.allows("duplicate"), "enable.idempotence=false");
    told().sent(10, 0).polled(1, &[(0, 10)]).polled(2, &[(0, 10)]).holds("duplicate");
}

#[test]
fn a_failed_send_that_is_read_is_an_aborted_read() {
    let failed = || told().ended(0, "fail", "send", "[[:send 1 10]]", "").ok(2, "send", "[[:send 1 [1 11]]]");
    failed().polled(1, &[(0, 10), (1, 11)]).violates(&["G1a"]);
    failed().polled(1, &[(1, 11)]).holds("G1a");
    failed().ended(1, "info", "txn", "[[:poll {1 [[0 10]]}]]", "").polled(1, &[(1, 11)]).holds("G1a");
}

#[test]
fn a_transaction_that_polls_its_own_value_reads_what_is_not_committed() {
    told().ok(0, "txn", "[[:send 1 [0 10]] [:poll {1 [[0 10]]}]]").violates(&["precommitted-read"]);
    told().sent(10, 0).ok(1, "txn", "[[:send 1 [1 11]] [:poll {1 [[0 10]]}]]").holds("precommitted-read");
}

const FROM_BEGINNING: &str = " :seek-to-beginning? true";

#[test]
fn an_acknowledged_value_that_the_last_reading_does_not_meet_is_unseen() {
    let finally = |sent: Told| sent.ended(2, "ok", "assign", "[1]", FROM_BEGINNING);
    let bad = finally(told().sent(10, 0).sent(11, 1)).polled(2, &[(0, 10)]);
    let report = bad.violates(&["unseen"]);
    let Verdict::Violated { witness, .. } = report.verdict("unseen") else { panic!() };
    assert_eq!(witness.second.text, "process 2 began to read key 1 from its beginning");
    finally(told().sent(10, 0).sent(11, 1)).polled(2, &[(0, 10), (1, 11)]).holds("unseen");
    // Sent after that reading had begun: it may be late.
    let late = finally(told().sent(10, 0)).polled(2, &[(0, 10)]).sent(11, 1);
    assert_eq!(late.allows("unseen"), "no final polls");
}

#[test]
fn a_consumer_that_jumps_over_what_others_read_skips() {
    let sent = || told().sent(10, 0).sent(11, 1).sent(12, 2).polled(9, &[(0, 10), (1, 11), (2, 12)]);
    let report = sent().polled(1, &[(0, 10)]).polled(1, &[(2, 12)]).violates(&["poll-skip"]);
    let Verdict::Violated { witness, .. } = report.verdict("poll-skip") else { panic!() };
    assert_eq!(witness.text, "1 in between stand in key 1 and were jumped over, the first value 11 at offset 1.");
    sent().polled(1, &[(0, 10), (2, 12)]).violates(&["int-poll-skip"]);
    sent().polled(1, &[(0, 10), (1, 11)]).polled(1, &[(2, 12)]).holds("poll-skip");
}

#[test]
fn a_consumer_that_goes_back_reads_backwards() {
    let sent = || told().sent(10, 0).sent(11, 1);
    sent().polled(1, &[(0, 10), (1, 11)]).polled(1, &[(1, 11)]).violates(&["nonmonotonic-poll"]);
    sent().polled(1, &[(0, 10), (1, 11), (0, 10)]).violates(&["int-nonmonotonic-poll"]);
    sent().polled(1, &[(0, 10)]).polled(1, &[(1, 11)]).holds("nonmonotonic-poll");
}

#[test]
fn an_assignment_without_the_key_forgets_where_its_reader_was() {
    let again = |keys: [&str; 2]| {
        let read = told().sent(10, 0).sent(11, 1).polled(1, &[(0, 10), (1, 11)]);
        read.ok(1, "assign", keys[0]).ok(1, "assign", keys[1]).polled(1, &[(0, 10), (1, 11)])
    };
    again(["[2]", "[1 2]"]).violates(&[]);
    again(["[1 2]", "[1 2]"]).violates(&["nonmonotonic-poll"]);
}

#[test]
fn across_operations_a_history_with_subscribe_may_skip_and_go_back() {
    let skips = told().sent(10, 0).sent(11, 1).sent(12, 2).polled(9, &[(0, 10), (1, 11), (2, 12)]);
    let skips = skips.ok(1, "subscribe", "[1]").polled(1, &[(0, 10)]).polled(1, &[(2, 12)]).polled(1, &[(2, 12)]);
    assert_eq!(skips.allows("poll-skip"), "subscribe");
    assert_eq!(skips.allows("nonmonotonic-poll"), "subscribe");
    assert_eq!(skips.judged().consumed.into_iter().collect::<Vec<_>>(), [(1, 1), (2, 1)]);
}

#[test]
fn within_an_operation_only_keys_that_moved_may_skip_and_go_back() {
    let sent = || told().sent(10, 0).sent(11, 1).sent(12, 2).polled(9, &[(0, 10), (1, 11), (2, 12)]);
    let poll = "[[:poll {1 [[0 10] [2 12] [1 11]]}]]";
    sent().ok(1, "subscribe", "[1]").ok(1, "poll", poll).violates(&["int-poll-skip", "int-nonmonotonic-poll"]);
    sent().ended(1, "ok", "poll", poll, " :rebalance-log [{:keys [1]}]").violates(&[]);
    let other = sent().ended(1, "ok", "poll", poll, " :rebalance-log [{:keys [2]}]");
    other.violates(&["int-poll-skip", "int-nonmonotonic-poll"]);
}

#[test]
fn sends_of_one_process_stand_in_their_order() {
    told().sent(10, 1).sent(11, 0).polled(1, &[(0, 11), (1, 10)]).violates(&["nonmonotonic-send"]);
    let within = |pair: &str| told().ok(0, "txn", pair).ok(1, "poll", "[[:poll {1 [[0 5] [1 10] [2 11]]}]]");
    within("[[:send 1 [2 11]] [:send 1 [1 10]]]").violates(&["int-nonmonotonic-send"]);
    within("[[:send 1 [1 10]] [:send 1 [2 11]]]").holds("int-nonmonotonic-send");
    // What became of the first is unknown: it may have come late.
    let info = told().ended(0, "info", "send", "[[:send 1 10]]", "").sent(11, 0);
    info.polled(1, &[(0, 11), (1, 10)]).violates(&[]);
}

#[test]
fn the_place_of_a_send_that_was_told_no_offset_is_where_it_was_read() {
    let sent = told().ok(0, "send", "[[:send 1 [nil 10]]]").ok(0, "send", "[[:send 1 [nil 11]]]");
    sent.polled(1, &[(0, 11), (1, 10)]).violates(&["nonmonotonic-send"]);
}

#[test]
fn a_foreign_record_between_two_sends_of_a_transaction_is_allowed() {
    let txn = told().ok(0, "txn", "[[:send 1 [0 10]] [:send 1 [2 12]]]").ok(2, "send", "[[:send 1 [1 11]]]");
    let txn = txn.polled(1, &[(0, 10), (1, 11), (2, 12)]);
    assert_eq!(txn.allows("int-send-skip"), "no isolation of writes");
}

#[test]
fn transactions_that_read_each_others_writes_flow_in_a_circle() {
    let first = "[[:send 1 [0 10]] [:poll {2 [[0 20]]}]]";
    let circle = told().ok(0, "txn", first).ok(1, "txn", "[[:send 2 [0 20]] [:poll {1 [[0 10]]}]]");
    let report = circle.violates(&["G1c"]);
    let Verdict::Violated { witness, obligations: 2 } = report.verdict("G1c") else { panic!() };
    assert_eq!(
        witness.first.text,
        "process 0's operation of entry 1 sent value 10 to key 1, which process 1's operation of entry 3 polled"
    );
    told().ok(0, "txn", first).ok(1, "send", "[[:send 2 [0 20]]]").polled(1, &[(0, 10)]).violates(&[]);
}

#[test]
fn of_two_circles_the_shorter_is_told() {
    let txn = |told: Told, process: u32, sends: u32, reads: &[u32]| {
        let polls: Vec<String> = reads.iter().map(|key| format!("{key} [[0 {key}]]")).collect();
        told.ok(process, "txn", &format!("[[:send {sends} [0 {sends}]] [:poll {{{}}}]]", polls.join(" ")))
    };
    // 1 -> 2 -> 3 -> 1, and 3 -> 2 beside it.
    let circles = txn(txn(txn(told(), 1, 1, &[3]), 2, 2, &[1, 3]), 3, 3, &[2]);
    let report = circles.violates(&["G1c"]);
    let Verdict::Violated { witness, .. } = report.verdict("G1c") else { panic!() };
    assert_eq!(witness.text.matches("which").count(), 2, "{}", witness.text);
}

#[test]
fn writes_in_different_orders_are_looked_for_only_if_asked_and_are_allowed() {
    let cross = told().ok(0, "txn", "[[:send 1 [0 10]] [:send 2 [1 20]]]");
    let cross = cross.ok(1, "txn", "[[:send 1 [1 11]] [:send 2 [0 21]]]");
    let cross = cross.ok(2, "poll", "[[:poll {1 [[0 10] [1 11]] 2 [[0 21] [1 20]]}]]");
    assert_eq!(cross.judged().standing("G0"), Standing::NotTested);
    let report = cross.judged_looking(Looking { at_write_order: true });
    assert_eq!(setting(&report, "G0"), "no isolation of writes");
    assert!(report.violated().is_empty());
}

#[test]
fn a_circle_through_the_order_of_writes_is_allowed() {
    // 0 comes before 1 in key 1, and 1's value is polled by 0.
    let circle = told().ok(0, "txn", "[[:send 1 [0 10]] [:poll {2 [[0 21]]}]]");
    let circle = circle.ok(1, "txn", "[[:send 1 [1 11]] [:send 2 [0 21]]]").polled(2, &[(0, 10), (1, 11)]);
    circle.violates(&[]);
    let report = circle.judged_looking(Looking { at_write_order: true });
    assert_eq!(setting(&report, "G1c"), "no isolation of writes");
}

#[test]
fn offsets_far_apart_are_judged_like_others() {
    let far = 4_000_000_000_000_000_000i64;
    let send = |value: u32, offset: i64| format!("[[:send 1 [{offset} {value}]]]");
    let sent = told().ok(0, "send", &send(10, 0)).ok(0, "send", &send(11, far - 1)).ok(0, "send", &send(12, far));
    let poll = |pairs: String| sent_and(&sent, &format!("[[:poll {{1 [{pairs}]}}]]"));
    poll(format!("[0 10] [{} 11] [{far} 12]", far - 1)).holds("int-poll-skip");
    poll(format!("[0 10] [{far} 12]")).violates(&["lost-write"]);
}

fn sent_and(sent: &Told, poll: &str) -> Told {
    Told { text: sent.text.clone(), lines: sent.lines }.ok(1, "poll", poll)
}

#[test]
fn every_class_has_a_name_a_rule_and_a_verdict() {
    let report = told().sent(10, 0).judged();
    assert_eq!(report.verdicts.len(), ANOMALIES.len());
    for class in ANOMALIES {
        assert_eq!(anomaly(class.name).unwrap().rule, class.rule);
        assert!(!class.summary.is_empty() && !class.premise.is_empty() && !class.legality.words().is_empty());
        report.standing(class.name);
    }
    assert!(anomaly("no-such").is_none());
}
