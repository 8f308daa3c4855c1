use klamm_scenarios::{library, stage};
fn main() {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let args: Vec<String> = std::env::args().collect();
    let source = library::find(&args[1]).unwrap();
    let from: u64 = args[2].parse().unwrap();
    let to: u64 = args[3].parse().unwrap();
    for seed in from..to {
        let mut script = source.script(Some(seed));
        if let Some(g) = args.get(4).filter(|g| *g != "-") {
            script.without.push(klamm_base::Guard::from_name(g).unwrap());
        }
        let began = std::time::Instant::now();
        let r = stage::run(&script, Default::default());
        println!(
            "seed {seed} wall {:.2}s sim {:.1}s polls {} deliveries {} entries {} hash {:x} panic {:?}",
            began.elapsed().as_secs_f64(),
            r.sim_ns as f64 / 1e9,
            r.polls,
            r.deliveries,
            r.history.entries.len(),
            r.trace_hash,
            r.panic
        );
        println!("  counts {:?} never {:?}", r.report.counts, r.never_struck);
        for (n, v) in &r.report.verdicts {
            let t = format!("{v:?}");
            println!("  {n}: {}", &t[..t.len().min(600)]);
        }
        for e in &r.history.entries {
            if let klamm_checkers::Event::World(w) = &e.event {
                match w {
                    klamm_checkers::World::Settled { .. }
                    | klamm_checkers::World::Healed
                    | klamm_checkers::World::Panicked { .. }
                    | klamm_checkers::World::Stopped { .. } => println!("  {:.3} {w:?}", e.at_ns as f64 / 1e9),
                    _ => {}
                }
            }
        }
        if let Some(f) = args.get(5) {
            r.history.to_json_lines(std::fs::File::create(f).unwrap()).unwrap();
        }
    }
}
