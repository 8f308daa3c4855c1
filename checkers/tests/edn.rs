//! Jepsen's format: what is read, and what is refused with its line.

use klamm_checkers::blackbox::{self, Looking, edn};

const INVOKE: &str = "{:index 0 :time 100 :type :invoke :process 0 :f :send :value [[:send 3 17]]}";
const OK: &str = "{:index 1 :time 900 :type :ok :process 0 :f :send :value [[:send 3 [41 17]]]}";

fn operations(text: &str) -> usize {
    edn::read(text).unwrap_or_else(|error| panic!("{error}: {text}")).len()
}

/// Refused on this line with words that hold these.
fn refused(text: &str, line: usize, words: &str) {
    let error = edn::read(text).expect_err(text);
    assert!(error.line == line && error.message.contains(words), "{error}\n{text}");
}

#[test]
fn a_history_may_be_maps_or_one_vector_of_maps_with_comments_tags_and_unknown_keys() {
    assert_eq!(operations(&format!("{INVOKE}\n{OK}\n")), 1);
    assert_eq!(operations(&format!("[{INVOKE}\n,{OK}]")), 1);
    assert_eq!(operations(&format!("({INVOKE} ; the end\n{OK})")), 1);
    assert_eq!(operations(&format!("#jepsen.history.Op{INVOKE}\n#_ {{:type 7}} #jepsen.history.Op {OK}")), 1);
    let more =
        ":error [:timeout \"a \\\" brace }\" \\} #{1 2} 1.5e3 ##Inf 7N {nil nil}] :exception {:via [#inst \"x\"]}}";
    assert_eq!(operations(&format!("{INVOKE}\n{}", OK.replace("]]]}", &format!("]]] {more}")))), 1);
}

#[test]
fn who_is_no_client_is_skipped() {
    let nemesis =
        "{:index 5 :time 950 :type :info :process :nemesis :f :start-partition :value {\"n1\" [\"n2\" \"n3\"]}}";
    assert_eq!(operations(&format!("{INVOKE}\n{OK}\n{nemesis}\n")), 1);
}

#[test]
fn index_and_time_may_be_missing_and_a_completion_without_a_value_has_its_invocations() {
    let text =
        "{:type :invoke :process 0 :f :send :value [[:send 1 10]]}\n{:type :info :process 0 :f :send :value nil}";
    let operations = edn::read(text).unwrap();
    assert_eq!((operations.len(), operations.records_len()), (1, 1));
}

#[test]
fn every_function_of_the_workload_is_read() {
    let functions = ["send", "poll", "txn", "assign", "subscribe", "crash", "debug-topic-partitions"];
    let lines = |function: &str| {
        format!("{{:type :invoke :process 0 :f :{function}}}\n{{:type :ok :process 0 :f :{function}}}\n")
    };
    assert_eq!(operations(&functions.map(lines).concat()), functions.len());
}

#[test]
fn a_cut_history_is_refused_wherever_it_is_cut() {
    let whole = format!("{INVOKE}\n{OK}\n");
    for end in 0..whole.trim_end().len() {
        let error = edn::read(&whole[..end]).expect_err(&whole[..end]);
        assert!(error.message.contains("cut") || error.message.contains("no operation"), "{end}: {error}");
    }
    refused(&format!("{INVOKE}\n{{:type :ok"), 2, "inside of what begins on line 2");
    refused(&format!("{INVOKE}\n"), 1, "has not ended when the file ends");
    refused(&format!("[\n{INVOKE}\n{OK}\n"), 4, "inside of what begins on line 1");
}

#[test]
fn an_operation_that_ends_before_it_begins_is_refused() {
    refused(&format!("{OK}\n"), 1, "ends an operation before it begins one");
    refused(&format!("{INVOKE}\n{OK}\n{}\n", OK.replace(":index 1", ":index 2")), 3, "before it begins one");
    refused(&format!("{INVOKE}\n{}\n", OK.replace(":time 900", ":time 99")), 2, "before it begins at 100 ns");
    refused(&format!("{INVOKE}\n{}\n", OK.replace(":index 1", ":index 0")), 2, "indexes ascend");
    refused(&format!("{INVOKE}\n{}\n", OK.replace(":f :send", ":f :txn")), 2, "another operation");
}

#[test]
fn a_process_with_two_open_operations_is_refused() {
    let again = INVOKE.replace(":index 0", ":index 1");
    refused(&format!("{INVOKE}\n{again}\n"), 2, "while its operation of line 1 is open");
}

#[test]
fn what_is_unknown_or_of_another_shape_is_refused_with_what_was_expected() {
    let ok = |from: &str, to: &str| format!("{INVOKE}\n{}\n", OK.replace(from, to));
    refused(&ok(":type :ok", ":type :okay"), 2, "expected `:invoke`, `:ok`, `:fail` or `:info`");
    refused(&ok(":f :send", ":f :sned"), 2, "`:f` cannot be `:sned`: expected `:send`");
    refused(&ok(" :type :ok", ""), 2, "no `:type`");
    refused(&ok(" :f :send", ""), 2, "no `:f`");
    refused(&ok(":time 900", ":time -900"), 2, "`:time` cannot be `-900`");
    refused(&ok("[[:send 3 [41 17]]]", "17"), 2, "expected a vector of micro-operations, found `17`");
    refused(&ok("[[:send 3 [41 17]]]", "[[:sent 3 17]]"), 2, "expected `:send` or `:poll`, found `:sent`");
    refused(&ok("[41 17]", "[\"41\" 17]"), 2, "expected an offset, a whole number or `nil`, found the text \"41\"");
    refused(&ok("[41 17]", "[41 17 18]"), 2, "expected `]`, found `18`");
    refused(&ok("[:send 3 [41 17]]", "[:poll {3 [[-1 17]]}]"), 2, "not negative");
    refused(&ok("[:send 3 [41 17]]", "[:poll {:x [[1 17]]}]"), 2, "expected a key, a whole number, found `:x`");
    refused(&ok("17]]]}", "17]]}"), 2, "`]` was expected, found `}`");
    refused(&ok("17", "99999999999999999999"), 2, "found `99999999999999999999`");
    refused("hello", 1, "an operation was expected, a map `{:type … }`, found `hello`");
    refused("", 1, "no operation is in this file");
}

#[test]
fn no_text_makes_the_reader_or_the_judge_panic() {
    let poll = "{:type :invoke :process 1 :f :poll}\n{:type :ok :process 1 :f :poll :value [[:poll {3 [[41 17] [42 nil]]}]] \
                :rebalance-log [{:keys [3]}]}\n";
    let whole = format!("{INVOKE}\n{OK}\n{poll}");
    for at in 0..whole.len() {
        for other in ["", " ", "[", "}", "\"", "#_", "#", "\\", "9", "-", ":", "é", "9223372036854775807"] {
            let text = format!("{}{other}{}", &whole[..at], &whole[at + 1..]);
            if let Ok(operations) = edn::read(&text) {
                blackbox::judge(&operations, Looking { at_write_order: true });
            }
        }
    }
    refused(&"#_".repeat(100_000), 1, "to follow `#_`");
    refused(&"{[".repeat(100_000), 1, "cut");
}
