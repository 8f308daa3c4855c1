//! A history saved and read again is the same, byte for byte, and what is no history is refused with its line.

mod story;

use klamm_base::{NodeId, Uuid};
use klamm_checkers::{Damage, Entry, Event, History, HistoryError, NODES, Party, Phase, World, judge};
use std::io::BufReader;
use story::{C, SAFE, Story};

fn saved(history: &History) -> Vec<u8> {
    let mut bytes = Vec::new();
    history.to_json_lines(&mut bytes).unwrap();
    bytes
}

fn read(bytes: &[u8]) -> Result<History, HistoryError> {
    History::from_json_lines(BufReader::new(bytes))
}

#[test]
fn a_saved_history_is_judged_alike_and_saved_alike() {
    let mut story = Story::new(SAFE);
    story.produce(3);
    story.read(C, 1, 0, 3, false);
    story.world(World::PoweredOff { node: NodeId(3), lost_bytes: 12 });
    story.damage(3, 1, Damage::NotDurable);
    story.corrupt(Party::Node(NodeId(1)), Party::Client("p1".into()), "produce");
    let (device, fault, path) = ("main".into(), "sync-error".into(), "data/orders-0".into());
    story.world(World::DiskFault { node: NodeId(2), device, fault, path, phase: Phase::Struck });
    story.world(World::MachineLost { node: NodeId(2), disk: "returns".into() });
    story.world(World::Disturbed { node: NodeId(2), what: "a step costs it more".into() });
    story.world(World::ClockWrong { node: NodeId(2), what: "its wall clock goes wrong".into() });
    story.stop(2);
    story.world(World::Settled { ok: false, why: "tabs\tand \"quotes\"\nand lines".into() });
    story.node(1, klamm_base::Observation::NodeStarted { incarnation: Uuid(u128::MAX) });
    let story = story.finish();
    let bytes = saved(&story.history);
    let again = read(&bytes).unwrap();
    assert_eq!(again, story.history);
    assert_eq!(saved(&again), bytes);
    assert_eq!(judge(&again), judge(&story.history));
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(lines, story.history.entries.len() + 1, "an entry a line, and the end");
}

#[test]
fn what_is_no_history_is_refused_with_its_line() {
    let entry = |seq, at_ns| serde_json::to_string(&Entry { seq, at_ns, event: Event::World(World::Healed) }).unwrap();
    let good = entry(1, 5);
    for (text, line) in [
        (format!("{good}\n{{\"seq\":2}}\n"), 2),
        (format!("{good}\n\n\nnonsense\n"), 4),
        (format!("{good}\n{}\n", entry(1, 6)), 2),
        (format!("{good}\n{}\n", entry(2, 4)), 2),
        (good.replace("healed", "heeled"), 1),
        (good.replace("\"seq\":1", "\"seq\":-1"), 1),
        (format!("{good}\n{}", &entry(2, 9)[..20]), 2),
        (format!("{good}\n"), 2),
        (format!("{good}\n{{\"entries\":2}}\n"), 2),
        (format!("{good}\n{{\"entries\":"), 2),
        (format!("{good}\n{{\"entries\":1}}\n{}\n", entry(2, 9)), 3),
        (String::new(), 1),
    ] {
        let error = read(text.as_bytes()).expect_err(&text);
        assert!(error.to_string().starts_with(&format!("line {line}: ")), "{error}");
    }
    assert!(read(&[0xff, 0xfe, b'\n']).is_err(), "no text at all");
    assert_eq!(read(b"\n{\"entries\":0}\n\n").unwrap(), History::default());
}

#[test]
fn a_history_cut_anywhere_is_refused() {
    let mut story = Story::new(SAFE);
    story.produce(1);
    let bytes = saved(&story.finish().history);
    for end in 0..bytes.len() - 1 {
        let error = read(&bytes[..end]).expect_err("it is cut");
        let lines = bytes[..end + 1].iter().filter(|byte| **byte == b'\n').count();
        assert!(error.to_string().starts_with(&format!("line {}: ", lines + 1)), "{error}");
    }
}

#[test]
fn a_history_of_too_many_nodes_is_refused() {
    let mut history = History::default();
    for node in 0..=NODES as i32 {
        history.push(0, Event::World(World::Paused { node: NodeId(node) }));
    }
    assert!(matches!(read(&saved(&history)), Err(HistoryError::TooManyNodes { line: 129, node: 128, .. })));
    history.entries.pop();
    assert!(read(&saved(&history)).is_ok());
}

#[test]
fn no_history_makes_a_judge_panic() {
    // Every kind of change to every entry of a good run: whatever the verdict, there is one.
    let mut story = Story::new(SAFE);
    story.produce(2);
    story.roll(1);
    story.produce(1);
    story.expire(1, 1, 1, 0);
    story.kill(1);
    story.lead(2, &[2, 3], klamm_base::Election::Clean);
    story.produce(2);
    story.restart(1);
    story.follow(1);
    let story = story.finish();
    let text = String::from_utf8(saved(&story.history)).unwrap();
    let lines: Vec<&str> = text.lines().take(story.history.entries.len()).collect();
    let whole = |lines: Vec<&str>| format!("{}\n{{\"entries\":{}}}\n", lines.join("\n"), lines.len());
    for at in 0..lines.len() {
        for extreme in ["-9223372036854775808", "9223372036854775807", "-1", "4294967295", "1152921504606846976"] {
            for field in [
                "offset",
                "base_offset",
                "last_offset",
                "to",
                "log_end",
                "log_start",
                "high_watermark",
                "from",
                "acked",
                "wall_ms",
                "retention_ms",
                "retention_bytes",
                "bytes",
                "newest_ms",
                "deleted",
            ] {
                let changed = with_field(lines[at], field, extreme);
                let Some(changed) = changed else { continue };
                let all =
                    lines.iter().enumerate().map(|(index, line)| if index == at { changed.as_str() } else { line });
                if let Ok(history) = read(whole(all.collect()).as_bytes()) {
                    assert_eq!(judge(&history).operations, lines.len() as u64);
                }
            }
        }
        // Left out, and told twice.
        let without = lines.iter().enumerate().filter(|(index, _)| *index != at).map(|(_, line)| *line);
        let history = read(whole(without.collect()).as_bytes()).unwrap();
        assert_eq!(judge(&history).operations, lines.len() as u64 - 1);
        let mut twice = story.history.clone();
        twice.entries.insert(at, twice.entries[at].clone());
        assert_eq!(judge(&twice).operations, lines.len() as u64 + 1);
    }
}

/// The line with another number in the field, if it has that field.
fn with_field(line: &str, field: &str, value: &str) -> Option<String> {
    let key = format!("\"{field}\":");
    let from = line.find(&key)? + key.len();
    let length = line[from..].find([',', '}'])?;
    Some(format!("{}{value}{}", &line[..from], &line[from + length..]))
}
