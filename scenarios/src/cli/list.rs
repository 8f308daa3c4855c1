//! `klamm list`.

use super::args::What;
use super::{Bad, Exit};
use crate::campaign::out_of_reach;
use crate::library;
use klamm_base::{Guard, Mark};
use klamm_sim::FaultInfo;
use std::io::Write;

/// Prints one item a line, its name first.
pub fn list(what: What) -> Result<Exit, Bad> {
    let lines: Vec<(String, String)> = match what {
        What::Scripts => scripts()?,
        What::Guards => Guard::ALL.into_iter().map(guard).collect(),
        What::Marks => Mark::ALL.iter().map(|mark| (mark.name().to_owned(), mark.summary().to_owned())).collect(),
        What::Properties => {
            klamm_checkers::properties().iter().map(|p| (p.name.to_owned(), p.summary.to_owned())).collect()
        }
        What::Faults => klamm_sim::FAULTS.iter().map(fault).collect(),
        What::Profiles => profiles()?,
    };
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut out = std::io::stdout().lock();
    for (name, text) in lines {
        // A closed pipe (`| head`) is no error of ours.
        if writeln!(out, "{name:<width$}  {text}").is_err() {
            break;
        }
    }
    Ok(Exit::Fine)
}

fn guard(guard: Guard) -> (String, String) {
    let beyond = out_of_reach(guard).map_or_else(String::new, |why| format!("; not hunted: {why}"));
    (guard.name().to_owned(), format!("{}{beyond}", guard.summary()))
}

fn fault(info: &FaultInfo) -> (String, String) {
    (info.name.to_owned(), format!("{:7}  {}; {}", info.family.name(), info.effect, info.incident))
}

fn scripts() -> Result<Vec<(String, String)>, Bad> {
    let line = |name: &&str| {
        let script = library::script(name).expect("it is listed")?;
        Ok(((*name).to_owned(), script.lesson.unwrap_or_default().trim().replace('\n', " ")))
    };
    library::scripts().iter().map(line).collect()
}

fn profiles() -> Result<Vec<(String, String)>, Bad> {
    let line = |name: &&str| Ok(((*name).to_owned(), library::profile(name)?.about));
    library::profiles().iter().map(line).collect()
}
