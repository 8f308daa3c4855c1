//! Where the hosts of a script stand, and what the links between them are like.

use super::verbs::Share;
use super::{ClusterSpec, Script, Span, latency};
use klamm_sim::{Latency, LinkProfile, Site, Topology};
use serde::{Serialize, Serializer};

/// A topology by name; hosts are placed in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// [`Topology::one_rack`].
    OneRack,
    /// [`Topology::three_racks`].
    ThreeRacks,
    /// [`Topology::two_data_centres`].
    TwoDataCentres,
    /// [`Topology::three_data_centres`].
    ThreeDataCentres,
}

impl Preset {
    /// Every preset with the word that scripts use.
    pub const WORDS: [(&'static str, Preset); 4] = [
        ("one-rack", Preset::OneRack),
        ("three-racks", Preset::ThreeRacks),
        ("two-data-centres", Preset::TwoDataCentres),
        ("three-data-centres", Preset::ThreeDataCentres),
    ];

    fn place(self, hosts: &[&str]) -> Topology {
        match self {
            Preset::OneRack => Topology::one_rack(hosts),
            Preset::ThreeRacks => Topology::three_racks(hosts),
            Preset::TwoDataCentres => Topology::two_data_centres(hosts),
            Preset::ThreeDataCentres => Topology::three_data_centres(hosts),
        }
    }
}

/// The usual link of a script, where it is not only a latency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkSpec(pub LinkProfile);

impl Serialize for LinkSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let LinkSpec(profile) = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("latency", &latency::write(profile.latency))?;
        if profile.jitter_ns > 0 {
            map.serialize_entry("jitter", &Span(profile.jitter_ns))?;
        }
        let numbers = [("rate", profile.bytes_per_second), ("queue", profile.queue_bytes)];
        for (key, value) in numbers.into_iter().filter(|(_, value)| *value > 0) {
            map.serialize_entry(key, &value)?;
        }
        let shares = [("loss", profile.loss_ppm), ("corrupt", profile.corrupt_ppm), ("split", profile.partial_ppm)];
        for (key, value) in shares.into_iter().filter(|(_, value)| *value > 0) {
            map.serialize_entry(key, &Share(value))?;
        }
        map.end()
    }
}

impl ClusterSpec {
    /// What a link is like where no place says otherwise.
    pub fn usual_link(&self) -> LinkProfile {
        let plain = LinkProfile::new(Latency::between(self.latency_min.0, self.latency_max.0));
        self.link.map_or(plain, |LinkSpec(profile)| profile)
    }
}

impl Script {
    /// Where hosts stand, if the script says so: in the racks that it names, or placed by its preset. Links of named racks
    /// without a preset are as usual, near or far.
    pub fn topology(&self) -> Option<Topology> {
        let hosts = self.host_names();
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        let usual = self.cluster.usual_link();
        let placed = self.cluster.topology.map(|preset| preset.place(&hosts));
        if self.cluster.rack.is_empty() {
            return placed;
        }
        let plain = Topology {
            within_rack: usual,
            between_racks: usual,
            between_data_centres: usual,
            ..Topology::one_rack(&[])
        };
        Some(Topology { sites: self.sites(), ..placed.unwrap_or(plain) })
    }

    /// The sites of named racks; a rack of no data centre stands in one with all such racks.
    fn sites(&self) -> std::collections::BTreeMap<String, Site> {
        let centre_of = |rack: &String| {
            let found = self.cluster.data_centre.iter().find(|(_, racks)| racks.contains(rack));
            found.map_or_else(|| "dc".to_owned(), |(name, _)| name.clone())
        };
        let in_rack = |(rack, hosts): (&String, &Vec<String>)| {
            let site = Site { data_centre: centre_of(rack), rack: rack.clone() };
            hosts.iter().map(move |host| (host.clone(), site.clone())).collect::<Vec<_>>()
        };
        self.cluster.rack.iter().flat_map(in_rack).collect()
    }

    /// Names of the racks, sorted.
    pub fn racks(&self) -> Vec<String> {
        self.site_names(|site| &site.rack)
    }

    /// Names of the data centres, sorted.
    pub fn data_centres(&self) -> Vec<String> {
        self.site_names(|site| &site.data_centre)
    }

    /// How many brokers stand in a rack.
    pub fn brokers_in_rack(&self, rack: &str) -> usize {
        self.brokers_at(|site| site.rack == rack)
    }

    /// How many brokers stand in a data centre.
    pub fn brokers_in_data_centre(&self, data_centre: &str) -> usize {
        self.brokers_at(|site| site.data_centre == data_centre)
    }

    fn brokers_at(&self, is_there: impl Fn(&Site) -> bool) -> usize {
        let sites = self.topology().map(|topology| topology.sites).unwrap_or_default();
        let brokers = super::lower::host_names(self.cluster.brokers, 0);
        brokers.iter().filter(|name| sites.get(*name).is_some_and(&is_there)).count()
    }

    fn site_names(&self, name: fn(&Site) -> &String) -> Vec<String> {
        let sites = self.topology().map(|topology| topology.sites).unwrap_or_default();
        let names: std::collections::BTreeSet<&String> = sites.values().map(name).collect();
        names.into_iter().cloned().collect()
    }
}
