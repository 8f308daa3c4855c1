//! `klamm broker`: the same node and driver on the real side of the world.

use super::args::BrokerArgs;
use super::{Bad, Exit};
use klamm_base::{Guards, Observe, Properties, Source};
use klamm_env::real;
use klamm_node::NodeConfig;
use std::io::Write;

/// Where the logs lie below the data directory.
const LOGS: &str = "logs";

/// Serves until a signal asks for the end.
pub fn broker(args: BrokerArgs) -> Result<Exit, Bad> {
    let config = NodeConfig::from_properties(&properties(&args)).map_err(Bad::plain)?;
    let _lock = real::lock(&args.dir).map_err(Bad::plain)?;
    let observe = Observe::nobody(Source::Node(config.node));
    real::exit_on_panic();
    let ended = real::block_on(args.dir.clone(), |env, stop| {
        klamm_server::run(env, config, Guards::default(), observe, ready, stop)
    });
    ended.map_err(|error| Bad::plain(format!("no runtime: {error}")))?.map_err(Bad::plain)?;
    Ok(Exit::Fine)
}

fn ready(address: klamm_env::Address) {
    println!("listening on {address}");
    // Whoever waits for the line must see it at once, also through a pipe.
    let _ = std::io::stdout().flush();
}

/// One process that is broker and controller; `--set` has the last word.
fn properties(args: &BrokerArgs) -> Properties {
    let dev = [
        ("node.id", "1".to_owned()),
        ("process.roles", "broker,controller".to_owned()),
        ("listeners", format!("PLAINTEXT://{}", args.listen)),
        ("controller.quorum.voters", format!("1@{}", args.listen)),
        ("log.dirs", LOGS.to_owned()),
        // A killed process cannot say that it went; its own controller lets the next one in when the session ends.
        ("broker.session.timeout.ms", "2000".to_owned()),
        ("broker.heartbeat.interval.ms", "500".to_owned()),
    ];
    let dev = dev.into_iter().map(|(key, value)| (key.to_owned(), value));
    dev.chain(args.set.iter().cloned()).collect()
}
