//! An application as anybody would write it: it names tokio, and takes its TCP from the world.

use klamm_sim::guest::net::{TcpListener, TcpStream};
use madsim_tokio as tokio;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Duration, Instant, interval, sleep, timeout};

use super::common::Notes;

/// Asks the server for an echo every 10 ms, over a new connection when the old one is of no use, with a heartbeat task beside
/// it, until Ctrl-C.
pub async fn client(notes: Notes) {
    let said = Arc::new(Mutex::new(0_u32));
    let began = Instant::now();
    notes.say("starts");
    let (beats, mut beaten) = mpsc::channel(8);
    tokio::spawn(async move {
        let mut ticks = interval(Duration::from_millis(100));
        loop {
            ticks.tick().await;
            if beats.send(began.elapsed()).await.is_err() {
                return;
            }
        }
    });
    let asking = tokio::spawn(ask(said.clone(), notes.clone()));
    loop {
        tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => break,
            beat = beaten.recv() => notes.say(format!("beats at {beat:?}, {} answers", said.lock().await)),
        }
    }
    asking.abort();
    notes.say(format!("stops after {:?}", began.elapsed()));
}

async fn ask(said: Arc<Mutex<u32>>, notes: Notes) {
    let mut stream = None;
    loop {
        sleep(Duration::from_millis(10)).await;
        let mut open = match stream.take() {
            Some(open) => open,
            None => match timeout(Duration::from_millis(80), TcpStream::connect("server:9")).await {
                Ok(Ok(open)) => open,
                Ok(Err(error)) => {
                    notes.say(format!("cannot connect: {}", error.kind()));
                    continue;
                }
                Err(_) => {
                    notes.say("waited too long for a connection");
                    continue;
                }
            },
        };
        let number = *said.lock().await;
        match timeout(Duration::from_millis(50), exchange(&mut open, number)).await {
            Ok(Ok(())) => {
                *said.lock().await += 1;
                stream = Some(open);
            }
            Ok(Err(error)) => notes.say(format!("no answer: {}", error.kind())),
            Err(_) => notes.say("waited too long for an answer"),
        }
    }
}

async fn exchange(stream: &mut TcpStream, number: u32) -> std::io::Result<()> {
    stream.write_u32(number).await?;
    assert_eq!(stream.read_u32().await?, number, "an echo says what it heard");
    Ok(())
}

/// Answers every number with its double, a task for each connection.
pub async fn doubler() {
    let mut listener = TcpListener::bind("0.0.0.0:7").await.expect("a free port");
    assert_eq!(listener.local_address().port, 7);
    loop {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        tokio::spawn(async move {
            while let Ok(number) = stream.read_u32().await {
                sleep(Duration::from_millis(3)).await;
                if stream.write_u32(number * 2).await.is_err() {
                    return;
                }
            }
        });
    }
}
