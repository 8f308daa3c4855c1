//! Where hosts stand, and what the links between places are like.

use super::errors::NetError;
use super::latency::Latency;
use super::profile::LinkProfile;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where a host stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// The data centre.
    pub data_centre: String,
    /// The rack; its name is that of no other rack anywhere.
    pub rack: String,
}

/// Sites of hosts by their names, and a profile for each distance. A host may be named before it is made; between hosts of
/// which one is not named, [`NetProfile::link`](super::NetProfile::link) stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topology {
    /// Who stands where.
    pub sites: BTreeMap<String, Site>,
    /// Between two hosts of one rack.
    pub within_rack: LinkProfile,
    /// Between two racks of one data centre.
    pub between_racks: LinkProfile,
    /// Between two data centres.
    pub between_data_centres: LinkProfile,
}

const US: u64 = 1_000;
const MS: u64 = 1_000_000;

/// A link that carries so much; half a second of it may wait in queues.
const fn wide(median_ns: u64, p99_ns: u64, bytes_per_second: u64) -> LinkProfile {
    let latency = Latency::Lognormal { median_ns, p99_ns };
    LinkProfile { bytes_per_second, queue_bytes: bytes_per_second / 2, ..LinkProfile::new(latency) }
}

impl Topology {
    /// All of them in one rack: 10 Gbit/s, half of the segments within 60 us.
    pub fn one_rack(hosts: &[&str]) -> Self {
        Self::spread(hosts, 1, 1)
    }

    /// In turn in three racks of one data centre (or three zones of a region): 120 us between racks.
    pub fn three_racks(hosts: &[&str]) -> Self {
        Self::spread(hosts, 1, 3)
    }

    /// In turn in two data centres of one city, two racks in each: 1.5 ms one way between them, over 1 Gbit/s.
    pub fn two_data_centres(hosts: &[&str]) -> Self {
        let apart = LinkProfile { loss_ppm: 10, ..wide(1_500 * US, 4 * MS, 125_000_000) };
        Self { between_data_centres: apart, ..Self::spread(hosts, 2, 2) }
    }

    /// In turn in three data centres of one continent, a rack in each: 15 ms one way between any two, over 1 Gbit/s.
    pub fn three_data_centres(hosts: &[&str]) -> Self {
        let apart = LinkProfile { loss_ppm: 50, ..wide(15 * MS, 40 * MS, 125_000_000) };
        Self { between_data_centres: apart, ..Self::spread(hosts, 3, 1) }
    }

    /// In turn over the data centres, and within each over its racks.
    fn spread(hosts: &[&str], data_centres: usize, racks: usize) -> Self {
        let place = |(number, host): (usize, &&str)| {
            let (centre, rack) = (number % data_centres + 1, number / data_centres % racks + 1);
            let rack = if data_centres == 1 { format!("rack{rack}") } else { format!("dc{centre}-rack{rack}") };
            ((*host).to_owned(), Site { data_centre: format!("dc{centre}"), rack })
        };
        Self {
            sites: hosts.iter().enumerate().map(place).collect(),
            within_rack: wide(60 * US, 200 * US, 1_250_000_000),
            between_racks: wide(120 * US, 500 * US, 1_250_000_000),
            between_data_centres: wide(1_500 * US, 4 * MS, 125_000_000),
        }
    }

    /// That there can be such a place.
    ///
    /// # Errors
    /// [`NetError`]: what cannot be, with its value.
    pub fn check(&self) -> Result<(), NetError> {
        for profile in [&self.within_rack, &self.between_racks, &self.between_data_centres] {
            profile.check()?;
        }
        let mut centres = BTreeMap::new();
        for (host, Site { data_centre, rack }) in &self.sites {
            if data_centre.is_empty() || rack.is_empty() {
                return Err(NetError::UnnamedSite { host: host.clone() });
            }
            if *centres.entry(rack).or_insert(data_centre) != data_centre {
                return Err(NetError::RackInTwoPlaces { rack: rack.clone() });
            }
        }
        Ok(())
    }

    /// What the link between two hosts is like, if both are named.
    pub fn between(&self, one: &str, other: &str) -> Option<&LinkProfile> {
        let (one, other) = (self.sites.get(one)?, self.sites.get(other)?);
        Some(match (one.data_centre == other.data_centre, one.rack == other.rack) {
            (false, _) => &self.between_data_centres,
            (true, false) => &self.between_racks,
            (true, true) => &self.within_rack,
        })
    }

    /// The names of all hosts of a rack, sorted.
    pub fn in_rack<'a>(&'a self, rack: &'a str) -> impl Iterator<Item = &'a str> {
        self.at(move |site| site.rack == rack)
    }

    /// The names of all hosts of a data centre, sorted.
    pub fn in_data_centre<'a>(&'a self, data_centre: &'a str) -> impl Iterator<Item = &'a str> {
        self.at(move |site| site.data_centre == data_centre)
    }

    fn at<'a>(&'a self, is_there: impl Fn(&Site) -> bool + 'a) -> impl Iterator<Item = &'a str> {
        self.sites.iter().filter(move |(_, site)| is_there(site)).map(|(host, _)| host.as_str())
    }
}
