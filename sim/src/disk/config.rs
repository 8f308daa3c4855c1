//! What the disks of a host are: sizes, speeds, habits, and what is wrong with such a description.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a file system keeps of unsynced changes when power is lost, and what a sync carries along. Whatever it is, the
/// bytes of a file that a finished sync covered stay, and a rename happened or did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileSystem {
    /// ext4 with `data=ordered` and delayed allocation. One journal, committed in order every 5 s and by every sync of any
    /// file or directory: of all creations, renames, removals and truncations of the whole device a prefix survives. A file
    /// that was created and written may be empty. A rename over an old file brings the new one's content with it
    /// (`auto_da_alloc`). A file that grew by writes never has zeros that nobody wrote: its length follows its data
    /// (a length that was set is in the journal, and may leave zeros). Bytes written over old ones survive sector by sector.
    Ext4Ordered,
    /// XFS. One log in order, as above, but written only every 30 s; no content comes with a rename, so the new file may be empty
    /// or short; data reaches the device in any order, so an unsynced file may have holes that read as zeros.
    Xfs,
    /// The model's own mixture, harsher on names than ext4 and XFS: changes of one directory survive in order, those of
    /// different directories independently; a sync of a file keeps its own name and no other.
    #[default]
    PerDirectory,
    /// Only what POSIX promises. A sync of a file does not keep its name, a sync of a directory keeps its entries and not
    /// its own name; every name change and every truncation is lost or kept by itself, in no order but that of changes of
    /// the same name or file; a lost truncation mixes old bytes with new ones. Names are written back after 30 s.
    Strict,
}

/// Size and habits of a disk. Bytes and nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct DiskConfig {
    /// Bytes that all files may hold together; beyond it operations fail with `StorageFull`.
    pub capacity: u64,
    /// Pending bytes older than this become durable by themselves (Linux `dirty_expire_centisecs`, 30 s).
    pub dirty_age_ns: u64,
    /// Beyond so many pending bytes the oldest become durable by themselves (`dirty_background_ratio`).
    pub background_bytes: u64,
    /// Beyond so many pending bytes writers wait (`dirty_ratio`); the model only answers `throttled()`.
    pub hard_bytes: u64,
    /// Directory changes older than this are durable by themselves (ext4 `commit=5`).
    pub commit_age_ns: u64,
    /// For [`FileSystem::PerDirectory`]. True: syncing a file makes its own directory entry durable, as ext4, XFS and
    /// btrfs do in practice. False: only a sync of the directory does, which is all that POSIX promises.
    pub sync_keeps_entry: bool,
    /// What survives a loss of power.
    pub file_system: FileSystem,
}

impl Default for DiskConfig {
    fn default() -> Self {
        Self {
            capacity: 64 << 30,
            dirty_age_ns: 30_000_000_000,
            background_bytes: 256 << 20,
            hard_bytes: 512 << 20,
            commit_age_ns: 5_000_000_000,
            sync_keeps_entry: true,
            file_system: FileSystem::PerDirectory,
        }
    }
}

impl DiskConfig {
    /// The usual sizes, with the habits of that file system.
    pub fn of(file_system: FileSystem) -> Self {
        let commit_age_ns = match file_system {
            FileSystem::Ext4Ordered | FileSystem::PerDirectory => 5_000_000_000,
            FileSystem::Xfs | FileSystem::Strict => 30_000_000_000,
        };
        let sync_keeps_entry = file_system != FileSystem::Strict;
        Self { commit_age_ns, sync_keeps_entry, file_system, ..Self::default() }
    }
}

/// A host's memory as its page cache uses it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct DiskMemory {
    /// Bytes that may hold pages of files. At least 64 KiB.
    pub bytes: u64,
    /// Beyond this part of `bytes` pending pages are written back (Linux `dirty_background_ratio`, 10 %).
    pub background_ratio: f64,
    /// Beyond this part writers wait (`dirty_ratio`, 20 %).
    pub hard_ratio: f64,
    /// Pending pages older than this are written back, nanoseconds (`dirty_expire_centisecs`, 30 s).
    pub dirty_age_ns: u64,
}

impl Default for DiskMemory {
    /// 2.5 GiB, with Linux's ratios.
    fn default() -> Self {
        Self { bytes: 2560 << 20, background_ratio: 0.1, hard_ratio: 0.2, dirty_age_ns: 30_000_000_000 }
    }
}

impl DiskMemory {
    fn check(&self) -> Result<(), DiskSetupError> {
        for (what, value) in [("background-ratio", self.background_ratio), ("hard-ratio", self.hard_ratio)] {
            if !(value > 0.0 && value <= 1.0) {
                return Err(DiskSetupError::Ratio { what, value });
            }
        }
        if self.background_ratio > self.hard_ratio {
            let (background, hard) = (self.background_ratio, self.hard_ratio);
            return Err(DiskSetupError::RatiosCross { background, hard });
        }
        if self.bytes < super::cache::PIECE {
            return Err(DiskSetupError::TooLittleMemory { bytes: self.bytes });
        }
        Ok(())
    }
}

