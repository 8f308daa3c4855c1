//! What the black-box judge says, in plain text.

use crate::layout::{Page, thousands};
use crate::text::{row, told_witness};
use klamm_checkers::blackbox::{Report, anomaly};
use klamm_checkers::{AllowedLoss, Verdict};

/// A history of which only clients speak: the table of anomaly classes, a witness of each that is not allowed, counts, and the
/// line that repeats it.
pub fn clients_report(title: &str, report: &Report, repro: &str, colours: bool) -> String {
    let mut page = Page::new(colours);
    page.labelled("", title);
    page.line("");
    table(&mut page, report);
    witnesses(&mut page, report);
    page.line("");
    if !report.consumed.is_empty() {
        page.labelled("consumed ", &consumed(report));
    }
    let (operations, records) = (thousands(report.operations), thousands(report.records));
    page.labelled("judged   ", &format!("{operations} operations with {records} records sent and polled"));
    page.command("repeat   ", repro);
    page.finish()
}

/// The same of a history that the white-box judges have judged already, beside their report. Witnesses are told only if
/// nothing that those know explains them.
pub fn clients_table(report: &Report, is_explained: bool, colours: bool) -> String {
    let mut page = Page::new(colours);
    page.line("");
    page.line("what clients alone could see");
    page.line("");
    table(&mut page, report);
    if !is_explained {
        witnesses(&mut page, report);
    }
    page.finish()
}

fn table(page: &mut Page, report: &Report) {
    for (name, verdict) in &report.verdicts {
        row(page, name, verdict.standing(), verdict.obligations(), &remark(verdict));
    }
}

fn remark(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Held { .. } => String::new(),
        Verdict::Violated { witness, .. } => match witness.derived {
            0 => "once".to_owned(),
            more => format!("once, and {} more", thousands(more)),
        },
        Verdict::Allowed { losses, .. } => {
            let told = |loss: &AllowedLoss| format!("{}: {}", loss.what, loss.setting);
            losses.iter().map(told).collect::<Vec<_>>().join("; ")
        }
        Verdict::NotTested { reason } => reason.clone(),
    }
}

fn witnesses(page: &mut Page, report: &Report) {
    for (name, verdict) in &report.verdicts {
        if let Verdict::Violated { witness, .. } = verdict {
            let what = anomaly(name).map(|anomaly| ("  anomaly  ", anomaly.summary));
            told_witness(page, name, what, witness);
        }
    }
}

/// `1,200 values once, 3 twice or more`
fn consumed(report: &Report) -> String {
    let once = report.consumed.get(&1).copied().unwrap_or(0);
    let more: u64 = report.consumed.range(2..).map(|(_, values)| values).sum();
    format!("{} values once by subscribers, {} more than once", thousands(once), thousands(more))
}
