//! Hostile bytes as the files of a partition's directory. What is done with them stands in `src/recovery.rs`, which `cargo test`
//! runs over the corpus; here the memory that it takes is measured too.
#![no_main]

#[path = "../../broker/log/tests/bench/mod.rs"]
mod bench;
#[path = "../../broker/log/tests/disk/mod.rs"]
mod disk;
#[path = "../src/recovery.rs"]
mod recovery;

use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    recovery::recovery(data);
    let taken = MEMORY.peak_usage().saturating_sub(before);
    let bound = recovery::bound(data);
    assert!(taken <= bound, "{taken} bytes were taken for {}, {bound} are allowed", data.len());
});
