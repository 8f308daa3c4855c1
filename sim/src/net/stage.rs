//! What the stage may ask of the network.

use super::conn_faults::{ConnectionFault, ConnectionFaultId, ConnectionMatch};
use super::connect::Listening;
use super::errors::NetError;
use super::latency::Latency;
use super::profile::LinkProfile;
use super::topology::Topology;
use crate::ctx;
use crate::event::{LinkState, WorldEvent};
use crate::stage::{Host, World};
use crate::trace::Kind;
use crate::world::{Inner, flush};

impl Inner {
    /// That there is such a host.
    pub fn check_host(&self, host: u32) -> Result<(), NetError> {
        if (host as usize) < self.machines.len() { Ok(()) } else { Err(NetError::UnknownHost { host }) }
    }

    /// That there can be a link between the two.
    fn check_link(&self, from: Host, to: Host) -> Result<(), NetError> {
        self.check_host(from.0).and(self.check_host(to.0))?;
        if from == to { Err(NetError::OwnLink { host: self.name(from.0) }) } else { Ok(()) }
    }

    fn set_listening(&mut self, host: u32, listening: Listening) {
        let before = match listening {
            Listening::Normal => self.net.listening.remove(&host).unwrap_or_default(),
            other => self.net.listening.insert(host, other).unwrap_or_default(),
        };
        if before == listening {
            return;
        }
        self.trace.note(self.now, Kind::Fault, [u64::from(host), listening as u64, 0], || {
            format!("{} listens: {listening:?}", ctx::host_name(host).unwrap_or_default())
        });
        let host = self.name(host);
        self.tell(WorldEvent::ListeningSet { host, listening });
    }

    fn set_topology(&mut self, topology: Topology) {
        let profiles = [&topology.within_rack, &topology.between_racks, &topology.between_data_centres];
        let word = profiles.iter().flat_map(|profile| profile.words()).fold(0, |all, word| crate::rng::mix(all ^ word));
        self.trace.note(self.now, Kind::Fault, [topology.sites.len() as u64, word, 0], || "topology".to_owned());
        self.net.topology = Some(Box::new(topology.clone()));
        self.tell(WorldEvent::TopologySet { topology });
        for from in 0..self.machines.len() as u32 {
            for to in (0..self.machines.len() as u32).filter(|to| *to != from) {
                let usual = self.net.usual(from, to);
                self.adopt_profile(from, to, usual);
            }
        }
    }
}

impl World {
    /// Sets one direction. Nothing happens if it is so already.
    ///
    /// # Errors
    /// [`NetError::UnknownHost`], [`NetError::OwnLink`].
    pub fn set_link(&self, from: Host, to: Host, state: LinkState) -> Result<(), NetError> {
        self.change(|world| {
            world.check_link(from, to)?;
            world.set_link(from.0, to.0, state);
            Ok(())
        })
    }

    /// Sets what one direction is like, from the next segment on. Nothing happens if it is so already.
    ///
    /// # Errors
    /// [`NetError::UnknownHost`], [`NetError::OwnLink`], and what [`LinkProfile::check`] finds.
    pub fn set_link_profile(&self, from: Host, to: Host, profile: LinkProfile) -> Result<(), NetError> {
        self.change(|world| {
            world.check_link(from, to)?;
            profile.check()?;
            world.set_link_profile(from.0, to.0, profile);
            Ok(())
        })
    }

    /// Sets the latency of one direction and leaves what else it is like.
    ///
    /// # Errors
    /// As [`World::set_link_profile`].
    pub fn set_latency(&self, from: Host, to: Host, latency: Latency) -> Result<(), NetError> {
        let profile = self.link_profile(from, to)?;
        self.set_link_profile(from, to, LinkProfile { latency, ..profile })
    }

    /// What one direction is like now.
    ///
    /// # Errors
    /// [`NetError::UnknownHost`], [`NetError::OwnLink`].
    pub fn link_profile(&self, from: Host, to: Host) -> Result<LinkProfile, NetError> {
        self.with(|world| {
            world.check_link(from, to)?;
            Ok(*world.net.link(from.0, to.0).profile())
        })
    }

    /// Every direction is up, and like what the topology or the profile says. Faults of connections and of listening stay.
    pub fn heal_all_links(&self) {
        self.with(Inner::heal_all_links);
        flush();
    }

    /// Says where hosts stand: every link is from now on what its distance makes it. Hosts that are made later are placed by
    /// their names.
    ///
    /// # Errors
    /// What [`Topology::check`] finds.
    pub fn set_topology(&self, topology: &Topology) -> Result<(), NetError> {
        topology.check()?;
        self.with(|world| world.set_topology(topology.clone()));
        flush();
        Ok(())
    }

    /// Hosts of a rack, as far as they are made, by name. None without a topology.
    pub fn hosts_in_rack(&self, rack: &str) -> Vec<Host> {
        self.placed(|topology| topology.in_rack(rack).map(str::to_owned).collect())
    }

    /// Hosts of a data centre, as far as they are made, by name. None without a topology.
    pub fn hosts_in_data_centre(&self, data_centre: &str) -> Vec<Host> {
        self.placed(|topology| topology.in_data_centre(data_centre).map(str::to_owned).collect())
    }

    fn placed(&self, names: impl FnOnce(&Topology) -> Vec<String>) -> Vec<Host> {
        let names = self.with(|world| world.net.topology.as_deref().map(names).unwrap_or_default());
        names.iter().filter_map(|name| self.host(name)).collect()
    }

    /// What becomes of connects to that host, whoever listens there. Connections that are made stay.
    ///
    /// # Errors
    /// [`NetError::UnknownHost`].
    pub fn set_listening(&self, host: Host, listening: Listening) -> Result<(), NetError> {
        self.change(|world| {
            world.check_host(host.0)?;
            world.set_listening(host.0, listening);
            Ok(())
        })
    }

    /// How many live connections match.
    pub fn connections(&self, which: &ConnectionMatch) -> usize {
        self.with(|world| world.count_connections(which))
    }

    /// Something goes wrong with all live connections that match, and with new ones if [`ConnectionMatch::also_new`] says so,
    /// until it is cleared. [`ConnectionFaultId::struck`] says how many there were.
    ///
    /// # Errors
    /// [`NetError::UnknownHost`], [`NetError::Zero`], [`NetError::Share`], [`NetError::TooLong`].
    pub fn add_connection_fault(
        &self,
        which: ConnectionMatch,
        fault: ConnectionFault,
    ) -> Result<ConnectionFaultId, NetError> {
        self.change(|world| world.add_connection_fault(which, fault))
    }

    /// Ends a fault of connections. Nothing if it ended before.
    pub fn clear_connection_fault(&self, id: ConnectionFaultId) {
        self.with(|world| world.clear_connection_fault(id.number()));
        flush();
    }

    /// Ends all faults of connections.
    pub fn clear_connection_faults(&self) {
        self.with(Inner::clear_connection_faults);
        flush();
    }

    fn change<T>(&self, act: impl FnOnce(&mut Inner) -> Result<T, NetError>) -> Result<T, NetError> {
        let outcome = self.with(act);
        flush();
        outcome
    }
}
