//! `klamm doctor`.

use super::args::DoctorArgs;
use super::{Bad, Exit, create, jobs};
use crate::campaign::trace;
use crate::doctor::{Doctor, Examination, Hashed, Mode};
use crate::library;
use serde_json::json;
use std::io::Write;
use std::path::Path;

/// Seeds that are examined if none are named.
const SEEDS: u64 = 20;

/// Examines whether seeds repeat.
pub fn doctor(args: DoctorArgs) -> Result<Exit, Bad> {
    let doctor = Doctor {
        profile: library::profile(&args.profile)?,
        profile_name: args.profile.clone(),
        seeds: args.seed_range.clone().unwrap_or(0..args.seeds.unwrap_or(SEEDS)),
        plant: args.plant,
        jobs: jobs(None),
        program: std::env::current_exe().map_err(|error| Bad::plain(format!("where is this program? {error}")))?,
    };
    if args.only_hashes {
        return only_hashes(&doctor, &args);
    }
    // A closed pipe (`| head`) is no error of ours.
    let say = |line: &str| drop(writeln!(std::io::stdout(), "{line}"));
    let examination = doctor.examine(say).map_err(Bad::plain)?;
    if let Some(path) = &args.hashes {
        write_lines(path, examination.hashes.iter().map(Hashed::to_string))?;
    }
    say(&match &examination.first_difference {
        None => "every seed is the same in every way".to_owned(),
        Some(found) => format!("{found}\nrepeat it: {}", repeat(&args, found.seed)),
    });
    if args.json {
        say(&json(&doctor, &examination));
    }
    Ok(if examination.first_difference.is_none() { Exit::Fine } else { Exit::NotDeterministic })
}

/// For the process that started this one.
fn only_hashes(doctor: &Doctor, args: &DoctorArgs) -> Result<Exit, Bad> {
    if let Some(path) = &args.trace_to {
        let seed = doctor.seeds.start;
        write_lines(path, trace(&doctor.script(seed), seed, doctor.plant))?;
    }
    for hashed in doctor.in_order() {
        println!("{hashed}");
    }
    Ok(Exit::Fine)
}

fn write_lines(path: &Path, lines: impl IntoIterator<Item = String>) -> Result<(), Bad> {
    let mut file = create(path)?;
    let written = lines.into_iter().try_for_each(|line| writeln!(file, "{line}")).and_then(|()| file.flush());
    written.map_err(|error| Bad::plain(format!("{}: {error}", path.display())))
}

fn repeat(args: &DoctorArgs, seed: u64) -> String {
    let plant = args.plant.map(|plant| format!(" --plant {}", plant.name())).unwrap_or_default();
    format!("cargo run --release -- doctor --profile {} --seed-range {seed}..{}{plant}", args.profile, seed + 1)
}

fn json(doctor: &Doctor, examination: &Examination) -> String {
    let modes: Vec<&str> = examination.modes.iter().map(|(mode, _): &(Mode, u64)| mode.name()).collect();
    json!({
        "seeds": doctor.seeds.end - doctor.seeds.start,
        "modes": modes,
        "equal": examination.first_difference.is_none(),
        "first_difference": examination.first_difference,
    })
    .to_string()
}
