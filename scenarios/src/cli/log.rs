//! RUST_LOG: the stack's tracing on stderr, each line stamped with simulated time and host.

use std::fmt;
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// `12.345678s b1  INFO klamm_node::node: message field=value`, without the spans of the simulator around it.
struct Stamped;

impl<S, N> FormatEvent<S, N> for Stamped
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut w: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        if let Some((ns, host)) = klamm_sim::stamp() {
            write!(w, "{:>4}.{:06}s {host:<6} ", ns / 1_000_000_000, ns / 1_000 % 1_000_000)?;
        }
        let told = event.metadata();
        write!(w, "{:>5} {}: ", told.level(), told.target())?;
        context.field_format().format_fields(w.by_ref(), event)?;
        writeln!(w)
    }
}

/// Shows tracing if RUST_LOG asks for any.
pub fn init() {
    let Ok(filter) = EnvFilter::try_from_default_env() else { return };
    let shown = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(std::io::stderr);
    // A second subscriber in one process is a test's; the first one stays.
    let _ = shown.event_format(Stamped).try_init();
}
