//! Every script of the library, one test per file: at its own seed the verdicts are as the script expects them and as the
//! snapshot keeps them; at a few other seeds nothing is violated.
//!
//! `KLAMM_SEED=17 KLAMM_WITHOUT=epoch-truncation cargo test -p scenarios --test library NAME` runs another seed, with
//! guards off, against the script's expectations alone.

use klamm_base::Guard;
use klamm_checkers::{Report, Standing, Verdict};
use klamm_scenarios::script::Script;
use klamm_scenarios::stage::{RunOptions, RunResult, run};
use klamm_scenarios::{bug_base, library};
use libtest_mimic::{Arguments, Failed, Trial};
use std::fmt::Write;

/// Seeds besides the script's own at which nothing may be violated.
const MORE_SEEDS: u64 = 4;

fn main() {
    let args = Arguments::from_args();
    let bugs = library::bugs().into_iter().map(|name| Trial::test(format!("bugs/{name}"), move || stays_mended(name)));
    let stories = library::scripts().into_iter().map(|name| Trial::test(name, move || tell(name)));
    libtest_mimic::run(&args, bugs.chain(stories).collect()).exit();
}

/// A run that once broke a promise breaks none now; one that broke it for want of a guard still does, and not with the guard.
fn stays_mended(name: &str) -> Result<(), Failed> {
    match bug_base::amiss(name).map_err(|error| error.to_string())? {
        None => Ok(()),
        Some(amiss) => Err(amiss.to_string().into()),
    }
}

fn tell(name: &str) -> Result<(), Failed> {
    let mut script = library::script(name).expect("it is listed").map_err(|error| error.to_string())?;
    let lesson = script.lesson.clone().ok_or("a library script opens with its lesson")?;
    let sentences = lesson.matches(['.', '?', '!', ':']).count();
    if sentences < 2 {
        return Err(format!("the lesson has two sentences: {lesson}").into());
    }
    let asked = asked()?;
    if let Some((seed, without)) = asked {
        script.seed = seed.unwrap_or(script.seed);
        script.without.extend(without);
        return expect(name, &script, &run(&script, RunOptions::default()));
    }
    let own = run(&script, RunOptions::default());
    expect(name, &script, &own)?;
    insta::with_settings!({
        snapshot_path => concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots"),
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, { insta::assert_snapshot!(name, shape(&own.report)) });
    (0..MORE_SEEDS).try_for_each(|seed| {
        let elsewhere = Script { seed, ..script.clone() };
        let report = run(&elsewhere, RunOptions::default()).report;
        let violated = report.violated();
        if violated.is_empty() {
            Ok(())
        } else {
            Err(format!("{violated:?} violated\n{}", repro(name, &elsewhere)).into())
        }
    })
}

/// A seed instead of the script's own, and guards to switch off.
type Asked = (Option<u64>, Vec<Guard>);

/// What the environment asks for, if anything.
fn asked() -> Result<Option<Asked>, Failed> {
    let (seed, without) = (std::env::var("KLAMM_SEED").ok(), std::env::var("KLAMM_WITHOUT").ok());
    if seed.is_none() && without.is_none() {
        return Ok(None);
    }
    let seed = seed.map(|seed| seed.parse().map_err(|_| format!("KLAMM_SEED={seed} is no seed"))).transpose()?;
    let names = without.unwrap_or_default();
    let guard = |name: &str| Guard::from_name(name).ok_or(format!("KLAMM_WITHOUT={name}: there is no such guard"));
    let guards = names.split(',').filter(|name| !name.is_empty()).map(guard).collect::<Result<_, _>>()?;
    Ok(Some((seed, guards)))
}

fn repro(name: &str, script: &Script) -> String {
    let guards: Vec<&str> = script.without.iter().map(|guard| guard.name()).collect();
    let without = if guards.is_empty() { String::new() } else { format!(" KLAMM_WITHOUT={}", guards.join(",")) };
    format!("KLAMM_SEED={}{without} cargo test -p scenarios --test library {name}", script.seed)
}

/// All as the script expects, every named step struck; else everything that differs and the line that repeats it.
fn expect(name: &str, script: &Script, result: &RunResult) -> Result<(), Failed> {
    let mut wrong = String::new();
    for (property, expected, found) in klamm_scenarios::cli::surprises(script, &result.report) {
        writeln!(wrong, "expected {property} to be {}, it is {}", expected.word(), found.name())?;
        if let Some(Verdict::Violated { witness, .. }) = result.report.verdicts.get(property.as_str()) {
            writeln!(wrong, "  {}\n  {}\n  {}", witness.rule, witness.first.text, witness.second.text)?;
        }
    }
    if result.named_step_missing {
        writeln!(wrong, "a named step never struck: {:?}", result.never_struck)?;
    }
    if wrong.is_empty() { Ok(()) } else { Err(format!("{wrong}{}", repro(name, script)).into()) }
}

/// Verdicts, rules and excusing settings; counts, offsets and times are left out.
fn shape(report: &Report) -> String {
    let mut text = String::new();
    for (property, verdict) in &report.verdicts {
        let word = verdict.standing().name();
        match verdict {
            Verdict::Violated { witness, .. } => writeln!(text, "{property}: {word}: {}", witness.rule),
            Verdict::Allowed { losses, .. } => {
                let mut settings: Vec<&str> = losses.iter().map(|loss| loss.setting.as_str()).collect();
                settings.dedup();
                writeln!(text, "{property}: {word} by {}", settings.join(", "))
            }
            Verdict::NotTested { reason } => writeln!(text, "{property}: {word}: {reason}"),
            Verdict::Held { .. } => writeln!(text, "{property}: {word}"),
        }
        .expect("a string takes all");
    }
    let violated = report.verdicts.values().any(|verdict| verdict.standing() == Standing::Violated);
    assert_eq!(violated, !report.violated().is_empty());
    text
}
