//! Byte streams behave as TCP does, and links as the stage says.

mod common;

use common::*;
use klamm_env::Address;
use klamm_sim::{Host, Latency, LinkProfile, LinkState, World};
use std::io::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A server that runs `echo`, a client, and 200 us in each direction.
fn pair(world: &World) -> (Host, Host) {
    let (server, client) = (world.add_host("server"), world.add_host("client"));
    world.set_latency(server, client, Latency::fixed(200 * US)).unwrap();
    world.set_latency(client, server, Latency::fixed(200 * US)).unwrap();
    world.boot(server, |env| Box::pin(echo(env)));
    (server, client)
}

async fn ready(world: &World) {
    world.sleep_until(world.now_ns() + MS).await;
}

#[test]
fn a_round_trip_takes_what_was_asked_and_has_no_floor() {
    simulate(1, |world| async move {
        let (_, client) = pair(&world);
        ready(&world).await;
        let before = world.now_ns();
        let mut stream = connect(&world.env(client), "server").await.unwrap();
        assert_eq!(world.now_ns() - before, 400 * US, "connecting is a round trip");
        for _ in 0..1000 {
            let before = world.now_ns();
            ping(&mut stream, b"0123456789").await.unwrap();
            assert_eq!(world.now_ns() - before, 400 * US);
        }
    });
}

#[test]
fn many_segments_at_once_arrive_together() {
    simulate(1, |world| async move {
        let (_, client) = pair(&world);
        ready(&world).await;
        let mut stream = connect(&world.env(client), "server").await.unwrap();
        let before = world.now_ns();
        for _ in 0..1000 {
            stream.write_all(b"0123456789").await.unwrap();
        }
        let mut answer = vec![0; 10_000];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(world.now_ns() - before, 400 * US);
    });
}

#[test]
fn a_stream_is_never_reordered_whatever_the_latency() {
    simulate(3, |world| async move {
        let (server, client) = pair(&world);
        let profile = LinkProfile { loss_ppm: 50_000, ..Latency::between(10 * US, 50 * MS).into() };
        world.set_link_profile(client, server, profile).unwrap();
        ready(&world).await;
        let mut stream = connect(&world.env(client), "server").await.unwrap();
        let sent: Vec<u8> = (0..20_000_u32).map(|n| (n % 251) as u8).collect();
        for chunk in sent.chunks(100) {
            stream.write_all(chunk).await.unwrap();
            world.sleep_until(world.now_ns() + MS).await;
        }
        let mut answer = vec![0; sent.len()];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, sent);
    });
}

