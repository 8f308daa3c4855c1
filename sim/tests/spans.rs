//! Spans around polls. Alone in its process: `tracing` remembers for good what the first thread that asks says of a span, and
//! threads of other tests would ask without a subscriber.

mod common;

use common::*;
use klamm_sim::SimConfig;

/// Takes down the names of spans.
#[derive(Clone)]
struct Spans {
    notes: Notes,
    level: tracing::Level,
}

impl tracing::Subscriber for Spans {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= self.level
    }
    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(self.level.into())
    }
    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        struct Fields(String);
        impl tracing::field::Visit for Fields {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0.push_str(&format!(" {}={value:?}", field.name()));
            }
        }
        let mut fields = Fields(span.metadata().name().to_owned());
        span.record(&mut fields);
        self.notes.say(fields.0);
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn a_subscriber_that_wants_them_sees_host_and_task_around_every_poll() {
    let hash = |level| {
        let notes = Notes::default();
        let spans = Spans { notes: notes.clone(), level };
        let run = tracing::subscriber::with_default(spans, || {
            simulate_all(SimConfig::new(1), |world| async move {
                let host = world.add_host("b1");
                world.spawn_on(host, "worker", async {}).await
            })
        });
        (run.trace_hash, run.polls, notes.take())
    };
    let (seen, polls, spans) = hash(tracing::Level::TRACE);
    assert!(spans.contains(&"task host=b1 task=worker".to_owned()), "{spans:?}");
    assert_eq!(spans.iter().filter(|span| span.starts_with("task host=")).count() as u64, polls);
    let (unseen, _, none) = hash(tracing::Level::INFO);
    assert_eq!((seen, none), (unseen, vec![]));
}
