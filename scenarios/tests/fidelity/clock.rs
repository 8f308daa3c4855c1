//! Clocks, timers and tasks.

use crate::{MS, Stage, expectations};
use std::future::{pending, poll_fn};
use std::task::Poll;

expectations!(
    timers_fire_in_the_order_of_their_deadlines,
    a_timer_fires_not_before_its_deadline_and_can_be_set_anew,
    a_timer_that_is_not_set_never_fires,
    a_deadline_that_has_passed_is_ready_at_once,
    work_that_is_done_wins_against_its_deadline,
    both_clocks_run_forward_together,
    a_task_runs_beside_its_maker_and_can_be_ended,
    draws_differ,
);

async fn timers_fire_in_the_order_of_their_deadlines(stage: Stage) {
    let clock = &stage.client.clock;
    let now = clock.mono_ns();
    // Set in another order than that of the deadlines.
    let mut timers: Vec<_> = [3, 1, 4, 2, 0].map(|place| (place, clock.timer(), false)).into_iter().collect();
    for (place, timer, _) in &mut timers {
        timer.set(Some(now + (10 + 15 * *place as u64) * MS));
    }
    timers.sort_by_key(|(place, ..)| *place);
    poll_fn(|cx| {
        // A late one is asked first: if it has fired, so have those before it.
        for (_, timer, fired) in timers.iter_mut().rev() {
            *fired = timer.poll_fired(cx).is_ready();
        }
        let fired: Vec<bool> = timers.iter().map(|(.., fired)| *fired).collect();
        assert!(fired.windows(2).all(|pair| pair[0] || !pair[1]), "{fired:?}");
        if fired.iter().all(|fired| *fired) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    assert!(clock.mono_ns() >= now + 70 * MS);
}

async fn a_timer_fires_not_before_its_deadline_and_can_be_set_anew(stage: Stage) {
    let clock = &stage.client.clock;
    let start = clock.mono_ns();
    let mut timer = clock.timer();
    timer.set(Some(start + 3_600_000 * MS));
    poll_fn(|cx| {
        assert!(timer.poll_fired(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    timer.set(Some(start + 20 * MS));
    poll_fn(|cx| timer.poll_fired(cx)).await;
    let now = clock.mono_ns();
    assert!(now >= start + 20 * MS && now < start + 3_600_000 * MS);
    timer.set(Some(now + 20 * MS));
    poll_fn(|cx| timer.poll_fired(cx)).await;
    poll_fn(|cx| timer.poll_fired(cx)).await;
    assert!(clock.mono_ns() >= now + 20 * MS, "and it stays fired until it is set anew");
}

async fn a_timer_that_is_not_set_never_fires(stage: Stage) {
    let clock = &stage.client.clock;
    let mut timer = clock.timer();
    timer.set(Some(0));
    timer.set(None);
    let never = poll_fn(move |cx| timer.poll_fired(cx));
    assert_eq!(clock.before(clock.mono_ns() + 20 * MS, never).await, None);
}

async fn a_deadline_that_has_passed_is_ready_at_once(stage: Stage) {
    stage.sleep_ms(2).await;
    let clock = &stage.client.clock;
    for deadline in [0, clock.mono_ns()] {
        let mut timer = clock.timer();
        timer.set(Some(deadline));
        let ready = poll_fn(|cx| Poll::Ready(timer.poll_fired(cx).is_ready())).await;
        assert!(ready, "{deadline}");
    }
}

async fn work_that_is_done_wins_against_its_deadline(stage: Stage) {
    let clock = &stage.client.clock;
    assert_eq!(clock.before(0, async { 7 }).await, Some(7));
    assert_eq!(clock.before(u64::MAX, async { 8 }).await, Some(8));
    assert_eq!(clock.before(0, pending::<()>()).await, None);
}

async fn both_clocks_run_forward_together(stage: Stage) {
    let clock = &stage.client.clock;
    let (mono, wall) = (clock.mono_ns(), clock.wall_ms());
    assert!(wall > 1_577_836_800_000, "the year 2020 is over");
    stage.sleep_ms(50).await;
    let (mono, wall) = (clock.mono_ns() - mono, clock.wall_ms() - wall);
    assert!(mono >= 50 * MS, "{mono}");
    assert!((wall - (mono / MS) as i64).abs() <= 25, "{wall} ms of one, {mono} ns of the other");
}

async fn a_task_runs_beside_its_maker_and_can_be_ended(stage: Stage) {
    let tasks = &stage.client.tasks;
    let (tell, told) = tokio::sync::oneshot::channel();
    tasks.spawn("tell", Box::pin(async move { tell.send(1).expect("the test waits") }));
    assert_eq!(told.await, Ok(1));
    let (held, dropped) = tokio::sync::oneshot::channel::<()>();
    let endless = tasks.spawn(
        "endless",
        Box::pin(async move {
            let _held = held;
            pending::<()>().await
        }),
    );
    endless.abort();
    assert!(dropped.await.is_err(), "its future was dropped");
}

async fn draws_differ(stage: Stage) {
    let entropy = &stage.client.entropy;
    assert_ne!(entropy.next_u64(), entropy.next_u64());
}
