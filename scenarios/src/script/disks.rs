//! What disks the nodes of a script have.

use klamm_sim::{DiskMemory, DiskProfile, DiskSetup, DiskSetupError, FileSystem};
use serde::Serialize;

/// Disks of every node. What is left out is as the world has it: one fast device of 64 GiB, and memory for all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct DiskSpec {
    /// How fast it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceKind>,
    /// What a loss of power leaves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_system: Option<FileSystem>,
    /// How many bytes it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u64>,
    /// Bytes of memory that may hold pages of files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
}

/// A device with its speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceKind {
    /// [`DiskProfile::nvme`].
    Nvme,
    /// [`DiskProfile::cloud_volume`].
    CloudVolume,
    /// [`DiskProfile::spinning`].
    Spinning,
}

impl DeviceKind {
    /// Every device with the word that scripts use.
    pub const WORDS: [(&'static str, DeviceKind); 3] =
        [("nvme", DeviceKind::Nvme), ("cloud-volume", DeviceKind::CloudVolume), ("spinning", DeviceKind::Spinning)];

    fn profile(self) -> DiskProfile {
        match self {
            DeviceKind::Nvme => DiskProfile::nvme(),
            DeviceKind::CloudVolume => DiskProfile::cloud_volume(),
            DeviceKind::Spinning => DiskProfile::spinning(),
        }
    }
}

/// Every file system with the word that scripts use.
pub(crate) const FILE_SYSTEMS: [(&str, FileSystem); 4] = [
    ("ext4-ordered", FileSystem::Ext4Ordered),
    ("xfs", FileSystem::Xfs),
    ("per-directory", FileSystem::PerDirectory),
    ("strict", FileSystem::Strict),
];

impl DiskSpec {
    /// True if the script says nothing of disks.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// The world's form of it; `None` if the script says nothing of disks.
    ///
    /// # Errors
    /// A drive of zero bytes, or too little memory for a page cache.
    pub fn setup(&self) -> Result<Option<DiskSetup>, DiskSetupError> {
        if self.is_plain() {
            return Ok(None);
        }
        let profile = self.device.map_or_else(DiskProfile::default, DeviceKind::profile);
        let mut profile = match self.file_system {
            Some(file_system) => profile.with(file_system),
            None => profile,
        };
        profile.model.capacity = self.capacity.unwrap_or(profile.model.capacity);
        let memory = self.memory.map(|bytes| DiskMemory { bytes, ..DiskMemory::default() });
        let setup = DiskSetup { memory, ..DiskSetup::single(profile) };
        setup.check()?;
        Ok(Some(setup))
    }
}
