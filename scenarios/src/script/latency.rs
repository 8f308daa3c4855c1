//! Distributions of latencies as people write them: `constant 5ms`, `uniform 1ms 5ms`, `exponential 1ms 5ms` (the least and
//! the mean), `lognormal 2ms 50ms` (the median and the 99th percentile), `bimodal 1ms 2ms 100ms 200ms 0.1` (the usual way, the slow
//! way, and the share that takes it).

use super::Span;
use super::verbs::Share;
use klamm_sim::Latency;

const FORMS: &str = "a distribution is one of: constant TIME, uniform LEAST MOST, exponential LEAST MEAN, \
                     lognormal MEDIAN P99, bimodal LEAST MOST LEAST MOST SHARE";

/// Reads a distribution.
pub(super) fn read(text: &str) -> Result<Latency, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let ns = |text: &str| text.parse::<Span>().map(|span| span.0);
    let latency = match words.as_slice() {
        ["constant", time] => Latency::Constant { ns: ns(time)? },
        ["uniform", min, max] => Latency::Uniform { min_ns: ns(min)?, max_ns: ns(max)? },
        ["exponential", min, mean] => Latency::Exponential { min_ns: ns(min)?, mean_ns: ns(mean)? },
        ["lognormal", median, p99] => Latency::Lognormal { median_ns: ns(median)?, p99_ns: ns(p99)? },
        ["bimodal", fast_min, fast_max, slow_min, slow_max, share] => Latency::Bimodal {
            fast_min_ns: ns(fast_min)?,
            fast_max_ns: ns(fast_max)?,
            slow_min_ns: ns(slow_min)?,
            slow_max_ns: ns(slow_max)?,
            slow_ppm: share.parse::<f64>().ok().and_then(Share::from_one).ok_or(FORMS)?.0,
        },
        _ => return Err(FORMS.to_owned()),
    };
    latency.check().map_err(|error| error.to_string())?;
    Ok(latency)
}

/// Writes a distribution as [`read`] reads it.
pub(super) fn write(latency: Latency) -> String {
    match latency {
        Latency::Constant { ns } => format!("constant {}", Span(ns)),
        Latency::Uniform { min_ns, max_ns } => format!("uniform {} {}", Span(min_ns), Span(max_ns)),
        Latency::Exponential { min_ns, mean_ns } => format!("exponential {} {}", Span(min_ns), Span(mean_ns)),
        Latency::Lognormal { median_ns, p99_ns } => format!("lognormal {} {}", Span(median_ns), Span(p99_ns)),
        Latency::Bimodal { fast_min_ns, fast_max_ns, slow_min_ns, slow_max_ns, slow_ppm } => {
            let spans = [fast_min_ns, fast_max_ns, slow_min_ns, slow_max_ns].map(Span);
            format!("bimodal {} {} {} {} {}", spans[0], spans[1], spans[2], spans[3], Share(slow_ppm).of_one())
        }
    }
}
