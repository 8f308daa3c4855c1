//! The example of the crate does what it says.
#![allow(dead_code)]

#[path = "../examples/key_value.rs"]
mod example;

#[test]
fn some_seed_reads_what_is_no_longer_true_and_does_so_again() {
    let found = (0..100).find_map(|seed| example::play(seed).0.map(|broken| (seed, broken)));
    let (seed, broken) = found.expect("the store breaks its promise in one seed of a hundred");
    assert!(broken.contains("was acknowledged"), "{broken}");
    assert_eq!(example::play(seed), example::play(seed));
    assert_eq!(example::play(seed).0, Some(broken));
    assert!((0..100).any(|seed| example::play(seed).0.is_none()), "and keeps it in others");
}

#[test]
fn the_example_is_short() {
    assert!(include_str!("../examples/key_value.rs").lines().count() < 100);
}