/// How fast a disk is. Ranges in nanoseconds, drawn evenly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct DiskProfile {
    /// A write into the page cache, without its bytes.
    pub write_ns: (u64, u64),
    /// A read from the page cache, without its bytes.
    pub read_ns: (u64, u64),
    /// A read that the page cache does not hold whole, without its bytes. `None`: every read counts as held, and nobody
    /// keeps account of memory.
    pub miss_ns: Option<(u64, u64)>,
    /// A sync, without the pending bytes that it carries.
    pub sync_ns: (u64, u64),
    /// Opening, renaming, removing, listing.
    pub meta_ns: (u64, u64),
    /// Bytes a second between process and page cache.
    pub cache_bytes_per_second: u64,
    /// Bytes a second from page cache to platter.
    pub sync_bytes_per_second: u64,
    /// Bytes a second from platter to page cache.
    pub miss_bytes_per_second: u64,
    /// Syncs and misses that the device works on at once; more of them wait in line. 0: any number.
    pub queue_depth: u32,
    /// What a writer waits beyond the hard limit of pending bytes.
    pub throttle_ns: u64,
    /// Of writes under way when their process is killed, so many in a million leave a part of themselves.
    pub cut_ppm: u32,
    /// Size and habits.
    pub model: DiskConfig,
}

impl Default for DiskProfile {
    fn default() -> Self {
        Self {
            write_ns: (5_000, 20_000),
            read_ns: (10_000, 60_000),
            miss_ns: None,
            sync_ns: (300_000, 3_000_000),
            meta_ns: (5_000, 40_000),
            cache_bytes_per_second: 4_000_000_000,
            sync_bytes_per_second: 500_000_000,
            miss_bytes_per_second: 500_000_000,
            queue_depth: 0,
            throttle_ns: 50_000_000,
            cut_ppm: 300_000,
            model: DiskConfig::default(),
        }
    }
}

impl DiskProfile {
    /// A local NVMe drive: misses of about 0.1 ms, 64 operations at once.
    pub fn nvme() -> Self {
        Self {
            miss_ns: Some((70_000, 200_000)),
            sync_ns: (20_000, 400_000),
            sync_bytes_per_second: 1_500_000_000,
            miss_bytes_per_second: 2_500_000_000,
            queue_depth: 64,
            ..Self::default()
        }
    }

    /// A network volume of a cloud: misses of about 1 ms, 250 MB/s, 16 operations at once.
    pub fn cloud_volume() -> Self {
        Self {
            miss_ns: Some((500_000, 2_000_000)),
            sync_ns: (600_000, 5_000_000),
            sync_bytes_per_second: 250_000_000,
            miss_bytes_per_second: 250_000_000,
            queue_depth: 16,
            ..Self::default()
        }
    }

    /// One spinning disk: a seek for every miss, one operation at a time.
    pub fn spinning() -> Self {
        Self {
            miss_ns: Some((2_000_000, 15_000_000)),
            sync_ns: (4_000_000, 25_000_000),
            sync_bytes_per_second: 150_000_000,
            miss_bytes_per_second: 150_000_000,
            queue_depth: 1,
            ..Self::default()
        }
    }

    /// The same speeds with the habits of that file system.
    pub fn with(self, file_system: FileSystem) -> Self {
        let DiskConfig { commit_age_ns, sync_keeps_entry, .. } = DiskConfig::of(file_system);
        Self { model: DiskConfig { commit_age_ns, sync_keeps_entry, file_system, ..self.model }, ..self }
    }

    /// Says what makes no sense in it.
    pub fn check(&self) -> Result<(), DiskSetupError> {
        let ranges = [
            ("write-ns", Some(self.write_ns)),
            ("read-ns", Some(self.read_ns)),
            ("miss-ns", self.miss_ns),
            ("sync-ns", Some(self.sync_ns)),
            ("meta-ns", Some(self.meta_ns)),
        ];
        for (what, (min, max)) in ranges.into_iter().filter_map(|(what, range)| Some((what, range?))) {
            if min > max {
                return Err(DiskSetupError::Range { what, min, max });
            }
        }
        let rates = [
            ("cache-bytes-per-second", self.cache_bytes_per_second),
            ("sync-bytes-per-second", self.sync_bytes_per_second),
            ("miss-bytes-per-second", self.miss_bytes_per_second),
        ];
        match rates.into_iter().find(|(_, rate)| *rate == 0) {
            Some((what, _)) => Err(DiskSetupError::ZeroRate { what }),
            None if self.cut_ppm > 1_000_000 => Err(DiskSetupError::CutPpm(self.cut_ppm)),
            None if self.model.capacity == 0 => Err(DiskSetupError::ZeroCapacity),
            None => Ok(()),
        }
    }
}

