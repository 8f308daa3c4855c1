//! How far the reading is, on a terminal; in a pipe nothing is shown.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;

/// Smaller directories are read before anybody looks.
const WORTH_SHOWING: u64 = 64 << 20;

/// Bytes read of all there are.
pub struct Watch(ProgressBar);

impl Watch {
    /// Shown if there is much to read, and stdout does not scroll the same terminal away.
    pub fn new(total: u64) -> Watch {
        let shown = std::io::stderr().is_terminal() && total >= WORTH_SHOWING;
        if !shown {
            return Watch(ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()));
        }
        let told = "{bar:20} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
        Watch(ProgressBar::new(total).with_style(ProgressStyle::with_template(told).expect("a good template")))
    }

    /// So many more were read.
    pub fn add(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    /// Takes it away.
    pub fn clear(&self) {
        self.0.finish_and_clear();
    }
}
