//! Hostile bytes as record batches. What is done with them stands in `src/record_batches.rs`, which `cargo test` runs over
//! the corpus; here the memory that it takes is measured too.
#![no_main]

#[path = "../src/record_batches.rs"]
mod record_batches;

use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    record_batches::record_batches(data);
    let taken = MEMORY.peak_usage().saturating_sub(before);
    let bound = record_batches::bound(data.len());
    assert!(taken <= bound, "{taken} bytes were taken for {}, {bound} are allowed", data.len());
});
