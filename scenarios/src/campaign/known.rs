//! Known failures: a list that people keep. What is on it is counted and told, but does not make a campaign red.

use crate::script::{ScriptError, Source, did_you_mean, parse, property_names};
use klamm_checkers::{Report, Verdict};
use serde::Deserialize;
use toml::Spanned;

/// One known failure.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Known {
    /// The property that is broken.
    pub property: Spanned<String>,
    /// Only in scripts that this profile drew.
    pub profile: Option<Spanned<String>>,
    /// Only in this seed.
    pub seed: Option<u64>,
    /// Only if the rule that was broken contains these words.
    pub rule: Option<Spanned<String>>,
    /// Why it is not repaired yet.
    pub why: String,
    /// Where it is talked about.
    pub link: String,
}

/// The list.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Knowns {
    #[serde(default)]
    known: Vec<Known>,
}

impl Knowns {
    /// Reads a list; `file` is what messages call it.
    pub fn from_toml(file: &str, text: &str) -> Result<Knowns, Box<ScriptError>> {
        let source = Source::new(file, text);
        let knowns: Knowns = parse(&source)?;
        knowns.known.iter().try_for_each(|known| known.check(&source))?;
        Ok(knowns)
    }

    /// In the order of the file.
    pub fn all(&self) -> &[Known] {
        &self.known
    }

    /// The entries that explain a finding, by their place in the list: one for each property that the seed broke. `None` if
    /// one of them has no entry, for that one is new.
    pub fn explain(&self, profile: &str, seed: u64, report: &Report) -> Option<Vec<usize>> {
        let entry =
            |property: &'static str| self.known.iter().position(|known| known.is(profile, seed, property, report));
        report.violated().into_iter().map(entry).collect()
    }
}

impl Known {
    fn is(&self, profile: &str, seed: u64, property: &str, report: &Report) -> bool {
        let rule = match report.verdicts.get(property) {
            Some(Verdict::Violated { witness, .. }) => &witness.rule,
            _ => return false,
        };
        self.property.get_ref() == property
            && self.may_occur(profile, seed)
            && self.rule.as_ref().is_none_or(|words| rule.contains(words.get_ref().as_str()))
    }

    fn may_occur(&self, profile: &str, seed: u64) -> bool {
        self.profile.as_ref().is_none_or(|known| known.get_ref() == profile)
            && self.seed.is_none_or(|known| known == seed)
    }

    /// True if a campaign of that profile and those seeds could have met it.
    pub fn was_looked_for(&self, profile: &str, seeds: &std::ops::Range<u64>) -> bool {
        self.may_occur(profile, self.seed.unwrap_or(seeds.start)) && self.seed.is_none_or(|seed| seeds.contains(&seed))
    }

    fn check(&self, source: &Source) -> Result<(), Box<ScriptError>> {
        let wrong = |word: &Spanned<String>, kind: &str, names: Vec<&'static str>| {
            let help = did_you_mean(word.get_ref(), names);
            source.error(word.span(), format!("there is no {kind} `{}`", word.get_ref()), help)
        };
        if !property_names().contains(&self.property.get_ref().as_str()) {
            return Err(wrong(&self.property, "property", property_names().to_vec()));
        }
        match &self.profile {
            Some(profile) if !crate::library::profiles().contains(&profile.get_ref().as_str()) => {
                Err(wrong(profile, "profile", crate::library::profiles()))
            }
            _ => self.check_rule(source),
        }
    }

    /// A panic's place follows its rule, so its words may be any.
    fn check_rule(&self, source: &Source) -> Result<(), Box<ScriptError>> {
        let (Some(words), Some(property)) = (&self.rule, klamm_checkers::property(self.property.get_ref())) else {
            return Ok(());
        };
        let has_place = property.name == "no-panic";
        if has_place || property.rules.iter().any(|rule| rule.contains(words.get_ref().as_str())) {
            return Ok(());
        }
        let message = format!("no rule of `{}` contains `{}`", property.name, words.get_ref());
        Err(source.error(words.span(), message, Some(format!("its rules: {}", property.rules.join(" ")))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm_checkers::{Fact, Witness};

    fn broken(properties: &[&'static str]) -> Report {
        let fact = || Fact { seq: 1, at_ns: 1, text: String::new() };
        let witness = || Witness {
            rule: "An acknowledged record survives.".to_owned(),
            first: fact(),
            second: fact(),
            text: String::new(),
            records: Vec::new(),
            derived: 0,
        };
        let mut report = Report::default();
        for property in properties {
            report.verdicts.insert(property, Verdict::Violated { witness: witness(), obligations: 1 });
        }
        report
    }

    fn list(more: &str) -> Result<Knowns, Box<ScriptError>> {
        let text = format!("[[known]]\nproperty = \"acked-survive\"\nwhy = \"it is\"\nlink = \"#1\"\n{more}");
        Knowns::from_toml("known.toml", &text)
    }

    fn explains(more: &str) -> Option<Vec<usize>> {
        list(more).unwrap().explain("core", 7, &broken(&["acked-survive"]))
    }

    #[test]
    fn an_entry_explains_what_it_names_and_nothing_else() {
        let met = Some(vec![0]);
        assert_eq!(explains(""), met);
        assert_eq!((explains("profile = \"core\""), explains("profile = \"storm\"")), (met.clone(), None));
        assert_eq!((explains("seed = 7"), explains("seed = 8")), (met.clone(), None));
        assert_eq!(
            (explains("rule = \"acknowledged record\""), explains("rule = \"setting gives it up\"")),
            (met, None)
        );
    }

    #[test]
    fn a_new_failure_in_the_seed_of_a_known_one_stays_new() {
        let both = broken(&["acked-survive", "log-matching"]);
        assert_eq!(list("").unwrap().explain("core", 7, &both), None);
    }

    #[test]
    fn an_entry_for_other_seeds_was_not_looked_for() {
        let known = list("seed = 7").unwrap();
        let looked_for = |seeds| known.all()[0].was_looked_for("core", &seeds);
        assert_eq!((looked_for(0..8), looked_for(0..7)), (true, false));
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test that reads the sources")]
    fn the_list_that_the_readme_shows_can_be_taken() {
        let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/README.md")).unwrap();
        let list = text.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        assert_eq!(Knowns::from_toml("README.md", list).unwrap().all().len(), 1);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_the_nearest_word() {
        let message = |more| list(more).unwrap_err().to_string();
        assert_eq!(message("seeds = 7"), "known.toml:5:1: unknown key `seeds`; did you mean `seed`?");
        let rule = message("rule = \"order\"");
        assert!(
            rule.starts_with("known.toml:5:8: no rule of `acked-survive` contains `order`; its rules: An ack"),
            "{rule}"
        );
        let profile = message("profile = \"cor\"");
        assert_eq!(profile, "known.toml:5:11: there is no profile `cor`; did you mean `core`?");
        let property = Knowns::from_toml("k.toml", "[[known]]\nproperty = \"acked-survives\"\nwhy = \"\"\nlink = \"\"");
        let property = property.unwrap_err().to_string();
        assert_eq!(property, "k.toml:2:12: there is no property `acked-survives`; did you mean `acked-survive`?");
    }
}