/// One device of a host, and where its files appear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Device {
    /// For people, faults and the atlas; once in a host.
    pub name: String,
    /// The directory where it is mounted, below the root of the host's disks; `""` is the root itself, which exactly one device
    /// has.
    pub mount: String,
    /// How fast and how large it is.
    #[serde(default)]
    pub profile: DiskProfile,
}

impl Device {
    /// A device of that name and mount point.
    pub fn new(name: &str, mount: &str, profile: DiskProfile) -> Self {
        Self { name: name.to_owned(), mount: mount.to_owned(), profile }
    }
}

/// All disks of a host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DiskSetup {
    /// What the page cache of the host has. `None`: the limits of each device's own [`DiskConfig`], and memory for all.
    #[serde(default)]
    pub memory: Option<DiskMemory>,
    /// One of them at the root.
    pub devices: Vec<Device>,
}

impl DiskSetup {
    /// One device for everything.
    pub fn single(profile: DiskProfile) -> Self {
        Self { memory: None, devices: vec![Device::new("disk", "", profile)] }
    }

    /// Says what makes no sense in it.
    pub fn check(&self) -> Result<(), DiskSetupError> {
        self.memory.as_ref().map_or(Ok(()), DiskMemory::check)?;
        for (i, device) in self.devices.iter().enumerate() {
            let error = |error| DiskSetupError::Device { device: device.name.clone(), error: Box::new(error) };
            device.profile.check().map_err(error)?;
            if !device.mount.is_empty() && device.mount.split('/').any(|part| matches!(part, "" | "." | "..")) {
                return Err(DiskSetupError::BadMount { mount: device.mount.clone() });
            }
            if self.devices[..i].iter().any(|other| other.name == device.name || other.mount == device.mount) {
                return Err(DiskSetupError::Twice { device: device.name.clone(), mount: device.mount.clone() });
            }
        }
        let is_root = |device: &Device| device.mount.is_empty();
        if self.devices.iter().any(is_root) { Ok(()) } else { Err(DiskSetupError::NoRoot) }
    }
}

/// What makes no sense in a description of disks.
#[derive(Clone, Debug, PartialEq)]
pub enum DiskSetupError {
    /// One device's profile is wrong.
    Device {
        /// Its name.
        device: String,
        /// What is wrong.
        error: Box<DiskSetupError>,
    },
    /// A drive of zero bytes.
    ZeroCapacity,
    /// A rate of zero.
    ZeroRate {
        /// Which one.
        what: &'static str,
    },
    /// A range whose end lies before its start.
    Range {
        /// Which one.
        what: &'static str,
        /// Nanoseconds.
        min: u64,
        /// Nanoseconds.
        max: u64,
    },
    /// More than all writes cut.
    CutPpm(u32),
    /// A ratio outside of 0 to 1, or no number.
    Ratio {
        /// Which one.
        what: &'static str,
        /// What was given.
        value: f64,
    },
    /// Writers would wait before anything is written back.
    RatiosCross {
        /// The background ratio.
        background: f64,
        /// The hard ratio.
        hard: f64,
    },
    /// Not even one piece of a file fits.
    TooLittleMemory {
        /// What was given.
        bytes: u64,
    },
    /// A mount point that is no path below the root.
    BadMount {
        /// What was given.
        mount: String,
    },
    /// Two devices of one name or one mount point.
    Twice {
        /// The second one's name.
        device: String,
        /// Its mount point.
        mount: String,
    },
    /// No device is mounted at the root.
    NoRoot,
    /// The host's disks hold files or serve operations.
    InUse {
        /// The host's name.
        host: String,
    },
}

impl fmt::Display for DiskSetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device { device, error } => write!(f, "device {device:?}: {error}"),
            Self::ZeroCapacity => {
                write!(f, "capacity = 0: a drive of zero bytes holds no file; give it at least one byte")
            }
            Self::ZeroRate { what } => write!(f, "{what} = 0: nothing would ever move"),
            Self::Range { what, min, max } => write!(f, "{what} = {min}..{max}: the range ends before it starts"),
            Self::CutPpm(ppm) => write!(f, "cut-ppm = {ppm}: at most 1000000, a million in a million"),
            Self::Ratio { what, value } => write!(f, "{what} = {value}: must be above 0 and at most 1"),
            Self::RatiosCross { background, hard } => {
                write!(
                    f,
                    "background-ratio = {background} is above hard-ratio = {hard}: writers would wait for nothing"
                )
            }
            Self::TooLittleMemory { bytes } => write!(f, "memory of {bytes} bytes: at least {}", super::cache::PIECE),
            Self::BadMount { mount } => {
                write!(f, "mount {mount:?}: must be a relative path without empty parts, . or ..")
            }
            Self::Twice { device, mount } => {
                write!(f, "device {device:?} at {mount:?}: its name or its mount point is taken")
            }
            Self::NoRoot => write!(f, "no device has the mount \"\": the root must be somewhere"),
            Self::InUse { host } => {
                write!(f, "{host}: its disks hold files or serve operations; set them up before use")
            }
        }
    }
}

impl std::error::Error for DiskSetupError {}