#[test]
fn connecting_where_nobody_listens_is_refused_after_a_round_trip() {
    simulate(1, |world| async move {
        let (_, client) = pair(&world);
        ready(&world).await;
        let before = world.now_ns();
        let refused = world.env(client).net.connect(Address::new("server", 10), "test").await.err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        assert_eq!(world.now_ns() - before, 400 * US);
        let unknown = connect(&world.env(client), "nowhere").await.err().unwrap();
        assert_eq!(unknown.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn connecting_through_a_black_hole_times_out_in_either_direction() {
    simulate(1, |world| async move {
        let (server, client) = pair(&world);
        ready(&world).await;
        for (from, to) in [(client, server), (server, client)] {
            world.set_link(from, to, LinkState::BlackHole).unwrap();
            let before = world.now_ns();
            let error = connect(&world.env(client), "server").await.err().unwrap();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert_eq!(world.now_ns() - before, 10 * S);
            world.set_link(from, to, LinkState::Up).unwrap();
        }
        world.set_link(client, server, LinkState::BlackHole).unwrap();
        let healed = world.now_ns() + 1500 * MS;
        world.spawn("heal", async move {
            world.sleep_until(healed).await;
            world.heal_all_links();
        });
        connect(&world.env(client), "server").await.expect("the question is asked again until the time-out");
        assert!(world.now_ns() > healed);
    });
}

#[test]
fn bytes_wait_behind_a_cut_and_arrive_after_the_heal() {
    for state in [LinkState::Stalled, LinkState::BlackHole] {
        let delays: Vec<u64> = (0..20)
            .map(|seed| {
                simulate(seed, move |world| async move {
                    let (server, client) = pair(&world);
                    ready(&world).await;
                    let mut stream = connect(&world.env(client), "server").await.unwrap();
                    ping(&mut stream, b"before").await.unwrap();
                    world.set_link(client, server, state).unwrap();
                    stream.write_all(b"held").await.unwrap();
                    let healed = world.now_ns() + 5 * S;
                    let env = world.env(client);
                    let mut answer = [0; 4];
                    assert!(
                        env.clock.before(healed, stream.read(&mut answer)).await.is_none(),
                        "nothing comes through"
                    );
                    world.set_link(client, server, LinkState::Up).unwrap();
                    stream.read_exact(&mut answer).await.unwrap();
                    assert_eq!(&answer, b"held");
                    world.now_ns() - healed
                })
            })
            .collect();
        assert!(delays.contains(&(400 * US)), "sometimes at once: {delays:?}");
        assert!(delays.iter().any(|delay| *delay > 200 * MS), "sometimes with the next retransmission: {delays:?}");
        assert!(delays.iter().all(|delay| *delay <= 3 * S + 400 * US), "not for ever: {delays:?}");
    }
}

#[test]
fn the_direction_that_is_not_cut_still_delivers() {
    simulate(2, |world| async move {
        let (server, client) = pair(&world);
        ready(&world).await;
        let mut there = connect(&world.env(client), "server").await.unwrap();
        ping(&mut there, b"x").await.unwrap();
        world.set_link(server, client, LinkState::BlackHole).unwrap();
        let before = world.state(server);
        there.write_all(b"arrives").await.unwrap();
        world.sleep_until(world.now_ns() + 10 * MS).await;
        assert_eq!(before, world.state(server));
        world.set_link(server, client, LinkState::Up).unwrap();
        let mut answer = [0; 7];
        there.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"arrives", "the server heard it during the cut");
    });
}

#[test]
fn a_stream_whose_bytes_nobody_acknowledges_dies_after_the_limit() {
    for cut_answers in [false, true] {
        simulate(2, move |world| async move {
            let (server, client) = pair(&world);
            ready(&world).await;
            let mut stream = connect(&world.env(client), "server").await.unwrap();
            let (from, to) = if cut_answers { (server, client) } else { (client, server) };
            world.set_link(from, to, LinkState::BlackHole).unwrap();
            stream.write_all(b"lost").await.unwrap();
            let before = world.now_ns();
            let error = stream.read(&mut [0; 4]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert_eq!(world.now_ns() - before, 30 * S);
            assert!(stream.write(b"more").await.is_err());
        });
    }
}

#[test]
fn a_cut_that_ends_before_the_limit_breaks_no_stream() {
    simulate(2, |world| async move {
        let (server, client) = pair(&world);
        ready(&world).await;
        let mut stream = connect(&world.env(client), "server").await.unwrap();
        for _ in 0..3 {
            world.set_link(client, server, LinkState::BlackHole).unwrap();
            world.set_link(server, client, LinkState::BlackHole).unwrap();
            let healed = world.now_ns() + 25 * S;
            world.spawn("heal", async move {
                world.sleep_until(healed).await;
                world.heal_all_links();
            });
            ping(&mut stream, b"patience").await.unwrap();
            assert!(world.now_ns() > healed);
        }
    });
}

#[test]
fn what_was_written_before_a_close_is_still_delivered_and_then_the_end() {
    simulate(4, |world| async move {
        let (server, client) = pair(&world);
        ready(&world).await;
        let mut stream = connect(&world.env(client), "server").await.unwrap();
        world.set_link(server, client, LinkState::Stalled).unwrap();
        stream.write_all(b"last words").await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(stream.write(b"more").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        world.sleep_until(world.now_ns() + S).await;
        world.set_link(server, client, LinkState::Up).unwrap();
        let mut all = vec![];
        stream.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"last words", "the server answered, then closed");
    });
}

#[test]
fn the_end_of_a_killed_process_obeys_the_link() {
    simulate(4, |world| async move {
        let (server, client) = pair(&world);
        ready(&world).await;
        let mut stream = connect(&world.env(client), "server").await.unwrap();
        ping(&mut stream, b"x").await.unwrap();
        let killed = world.now_ns();
        world.kill(server);
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0, "the peer sees the end of the stream");
        assert_eq!(world.now_ns() - killed, 200 * US);
        assert_eq!(connect(&world.env(client), "server").await.err().unwrap().kind(), ErrorKind::ConnectionRefused);

        world.restart(server);
        ready(&world).await;
        let mut stream = connect(&world.env(client), "server").await.unwrap();
        ping(&mut stream, b"x").await.unwrap();
        world.set_link(server, client, LinkState::BlackHole).unwrap();
        world.kill(server);
        let healed = world.now_ns() + 20 * S;
        let env = world.env(client);
        let mut byte = [0; 1];
        assert!(env.clock.before(healed, stream.read(&mut byte)).await.is_none(), "silence through the cut");
        world.set_link(server, client, LinkState::Up).unwrap();
        assert_eq!(stream.read(&mut byte).await.unwrap(), 0, "the end comes with a retransmission");
    });
}

#[test]
fn writing_to_a_killed_process_is_answered_with_a_reset() {
    simulate(4, |world| async move {
        let (server, client) = pair(&world);
        ready(&world).await;
        let mut stream = connect(&world.env(client), "server").await.unwrap();
        ping(&mut stream, b"x").await.unwrap();
        world.kill(server);
        world.sleep_until(world.now_ns() + 10 * MS).await;
        stream.write_all(b"anybody?").await.expect("the first write cannot know");
        world.sleep_until(world.now_ns() + 10 * MS).await;
        let error = stream.write_all(b"anybody?").await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error:?}");
    });
}

#[test]
fn closing_over_unread_bytes_resets() {
    simulate(5, |world| async move {
        let (server, client) = (world.add_host("server"), world.add_host("client"));
        world.boot(server, |env| Box::pin(deaf(env)));
        ready(&world).await;
        let mut stream = connect(&world.env(client), "server").await.unwrap();
        stream.write_all(b"never read").await.unwrap();
        ready(&world).await;
        world.kill(server);
        let error = stream.read(&mut [0; 1]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_reset_waits_behind_a_stall_and_is_lost_in_a_black_hole() {
    for (state, heard) in [(LinkState::Stalled, true), (LinkState::BlackHole, false)] {
        simulate(5, move |world| async move {
            let (server, client) = (world.add_host("server"), world.add_host("client"));
            world.boot(server, |env| Box::pin(deaf(env)));
            ready(&world).await;
            let mut stream = connect(&world.env(client), "server").await.unwrap();
            stream.write_all(b"never read").await.unwrap();
            ready(&world).await;
            world.set_link(server, client, state).unwrap();
            world.kill(server);
            world.sleep_until(world.now_ns() + S).await;
            world.set_link(server, client, LinkState::Up).unwrap();
            let env = world.env(client);
            let read =
                env.clock.before(world.now_ns() + 60 * S, stream.read(&mut [0; 1])).await.map(Result::unwrap_err);
            assert_eq!(read.map(|error| error.kind()), heard.then_some(ErrorKind::ConnectionReset));
            if !heard {
                stream.write_all(b"?").await.unwrap();
                assert_eq!(stream.read(&mut [0; 1]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
            }
        });
    }
}

#[test]
fn a_connect_that_waits_behind_a_stall_goes_on_at_the_heal() {
    let mut soon = 0;
    for seed in 0..20 {
        soon += simulate(seed, |world| async move {
            let (server, client) = pair(&world);
            ready(&world).await;
            world.set_link(server, client, LinkState::Stalled).unwrap();
            let healed = world.now_ns() + 3500 * MS;
            world.spawn("heal", async move {
                world.sleep_until(healed).await;
                world.set_link(server, client, LinkState::Up).unwrap();
            });
            let mut stream = connect(&world.env(client), "server").await.unwrap();
            let took = world.now_ns() - healed;
            ping(&mut stream, b"x").await.unwrap();
            u32::from(took == 400 * US)
        });
    }
    assert!((1..20).contains(&soon), "at once or with a retransmission, as drawn: {soon} of 20 at once");
}

#[test]
fn abort_resets_the_other_end() {
    simulate(5, |world| async move {
        let (server, client) = pair(&world);
        world.kill(server);
        world.restart(server);
        let mut listener = world.env(server).net.listen(Address::new("", 77)).await.unwrap();
        let env = world.env(client);
        let (mine, theirs) = tokio::join!(
            env.net.connect(Address::new("server", 77), "test"),
            std::future::poll_fn(|cx| listener.poll_accept(cx))
        );
        let (mut mine, mut theirs) = (mine.unwrap(), theirs.unwrap());
        mine.write_all(b"kept").await.unwrap();
        ready(&world).await;
        mine.abort();
        ready(&world).await;
        let mut buffer = [0; 8];
        assert_eq!(theirs.read(&mut buffer).await.unwrap(), 4, "what had arrived can be read");
        assert_eq!(theirs.read(&mut buffer).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_writer_without_a_reader_waits_at_the_window() {
    simulate(6, |world| async move {
        let (server, client) = (world.add_host("server"), world.add_host("client"));
        let listener = world.env(server).net.listen(Address::new("", 9)).await;
        let mut listener = listener.unwrap();
        let env = world.env(client);
        let mut mine = connect(&env, "server").await.unwrap();
        let mut theirs = std::future::poll_fn(|cx| listener.poll_accept(cx)).await.unwrap();
        let block = [7; 10_000];
        let mut written = 0;
        while let Some(count) = env.clock.before(world.now_ns() + S, mine.write(&block)).await {
            written += count.unwrap();
        }
        assert_eq!(written, 65_536, "a window and no more");
        let mut buffer = vec![0; written];
        theirs.read_exact(&mut buffer).await.unwrap();
        let count = env.clock.before(world.now_ns() + S, mine.write(&block)).await;
        assert_eq!(count.expect("there is room again").unwrap(), block.len());
    });
}

/// Flips both directions again and again, never for as long as the retransmission limit, until `end_ns`.
async fn flip(world: World, a: Host, b: Host, end_ns: u64) {
    use rand_chacha::rand_core::Rng;
    let mut rng = world.rng("flips");
    while world.now_ns() < end_ns {
        let (from, to) = if rng.next_u64() & 1 == 0 { (a, b) } else { (b, a) };
        let states = [LinkState::Up, LinkState::Stalled, LinkState::BlackHole, LinkState::Up];
        world.set_link(from, to, states[(rng.next_u64() & 3) as usize]).unwrap();
        if rng.next_u64().is_multiple_of(4) {
            world.set_latency(from, to, Latency::between(20 * US, 1 + (rng.next_u64() % 20) * MS + 20 * US)).unwrap();
        }
        world.sleep_until(world.now_ns() + rng.next_u64() % (300 * MS)).await;
        if rng.next_u64().is_multiple_of(8) {
            world.heal_all_links();
        }
    }
    world.heal_all_links();
}

#[test]
fn every_byte_arrives_once_and_in_order_through_flapping_links() {
    for seed in 0..60 {
        simulate(seed, |world| async move {
            use rand_chacha::rand_core::Rng;
            const TOTAL: usize = 600_000;
            let (server, client) = (world.add_host("server"), world.add_host("client"));
            let mut listener = world.env(server).net.listen(Address::new("", 9)).await.unwrap();
            let mut mine = connect(&world.env(client), "server").await.unwrap();
            let mut theirs = std::future::poll_fn(|cx| listener.poll_accept(cx)).await.unwrap();
            world.spawn("flip", flip(world, server, client, 6 * S));
            let (mut rng, clock) = (world.rng("chunks"), world.env(client).clock);
            let bytes: Vec<u8> = (0..TOTAL).map(|at| (at % 253) as u8).collect();
            let expect = bytes.clone();
            world.env(client).tasks.spawn(
                "writer",
                Box::pin(async move {
                    let mut at = 0;
                    while at < TOTAL {
                        let end = TOTAL.min(at + 1 + (rng.next_u64() % 20_000) as usize);
                        at += mine.write(&bytes[at..end]).await.unwrap();
                        if rng.next_u64() & 1 == 0 {
                            clock.sleep_ms(rng.next_u64() % 100).await;
                        }
                    }
                }),
            );
            let mut all = vec![];
            theirs.read_to_end(&mut all).await.unwrap();
            assert!(all == expect, "{} of {TOTAL} bytes", all.len());
            drop(theirs);
            world.sleep_until(world.now_ns() + 10 * S).await;
            assert_eq!(world.census()[2], 0, "a connection that both sides closed is forgotten");
        });
    }
}

#[test]
fn a_machine_without_power_is_silent_and_after_its_reboot_resets() {
    simulate(7, |world| async move {
        let (server, client) = pair(&world);
        ready(&world).await;
        let env = world.env(client);
        let mut stream = connect(&env, "server").await.unwrap();
        ping(&mut stream, b"x").await.unwrap();
        world.power_off(server);
        let mut byte = [0; 1];
        assert!(env.clock.before(world.now_ns() + S, stream.read(&mut byte)).await.is_none(), "no FIN, no RST");
        stream.write_all(b"hello?").await.unwrap();
        assert!(
            env.clock.before(world.now_ns() + S, connect(&env, "server")).await.is_none(),
            "connects get no answer"
        );
        world.restart(server);
        let error = stream.read(&mut byte).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        let mut stream = connect(&env, "server").await.unwrap();
        ping(&mut stream, b"x").await.unwrap();
    });
}

#[test]
fn bytes_pile_up_before_a_paused_host_and_are_answered_when_it_resumes() {
    simulate(8, |world| async move {
        let (server, client) = pair(&world);
        ready(&world).await;
        let env = world.env(client);
        let mut stream = connect(&env, "server").await.unwrap();
        world.pause(server);
        let mut second = connect(&env, "server").await.expect("its kernel still shakes hands");
        second.write_all(b"two").await.unwrap();
        stream.write_all(b"one").await.unwrap();
        let mut answer = [0; 3];
        let resumed = world.now_ns() + 2 * S;
        assert!(env.clock.before(resumed, stream.read(&mut answer)).await.is_none(), "nothing runs there");
        world.resume(server);
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!((&answer, world.now_ns()), (b"one", resumed + 200 * US));
        second.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"two");
    });
}

#[test]
fn a_host_talks_to_itself_for_less() {
    simulate(9, |world| async move {
        let (server, _) = pair(&world);
        ready(&world).await;
        let mut stream = connect(&world.env(server), "localhost").await.unwrap();
        let before = world.now_ns();
        ping(&mut stream, b"x").await.unwrap();
        assert!((16 * US..=40 * US).contains(&(world.now_ns() - before)));
    });
}

#[test]
fn a_port_is_given_once_and_is_free_after_a_kill() {
    simulate(9, |world| async move {
        let (server, _) = pair(&world);
        ready(&world).await;
        let taken = world.env(server).net.listen(Address::new("", 9)).await.err().unwrap();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
        let free = world.env(server).net.listen(Address::new("", 0)).await.unwrap();
        assert_ne!(free.address().port, 0);
        world.kill(server);
        world.restart(server);
        ready(&world).await;
        let taken = world.env(server).net.listen(Address::new("", 9)).await.err().unwrap();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse, "the new process has it");
        drop(free);
    });
}
