//! How far long work is, on a terminal; in a pipe nothing is shown.

use crate::campaign::Tally;
use indicatif::{ProgressBar, ProgressStyle};
use klamm_checkers::Standing;
use std::io::IsTerminal;
use std::time::Duration;

/// The bar, or the spinner, in this form.
pub fn shown(bar: ProgressBar, template: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    bar.with_style(ProgressStyle::with_template(template).expect("a good template"))
}

/// Of one campaign.
#[allow(clippy::disallowed_types, reason = "real time, for people")]
pub struct Progress {
    bar: ProgressBar,
    /// Seeds to run here; none if only time ends it.
    seeds: Option<u64>,
    time: Option<Duration>,
    began: std::time::Instant,
}

impl Progress {
    #[allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real time, for people")]
    pub fn new(seeds: Option<u64>, time: Option<Duration>) -> Progress {
        let began = std::time::Instant::now();
        let bar = shown(ProgressBar::new(1000), "{bar:20} {msg}");
        Progress { bar, seeds, time, began }
    }

    /// `ran` seeds were run here since it began; the tally may hold more, of a run that is resumed.
    pub fn show(&self, ran: u64, tally: &Tally) {
        if self.bar.is_hidden() {
            return;
        }
        let pace = Pace { ran, seeds: self.seeds, elapsed: self.began.elapsed(), time: self.time };
        self.bar.set_position((pace.share() * 1000.0) as u64);
        self.bar.set_message(format!("{}, {}", pace.told(), counts(tally)));
    }

    /// Takes it away.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// `13 held, 0 violated, 1 not tested, 12 records lost as allowed; 0 findings`
fn counts(tally: &Tally) -> String {
    let standing = |standing| tally.standing(standing);
    format!(
        "{} held, {} violated, {} not tested, {} records lost as allowed; {} findings",
        standing(Standing::Held) + standing(Standing::Allowed),
        standing(Standing::Violated),
        standing(Standing::NotTested),
        tally.merged.counts.allowed_losses,
        tally.findings.len(),
    )
}

/// How fast it goes.
struct Pace {
    ran: u64,
    seeds: Option<u64>,
    elapsed: Duration,
    time: Option<Duration>,
}

impl Pace {
    fn rate(&self) -> f64 {
        self.ran as f64 / self.elapsed.as_secs_f64().max(1e-3)
    }

    /// Until all seeds are run or time is up, whichever comes first.
    fn left(&self) -> Option<Duration> {
        let seeds = self.seeds.map(|seeds| seeds.saturating_sub(self.ran) as f64 / self.rate().max(1e-6));
        let seeds = seeds.map(|left| Duration::from_secs_f64(left.min(1e9)));
        let time = self.time.map(|time| time.saturating_sub(self.elapsed));
        seeds.into_iter().chain(time).min()
    }

    /// Of the whole way, 0 to 1.
    fn share(&self) -> f64 {
        let gone = self.elapsed.as_secs_f64();
        self.left().map_or(0.0, |left| gone / (gone + left.as_secs_f64()).max(1e-9)).clamp(0.0, 1.0)
    }

    /// `120/4000 seeds, 31.0 seeds/s, 2m 5s left`
    fn told(&self) -> String {
        let of = self.seeds.map(|seeds| format!("/{seeds}")).unwrap_or_default();
        let left = self.left().map(|left| format!(", {} left", clock(left))).unwrap_or_default();
        format!("{}{of} seeds, {:.1} seeds/s{left}", self.ran, self.rate())
    }
}

/// `1h 2m 5s`
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m {seconds}s"),
        (hours, minutes, _) => format!("{hours}h {minutes}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(ran: u64, seeds: Option<u64>, elapsed: u64, time: Option<u64>) -> Pace {
        Pace { ran, seeds, elapsed: Duration::from_secs(elapsed), time: time.map(Duration::from_secs) }
    }

    #[test]
    fn seeds_left_are_told_at_the_pace_so_far() {
        let pace = pace(120, Some(400), 4, None);
        assert_eq!(pace.told(), "120/400 seeds, 30.0 seeds/s, 9s left");
        assert!((pace.share() - 0.3).abs() < 1e-3);
    }

    #[test]
    fn of_a_campaign_for_some_time_the_time_that_is_left_is_told() {
        assert_eq!(pace(120, None, 60, Some(600)).told(), "120 seeds, 2.0 seeds/s, 9m 0s left");
        assert_eq!(
            pace(120, Some(124), 60, Some(600)).told(),
            "120/124 seeds, 2.0 seeds/s, 2s left",
            "whichever is first"
        );
        assert_eq!(pace(9, None, 700, Some(600)).told(), "9 seeds, 0.0 seeds/s, 0s left");
    }

    #[test]
    fn nothing_is_divided_by_nothing() {
        assert_eq!(pace(0, None, 0, None).told(), "0 seeds, 0.0 seeds/s");
        assert!(pace(0, Some(10), 0, None).told().starts_with("0/10 seeds, 0.0 seeds/s, "));
        assert_eq!(clock(Duration::from_secs(3725)), "1h 2m");
    }
}
