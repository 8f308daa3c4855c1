//! What every word means that the command prints: one place for `klamm explain` and for the pages in `docs/`.

#[cfg(test)]
mod page;
mod terms;

pub use terms::{TERMS, Term};

use crate::campaign::out_of_reach;
use crate::script::{Keys, did_you_mean};
use klamm_base::{ErrorCode, Guard, Mark};
use klamm_checkers::blackbox::{ANOMALIES, Anomaly};
use klamm_checkers::properties;
use klamm_sim::FAULTS;

/// What is known under one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// As lists print it.
    pub name: String,
    /// Property, guard, fault …
    pub kind: &'static str,
    /// Labels and texts, in order. No text is empty.
    pub parts: Vec<(&'static str, String)>,
}

impl Explanation {
    fn new(name: impl Into<String>, kind: &'static str) -> Self {
        Self { name: name.into(), kind, parts: Vec::new() }
    }

    fn with(mut self, label: &'static str, text: impl Into<String>) -> Self {
        let text = text.into();
        if !text.is_empty() {
            self.parts.push((label, text));
        }
        self
    }
}

/// Everything that can be explained: promises first, then anomalies, guards, faults, marks, error codes, settings and terms.
pub fn all() -> Vec<Explanation> {
    let mut all: Vec<Explanation> = properties().iter().map(property).collect();
    all.extend(ANOMALIES.iter().map(anomaly));
    all.extend(Guard::ALL.into_iter().map(guard));
    all.extend(FAULTS.iter().map(fault));
    all.extend(Mark::ALL.iter().map(|mark| self::mark(*mark)));
    all.extend(ErrorCode::ALL.iter().map(|code| error(*code)));
    for (keys, kind) in Keys::ALL {
        all.extend(keys.table().keys.iter().map(|key| setting(key, kind)));
    }
    all.extend(TERMS.iter().map(word));
    all
}

/// What is known under this name, which may be several things; else the nearest name.
pub fn explain(name: &str) -> Result<Vec<Explanation>, String> {
    let all = all();
    let wanted = folded(name);
    let code = name.parse::<i16>().ok().and_then(|code| ErrorCode::ALL.iter().find(|known| **known as i16 == code));
    let is_meant = |known: &Explanation| folded(&known.name) == wanted || code.is_some_and(|c| c.name() == known.name);
    let found: Vec<Explanation> = all.iter().filter(|known| is_meant(known)).cloned().collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let help = did_you_mean(name, all.iter().map(|known| known.name.as_str()));
    let help = help.unwrap_or_else(|| "`klamm explain` alone lists what can be explained".to_owned());
    Err(format!("there is nothing named `{name}` to explain; {help}"))
}

/// Names are the same whatever separates their words, and in small letters or capitals.
fn folded(name: &str) -> String {
    name.trim().to_lowercase().replace(['_', ' '], "-")
}

fn property(property: &klamm_checkers::Property) -> Explanation {
    Explanation::new(property.name, "property")
        .with("promise", property.summary)
        .with("tested when", property.premise)
        .with("rules", property.explanation)
}

fn anomaly(anomaly: &Anomaly) -> Explanation {
    Explanation::new(anomaly.name, "anomaly")
        .with("is", anomaly.summary)
        .with("rule", anomaly.rule)
        .with("tested when", anomaly.premise)
        .with("allowed", anomaly.legality.words())
}

fn guard(guard: Guard) -> Explanation {
    let known = Explanation::new(guard.name(), "guard").with("protects", guard.summary());
    match out_of_reach(guard) {
        Some(why) => known.with("not hunted", why),
        None => known.with("try", format!("klamm campaign --without {guard}")),
    }
}

fn fault(info: &klamm_sim::FaultInfo) -> Explanation {
    Explanation::new(info.name, "fault")
        .with("does", info.effect)
        .with("done to", info.family.name())
        .with("stands for", info.incident)
        .with("source", info.source)
}

fn mark(mark: Mark) -> Explanation {
    Explanation::new(mark.name(), "mark").with("happens when", mark.summary())
}

fn error(code: ErrorCode) -> Explanation {
    let again =
        if code.is_retriable() { "the same request may succeed later" } else { "the same request will fail again" };
    Explanation::new(code.name(), "error code")
        .with("code", (code as i16).to_string())
        .with("means", code.text())
        .with("retry", again)
}

fn setting(key: &klamm_base::Key, kind: &'static str) -> Explanation {
    Explanation::new(key.name, kind).with("sets", key.doc).with("default", key.default)
}

fn word(term: &Term) -> Explanation {
    Explanation::new(term.name, "term").with("means", term.text).with("source", term.source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn everything_that_lists_name_is_explained_and_no_name_of_a_kind_stands_twice() {
        let all = all();
        let names: BTreeSet<(&str, &str)> = all.iter().map(|known| (known.kind, known.name.as_str())).collect();
        assert_eq!(names.len(), all.len());
        let kinds: BTreeSet<&str> = all.iter().map(|known| known.kind).collect();
        assert_eq!(kinds.len(), 11, "{kinds:?}");
        for known in &all {
            assert!(!known.parts.is_empty(), "{}", known.name);
            assert!(explain(&known.name).expect("it is there").contains(known), "{}", known.name);
        }
    }

    #[test]
    fn a_name_is_found_however_its_words_are_joined_and_an_error_by_its_number() {
        assert_eq!(explain("High_Watermark").unwrap().len(), 2, "the property and the term");
        assert_eq!(explain("19").unwrap()[0].name, "NOT_ENOUGH_REPLICAS");
        let kinds = |name| explain(name).unwrap().iter().map(|known| known.kind).collect::<Vec<_>>();
        assert_eq!(kinds("not-enough-replicas"), ["mark", "error code"]);
        assert!(explain("acks").unwrap().iter().any(|known| known.kind == "producer setting"));
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        assert!(explain("high-watermrk").unwrap_err().contains("did you mean `high-watermark`?"));
        assert!(explain("quetzal").unwrap_err().contains("`klamm explain` alone lists"));
    }
}
