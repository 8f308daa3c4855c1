//! The disks of hosts as the stage sees them: what they are, what is wrong with them, and which bytes it cost.

use crate::disk::{Damage, DiskFault, DiskFaultError, DiskFaultId, DiskSetup, DiskSetupError, DiskUse};
use crate::event::WorldEvent;
use crate::stage::{Host, World};
use crate::world::flush;

impl World {
    /// Gives a host other disks, all of them empty. Refused once they hold a file, a fault or an operation.
    pub fn set_disks(&self, host: Host, setup: DiskSetup) -> Result<(), DiskSetupError> {
        setup.check()?;
        let set = self.with(|world| {
            let name = world.name(host.0);
            let is_busy = world.disks.ops.iter().any(|(_, op)| op.host() == host.0);
            if is_busy || !world.machines[host.0 as usize].disk.is_fresh() {
                return Err(DiskSetupError::InUse { host: name });
            }
            let devices = setup.devices.iter().map(|device| device.name.clone()).collect();
            world.machines[host.0 as usize].disk = world.make_disks(&name, setup);
            world.note_process(host.0, "has other disks", 0);
            world.tell(WorldEvent::DisksSet { host: name, devices });
            Ok(())
        });
        flush();
        set
    }

    /// Sets a fault of a host's disks. Its times are world time; what lies in the past begins now.
    pub fn add_disk_fault(&self, host: Host, fault: DiskFault) -> Result<DiskFaultId, DiskFaultError> {
        let id = self.with(|world| world.arm_disk(host.0, fault));
        flush();
        id
    }

    /// Takes a fault back: what is stuck in it goes on, a device that it removed returns with what was durable. False if it is over
    /// already. Damage stays.
    pub fn clear_disk_fault(&self, host: Host, id: DiskFaultId) -> bool {
        let was_set = self.with(|world| {
            let was_set = world.machines[host.0 as usize].disk.disarm(id);
            world.disk_tick(host.0);
            was_set
        });
        flush();
        was_set
    }

    /// Takes all faults of a host's disks back.
    pub fn clear_disk_faults(&self, host: Host) {
        self.with(|world| {
            world.machines[host.0 as usize].disk.disarm_all();
            world.disk_tick(host.0);
        });
        flush();
    }

    /// The fault atlas of a host: every damage that a disk fault did, in the order of time. Loss of power is no fault of a
    /// disk and not in it.
    pub fn disk_damage(&self, host: Host) -> Vec<Damage> {
        self.with(|world| world.machines[host.0 as usize].disk.atlas.clone())
    }

    /// How full the devices of a host are, in the order of its setup.
    pub fn disk_use(&self, host: Host) -> Vec<DiskUse> {
        self.with(|world| world.machines[host.0 as usize].disk.uses())
    }

    /// Bytes of a host's memory that hold pages of files; 0 where no device has a latency for misses.
    pub fn cached_bytes(&self, host: Host) -> u64 {
        self.with(|world| world.machines[host.0 as usize].disk.cached_bytes())
    }

    /// A host's page cache lets go of all that is clean, as under memory pressure: what the platter holds is read from now on.
    pub fn drop_caches(&self, host: Host) {
        self.with(|world| world.machines[host.0 as usize].disk.drop_caches(None));
    }
}
