//! Where two traces part: the first event that is not the same, whom it happened to, and what led to it.

use std::fmt;

/// The first event in which two traces differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceDifference {
    /// Its place in the traces, from 0; all before it is equal.
    pub index: usize,
    /// World time in nanoseconds: of the earlier one, where the two events are not of one time.
    pub at_ns: u64,
    /// The host of that event; `stage` for a task of the stage, `world` where no host can be named.
    pub node: String,
    /// The event that led to it, as far as the trace tells: the sending of what was delivered; what last happened to the
    /// host whose task ran; what the host last did before its disk did something.
    pub cause: String,
    /// The event of the first trace; `None` if that one has ended.
    pub first: Option<String>,
    /// The event of the second trace; `None` if that one has ended.
    pub second: Option<String>,
}

impl fmt::Display for TraceDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |line: &Option<String>| line.clone().unwrap_or_else(|| "(the trace has ended)".to_owned());
        let seconds = (self.at_ns / 1_000_000_000, self.at_ns % 1_000_000_000);
        writeln!(f, "event {} at {}.{:09} s on {}:", self.index, seconds.0, seconds.1, self.node)?;
        writeln!(f, "  first   {}", line(&self.first))?;
        writeln!(f, "  second  {}", line(&self.second))?;
        write!(f, "  cause   {}", self.cause)
    }
}

/// Compares two traces that `SimConfig::trace` kept; `None` if they are equal.
pub fn first_difference(first: &[String], second: &[String]) -> Option<TraceDifference> {
    let common = first.iter().zip(second).take_while(|(one, two)| one == two).count();
    let (one, two) = (first.get(common), second.get(common));
    let (trace, line) = match (one, two) {
        (None, None) => return None,
        (Some(one), Some(two)) if Event::read(two).at_ns < Event::read(one).at_ns => (second, two),
        (Some(one), _) => (first, one),
        (None, Some(two)) => (second, two),
    };
    let event = Event::read(line);
    let node = event.node().or_else(|| next_task(&trace[common..])).unwrap_or("world").to_owned();
    let cause = cause(&first[..common], &event, &node).unwrap_or_else(|| "the start of the run".to_owned());
    let at_ns = event.at_ns;
    Some(TraceDifference { index: common, at_ns, node, cause, first: one.cloned(), second: two.cloned() })
}

/// One line in its parts.
struct Event<'a> {
    at_ns: u64,
    kind: &'a str,
    who: &'a str,
    what: &'a str,
}

impl<'a> Event<'a> {
    fn read(line: &'a str) -> Self {
        let mut parts = line.splitn(4, ' ');
        let mut part = || parts.next().unwrap_or("");
        Self { at_ns: part().parse().unwrap_or(0), kind: part(), who: part(), what: part() }
    }

    /// The host of the task that ran.
    fn actor(&self) -> Option<&'a str> {
        Some(self.who.split_once('/')?.0)
    }

    /// Whom it concerns.
    fn node(&self) -> Option<&'a str> {
        let named = |text: &'a str| text.split([' ', ':']).next().filter(|name| !name.is_empty());
        self.actor().or_else(|| match self.kind {
            "deliver" | "fin" | "rst" | "syn" => named(self.what.split_once(" > ")?.1),
            "disk" | "process" | "fault" | "connect" => named(self.what),
            _ => None,
        })
    }

    /// `from > to`: one direction of one connection.
    fn direction(&self) -> Option<&'a str> {
        let (from, rest) = self.what.split_once(" > ")?;
        let to = rest.split(' ').next()?;
        Some(&self.what[..from.len() + 3 + to.len()])
    }
}

/// A timer's line does not say whose it is: the first task that runs after it does.
fn next_task(trace: &[String]) -> Option<&str> {
    trace.iter().find_map(|line| Event::read(line).actor())
}

fn cause(before: &[String], event: &Event<'_>, node: &str) -> Option<String> {
    if event.kind == "deliver" {
        return sending(before, event);
    }
    let last = |wanted: &dyn Fn(&Event<'_>) -> bool| before.iter().rev().find(|line| wanted(&Event::read(line)));
    match event.actor() {
        Some(_) => {
            // A task runs because something happened to its host, or because time passed.
            let woke = last(&|e| {
                e.actor().is_none() && (e.node() == Some(node) || (e.kind == "timer" && e.at_ns == event.at_ns))
            });
            Some(format!("{} ran; before that: {}", event.who, woke?))
        }
        None => last(&|e| e.node() == Some(node)).cloned(),
    }
}

/// What is delivered was sent: the oldest sending of that direction that has not been delivered yet.
fn sending(before: &[String], event: &Event<'_>) -> Option<String> {
    let direction = event.direction()?;
    let of = |kind: &'static str| {
        before.iter().filter(move |line| {
            let event = Event::read(line);
            event.kind == kind && event.direction() == Some(direction)
        })
    };
    of("send").nth(of("deliver").count()).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(|line| line.trim().to_owned()).collect()
    }

    const STORY: &str = "0 spawn stage/main main #0
        5 send c1/producer c1:40000 > b1:9092 10 aa #1
        6 send c1/producer c1:40000 > b1:9092 20 bb #2
        9 deliver world c1:40000 > b1:9092 10 aa #3
        9 disk world b1 Write(log, 10 bytes) #4
        11 deliver world c1:40000 > b1:9092 20 bb #5
        11 send b1/connection b1:9092 > c1:40000 7 cc #6";

    fn changed(from: &str, to: &str) -> TraceDifference {
        assert!(STORY.contains(from), "the story tells of {from}");
        first_difference(&lines(STORY), &lines(&STORY.replace(from, to))).expect("a difference")
    }

    #[test]
    fn equal_traces_have_no_difference() {
        assert_eq!(first_difference(&lines(STORY), &lines(STORY)), None);
        assert_eq!(first_difference(&[], &[]), None);
    }

    #[test]
    fn a_delivery_is_caused_by_its_sending() {
        let found = changed("11 deliver world", "12 deliver world");
        assert_eq!((found.index, found.at_ns, found.node.as_str()), (5, 11, "b1"));
        assert_eq!(found.cause, "6 send c1/producer c1:40000 > b1:9092 20 bb #2");
    }

    #[test]
    fn what_a_task_does_is_caused_by_what_last_happened_to_its_host() {
        let found = changed("7 cc #6", "7 dd #7");
        assert_eq!((found.index, found.node.as_str()), (6, "b1"));
        assert!(found.cause.starts_with("b1/connection ran; before that: 11 deliver world"), "{}", found.cause);
        let text = found.to_string();
        assert!(text.contains("cc #6") && text.contains("dd #7") && text.contains("0.000000011 s on b1"), "{text}");
    }

    #[test]
    fn a_disk_operation_is_caused_by_what_the_host_saw_or_did_before() {
        let found = changed("Write(log, 10 bytes)", "Write(log, 11 bytes)");
        assert_eq!(found.node, "b1");
        assert!(found.cause.starts_with("9 deliver world"), "{}", found.cause);
    }

    #[test]
    fn a_trace_that_ends_early_differs_where_it_ends() {
        let all = lines(STORY);
        let found = first_difference(&all[..4], &all).unwrap();
        assert_eq!((found.index, found.first, found.second.as_ref()), (4, None, Some(&all[4])));
    }

    #[test]
    fn the_earlier_of_two_different_events_is_the_one_that_is_told() {
        let found = changed("9 disk world b1", "8 timer world 17");
        assert_eq!((found.at_ns, found.node.as_str()), (8, "b1"), "the task that ran next tells whose timer it was");
    }
}
