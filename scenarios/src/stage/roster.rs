//! Who is on stage: machines by name, and which node or client runs on each.

use crate::script::Script;
use klamm_base::{NodeId, Properties};
use klamm_sim::Site;
use std::collections::BTreeMap;

/// A machine of the run, by its place in the roster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostIx(pub usize);

/// What runs on a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Controller host `c1`, ...
    Controller(NodeId),
    /// Broker host `b1`, ...
    Broker(NodeId),
    /// A producer of the script, by its place there.
    Producer(usize),
    /// A consumer of the script, by its place there.
    Consumer(usize),
    /// The stage's own clients: they prepare the topics and judge at the end; no fault strikes them.
    Own,
}

/// Every machine of a run.
#[derive(Clone, Debug)]
pub struct Roster {
    hosts: Vec<(String, Role)>,
    sites: BTreeMap<String, Site>,
}

/// Port on which every node listens.
pub const PORT: u16 = 9092;
/// Node ids of controllers stand this far above their number: `c1` is node 101.
const FIRST_CONTROLLER: i32 = 100;

impl Roster {
    /// The machines that a script asks for, and the stage's own ones.
    pub fn new(script: &Script) -> Self {
        let controllers = (1..=script.cluster.controllers as i32)
            .map(|n| (format!("c{n}"), Role::Controller(NodeId(FIRST_CONTROLLER + n))));
        let brokers = (1..=script.cluster.brokers as i32).map(|n| (format!("b{n}"), Role::Broker(NodeId(n))));
        let producers = script.producers.iter().enumerate().map(|(i, p)| (p.name.clone(), Role::Producer(i)));
        let consumers = script.consumers.iter().enumerate().map(|(i, c)| (c.name.clone(), Role::Consumer(i)));
        let own = ["admin", "judge"].into_iter().map(|name| (name.to_owned(), Role::Own));
        Self {
            hosts: controllers.chain(brokers).chain(producers).chain(consumers).chain(own).collect(),
            sites: script.topology().map(|topology| topology.sites).unwrap_or_default(),
        }
    }

    /// Every machine, in a fixed order.
    pub fn all(&self) -> impl Iterator<Item = HostIx> + use<> {
        (0..self.hosts.len()).map(HostIx)
    }

    /// Its network name.
    pub fn name(&self, host: HostIx) -> &str {
        &self.hosts[host.0].0
    }

    /// What runs there.
    pub fn role(&self, host: HostIx) -> &Role {
        &self.hosts[host.0].1
    }

    /// The machine of this name.
    pub fn by_name(&self, name: &str) -> Option<HostIx> {
        self.hosts.iter().position(|(other, _)| other == name).map(HostIx)
    }

    /// The machines of a rack.
    pub fn in_rack(&self, rack: &str) -> Vec<HostIx> {
        self.at(|site| site.rack == rack)
    }

    /// The machines of a data centre.
    pub fn in_data_centre(&self, data_centre: &str) -> Vec<HostIx> {
        self.at(|site| site.data_centre == data_centre)
    }

    fn at(&self, is_there: impl Fn(&Site) -> bool) -> Vec<HostIx> {
        self.all().filter(|host| self.sites.get(self.name(*host)).is_some_and(&is_there)).collect()
    }

    /// The machine on which a node runs.
    pub fn by_node(&self, node: NodeId) -> Option<HostIx> {
        self.all().find(|host| self.node(*host) == Some(node))
    }

    /// The node that runs on a machine.
    pub fn node(&self, host: HostIx) -> Option<NodeId> {
        match self.role(host) {
            Role::Controller(node) | Role::Broker(node) => Some(*node),
            _ => None,
        }
    }

    /// Machines that run a broker.
    pub fn brokers(&self) -> Vec<HostIx> {
        self.all().filter(|host| matches!(self.role(*host), Role::Broker(_))).collect()
    }

    /// Machines that run a client of the script.
    pub fn clients(&self) -> Vec<HostIx> {
        self.all().filter(|host| matches!(self.role(*host), Role::Producer(_) | Role::Consumer(_))).collect()
    }

    /// Machines that run a node.
    pub fn nodes(&self) -> Vec<HostIx> {
        self.all().filter(|host| self.node(*host).is_some()).collect()
    }

    /// Broker settings of the node on `host`: the script's common ones, its own ones, and what its place dictates.
    pub fn properties(&self, script: &Script, host: HostIx) -> Properties {
        let name = self.name(host);
        let node = self.node(host).expect("only nodes have broker settings");
        let roles = if matches!(self.role(host), Role::Controller(_)) { "controller" } else { "broker" };
        let voter = format!("{}@c1:{PORT}", FIRST_CONTROLLER + 1);
        let mut properties = script.cluster.config.clone();
        if let Some(site) = self.sites.get(name) {
            properties.entry("broker.rack".to_owned()).or_insert_with(|| site.rack.clone());
        }
        properties.extend(script.cluster.host.get(name).cloned().unwrap_or_default());
        let placed = [
            ("node.id", node.0.to_string()),
            ("process.roles", roles.to_owned()),
            ("listeners", format!("PLAINTEXT://{name}:{PORT}")),
            ("controller.quorum.voters", voter),
            ("log.dirs", "data".to_owned()),
        ];
        properties.extend(placed.map(|(key, value)| (key.to_owned(), value)));
        properties
    }
}
