//! RUST_LOG: the stack's tracing on stderr, each line stamped with simulated time and host.

use std::fmt;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

/// Simulated seconds and the host, inside a run; nothing outside of one.
struct Stamp;

impl FormatTime for Stamp {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        match klamm_sim::stamp() {
            Some((ns, host)) => write!(w, "{:>5}.{:06}s {host:<6}", ns / 1_000_000_000, ns / 1_000 % 1_000_000),
            None => Ok(()),
        }
    }
}

/// Shows tracing if RUST_LOG asks for any.
pub fn init() {
    let Ok(filter) = EnvFilter::try_from_default_env() else { return };
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_timer(Stamp).with_writer(std::io::stderr);
    // A second subscriber in one process is a test's; the first one stays.
    let _ = subscriber.try_init();
}
