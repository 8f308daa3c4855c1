//! Clocks of hosts go wrong, world time does not.

mod common;

use common::*;
use klamm_sim::{Host, HostError, Leap, World};

const START_MS: i64 = 1_767_225_600_000;

fn wall(world: &World, host: Host) -> i64 {
    world.env(host).clock.wall_ms() - START_MS
}

#[test]
fn a_wall_clock_drifts_from_where_it_is_and_world_time_does_not() {
    simulate(1, |world| async move {
        let (fast, slow, right) = (world.add_host("fast"), world.add_host("slow"), world.add_host("right"));
        world.set_wall_offset_ms(fast, 10_000);
        world.set_wall_drift_ppm(fast, 1_000).unwrap();
        world.set_wall_drift_ppm(slow, -500_000).unwrap();
        world.sleep_until(1_000 * S).await;
        assert_eq!(wall(&world, fast), 10_000 + 1_000_000 + 1_000);
        assert_eq!(wall(&world, slow), 500_000);
        assert_eq!(wall(&world, right), 1_000_000);
        assert_eq!(world.env(fast).clock.mono_ns(), 1_000 * S, "the monotonic clock is another clock");
        world.set_wall_drift_ppm(fast, 0).unwrap();
        world.sleep_until(2_000 * S).await;
        assert_eq!(wall(&world, fast), 10_000 + 2_000_000 + 1_000, "what it gained stays");
        world.set_wall_offset_ms(fast, 0);
        assert_eq!(wall(&world, fast), 2_000_000);
    });
}

#[test]
fn a_wall_clock_jumps_forwards_and_backwards_by_what_was_said() {
    simulate(1, |world| async move {
        let host = world.add_host("host");
        world.sleep_until(10 * S).await;
        world.jump_wall_ms(host, 3_600_000).unwrap();
        assert_eq!(wall(&world, host), 3_610_000);
        world.jump_wall_ms(host, -3_605_000).unwrap();
        assert_eq!(wall(&world, host), 5_000);
        world.jump_wall_ms(host, i64::MIN).unwrap();
        assert!(wall(&world, host) < 0, "a hostile jump ends at the end of the scale, not in a panic");
        assert_eq!(world.now_ns(), 10 * S);
    });
}

#[test]
fn timers_of_a_drifting_host_fire_by_its_own_clock() {
    simulate(1, |world| async move {
        let (fast, slow, right) = (world.add_host("fast"), world.add_host("slow"), world.add_host("right"));
        world.sleep_until(S).await;
        world.set_timer_drift_ppm(fast, 1_000_000).unwrap();
        world.set_timer_drift_ppm(slow, -500_000).unwrap();
        for (host, world_ms) in [(fast, 500), (slow, 2_000), (right, 1_000)] {
            let start = world.now_ns();
            let env = world.env(host);
            let before = env.clock.mono_ns();
            env.clock.sleep_ms(1_000).await;
            assert_eq!(env.clock.mono_ns() - before, 1_000 * MS, "on its own clock it slept a second");
            assert_eq!(world.now_ns() - start, world_ms * MS);
        }
    });
}

#[test]
fn timers_that_are_set_follow_a_clock_that_goes_wrong_and_right_again() {
    simulate(1, |world| async move {
        let host = world.add_host("host");
        let clock = world.env(host).clock;
        let sleeper = world.spawn_on(host, "sleeper", async move {
            clock.sleep_ms(1_000).await;
            world.now_ns()
        });
        world.sleep_until(400 * MS).await;
        world.set_timer_drift_ppm(host, -900_000).unwrap(); // 600 ms are left: 6 s at a tenth of the speed
        world.sleep_until(3_400 * MS).await;
        assert_eq!(world.env(host).clock.mono_ns(), 700 * MS);
        world.set_timer_drift_ppm(host, 0).unwrap(); // 300 ms are left
        assert_eq!(sleeper.await.unwrap(), 3_700 * MS);
        world.sleep_until(5 * S).await;
        assert_eq!(world.env(host).clock.mono_ns(), 2_300 * MS, "a rate that is right again does not jump");
    });
}

#[test]
fn a_leap_second_is_lived_twice_or_smeared() {
    simulate(1, |world| async move {
        let (twice, smeared) = (world.add_host("twice"), world.add_host("smeared"));
        world.leap(twice, 10 * S, Leap::Repeated).unwrap();
        world.leap(smeared, 10 * S, Leap::Smeared { over_ns: 100 * S }).unwrap();
        world.sleep_until(10 * S - MS).await;
        assert_eq!([wall(&world, twice), wall(&world, smeared)], [9_999, 9_999]);
        world.sleep_until(10 * S).await;
        assert_eq!([wall(&world, twice), wall(&world, smeared)], [9_000, 10_000]);
        world.sleep_until(60 * S).await;
        assert_eq!([wall(&world, twice), wall(&world, smeared)], [59_000, 59_500]);
        assert_eq!(world.leap(smeared, 70 * S, Leap::Repeated), Err(HostError::LeapUnderWay));
        world.sleep_until(110 * S).await;
        assert_eq!([wall(&world, twice), wall(&world, smeared)], [109_000, 109_000]);
        world.leap(smeared, 120 * S, Leap::Repeated).unwrap();
        world.sleep_until(130 * S).await;
        assert_eq!(wall(&world, smeared), 128_000, "one after the other");
    });
}

#[test]
fn rates_at_which_no_clock_goes_and_hosts_that_are_not_there_are_typed_errors() {
    simulate(1, |world| async move {
        let host = world.add_host("host");
        for ppm in [-2_000_000, -1_000_000, 1_000_001, i64::MIN, i64::MAX] {
            assert_eq!(world.set_wall_drift_ppm(host, ppm), Err(HostError::ClockRate { ppm }));
            assert_eq!(world.set_timer_drift_ppm(host, ppm), Err(HostError::ClockRate { ppm }));
        }
        let zero = world.leap(host, S, Leap::Smeared { over_ns: 0 }).unwrap_err();
        assert_eq!(zero.to_string(), "the length of a smear is zero: leave it out for none, or set it to at least 1");
        let nobody = Host(7);
        let unknown = Err(HostError::Unknown { host: 7 });
        assert_eq!(world.set_wall_drift_ppm(nobody, 1), unknown);
        assert_eq!(world.set_timer_drift_ppm(nobody, 1), unknown);
        assert_eq!(world.jump_wall_ms(nobody, 1), unknown);
        assert_eq!(world.leap(nobody, 1, Leap::Repeated), unknown);
        assert_eq!(world.set_step_cost_ns(nobody, 1, 1), unknown);
        assert_eq!(world.stop(nobody, 1), unknown);
        world.set_timer_drift_ppm(host, -999_999).unwrap();
        let clock = world.env(host).clock;
        let near_never = clock.before(u64::MAX - 1, std::future::pending::<()>());
        assert!(clock.before(1, near_never).await.is_none(), "a clock that nearly stands still counts");
        assert_eq!(world.now_ns(), MS, "one nanosecond of a clock a million times too slow");
    });
}
