//! The driver around the small machine of [`crate::fake`], on loopback and a temporary folder.

use crate::machine::NodeConfig;
use crate::{ServerError, run};
use bytes::{BufMut, BytesMut};
use klamm_base::{Guards, NodeId, Observe, Properties, Source};
use klamm_env::{Address, Env, Stream, real};
use std::future::Future;
use std::io::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

/// No test takes so long unless something hangs.
const HANG_NS: u64 = 30_000_000_000;

/// A server that runs, and how to end it.
struct Server {
    env: Env,
    address: Address,
    stop: oneshot::Sender<()>,
    end: oneshot::Receiver<Result<(), ServerError>>,
}

fn config() -> NodeConfig {
    let settings = [
        ("node.id", "1"),
        ("process.roles", "broker,controller"),
        ("listeners", "PLAINTEXT://127.0.0.1:0"),
        ("controller.quorum.voters", "1@127.0.0.1:0"),
        ("socket.request.max.bytes", "10000000"),
    ];
    let settings: Properties = settings.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    NodeConfig::from_properties(&settings).unwrap()
}

async fn start(env: &Env) -> Server {
    let (stop, stopped) = oneshot::channel::<()>();
    let (ready, address) = oneshot::channel();
    let (ended, end) = oneshot::channel();
    let observe = Observe::nobody(Source::Node(NodeId(1)));
    let stopped = Box::pin(async { drop(stopped.await) });
    let ready = |address| drop(ready.send(address));
    let server = run(env.clone(), config(), Guards::default(), observe, ready, stopped);
    env.tasks.spawn("server", Box::pin(async { drop(ended.send(server.await)) }));
    Server { env: env.clone(), address: address.await.unwrap(), stop, end }
}

/// Runs `test` against a server of its own.
fn served<F: Future<Output = ()>>(test: impl FnOnce(Server) -> F) {
    let folder = tempfile::tempdir().unwrap();
    let main = |env: Env, _| async move {
        let server = start(&env).await;
        env.clock.before(env.clock.mono_ns() + HANG_NS, test(server)).await.expect("nothing hangs")
    };
    real::block_on(folder.path().to_owned(), main).unwrap();
}

/// One connection to a server.
struct Client {
    stream: Box<dyn Stream>,
    next: u32,
}

impl Server {
    async fn client(&self) -> Client {
        Client { stream: self.env.net.connect(self.address.clone(), "test").await.unwrap(), next: 0 }
    }

    async fn ended(self) -> Result<(), ServerError> {
        self.end.await.unwrap()
    }
}

impl Client {
    /// Sends requests in one write.
    async fn put(&mut self, texts: &[&str]) {
        let mut frames = BytesMut::new();
        for text in texts {
            frames.put_u32(4 + text.len() as u32);
            frames.put_u32(self.next);
            frames.put_slice(text.as_bytes());
            self.next += 1;
        }
        self.stream.write_all(&frames).await.unwrap();
    }

    /// The next answer, with its number.
    async fn get(&mut self) -> (u32, String) {
        let len = self.stream.read_u32().await.unwrap() as usize;
        let id = self.stream.read_u32().await.unwrap();
        let mut text = vec![0; len - 4];
        self.stream.read_exact(&mut text).await.unwrap();
        (id, String::from_utf8(text).unwrap())
    }

    async fn ask(&mut self, text: &str) -> String {
        self.put(&[text]).await;
        let (id, answer) = self.get().await;
        assert_eq!(id + 1, self.next);
        answer
    }

    /// Asks until the answer ends so.
    async fn until(&mut self, text: &str, end: &str) -> String {
        loop {
            let answer = self.ask(text).await;
            if answer.ends_with(end) {
                return answer;
            }
        }
    }

    /// The server closed this connection without a word.
    async fn is_closed(&mut self) -> bool {
        match self.stream.read_u8().await {
            Ok(_) => false,
            Err(error) => matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset),
        }
    }
}

#[test]
fn pipelined_requests_are_answered_in_order_however_long_the_first_takes() {
    served(|server| async move {
        let mut client = server.client().await;
        client.put(&["late 30", "append data/f x", "echo a", "oneway", "size 0", "echo b"]).await;
        for (id, text) in [(0, "late"), (1, "Ok(Done)"), (2, "a"), (4, ""), (5, "b")] {
            assert_eq!(client.get().await, (id, text.to_owned()));
        }
    });
}

#[test]
fn a_request_is_handed_in_after_the_one_before_it_is_answered() {
    served(|server| async move {
        let (mut waiting, mut other) = (server.client().await, server.client().await);
        waiting.put(&["park", "counts"]).await;
        other.until("counts", "parked 1 gone 0").await;
        other.put(&["echo 1", "echo 2", "release"]).await;
        assert_eq!(waiting.get().await.1, "released");
        let counts = waiting.get().await.1;
        let handed_in = counts.split(' ').nth(1).unwrap().parse::<u64>().unwrap();
        assert!(handed_in >= 5, "park, counts, echo, echo and release came before: {counts}");
    });
}

#[test]
fn the_node_learns_that_nobody_waits_any_more() {
    served(|server| async move {
        let (mut leaving, mut other) = (server.client().await, server.client().await);
        leaving.put(&["park"]).await;
        other.until("counts", "parked 1 gone 0").await;
        drop(leaving);
        other.until("counts", "parked 0 gone 1").await;
        let mut next = server.client().await;
        assert_eq!(next.ask("echo a late answer must not come here").await, "a late answer must not come here");
    });
}

#[test]
fn requests_before_a_close_are_all_handed_in() {
    served(|server| async move {
        let (mut leaving, mut other) = (server.client().await, server.client().await);
        leaving.put(&["append data/f 1", "append data/f 2", "append data/f 3"]).await;
        leaving.stream.shutdown().await.unwrap();
        other.until("read data/f", "Ok(Data(b\"123\"))").await;
    });
}

#[test]
fn changes_of_the_disk_happen_in_the_order_of_the_commands() {
    served(|server| async move {
        let mut client = server.client().await;
        for _ in 0..20 {
            assert_eq!(client.ask("digits data/f").await, "Ok(Done)");
        }
        let expected = format!("Ok(Data(b\"{}\"))", "0123456789".repeat(20));
        assert_eq!(client.ask("read data/f").await, expected);
        assert_eq!(client.ask("len data/f").await, "Ok(Len(200))");
    });
}

#[test]
fn what_could_not_be_written_takes_nobodys_place() {
    served(|server| async move {
        let mut client = server.client().await;
        let refused = "Err(Io { path: \"data/f.tmp\", message: \"its content could not be written\" })";
        assert_eq!(client.ask("write data/f good").await, "Ok(Done)");
        assert_eq!(client.ask("create_dir data/f.tmp").await, "Ok(Done)");
        let answer = client.ask("write data/f.tmp bad").await;
        assert!(answer.starts_with("Err(Io"), "{answer}");
        assert_eq!(client.ask("rename data/f.tmp data/g").await, refused);
        for (request, answer) in [
            ("remove_dir data/f.tmp", "Ok(Done)"),
            ("write data/f.tmp better", "Ok(Done)"),
            ("rename data/f.tmp data/f", "Ok(Done)"),
            ("read data/f", "Ok(Data(b\"better\"))"),
            ("list data", "Ok(Names([\"f\"]))"),
        ] {
            assert_eq!(client.ask(request).await, answer, "{request}");
        }
    });
}

#[test]
fn a_kept_handle_never_outlives_its_name() {
    served(|server| async move {
        let mut client = server.client().await;
        for (request, answer) in [
            ("append data/a 1", "Ok(Done)"),
            ("append data/b 9", "Ok(Done)"),
            ("rename data/a data/b", "Ok(Done)"),
            ("append data/a 2", "Ok(Done)"),
            ("read data/a", "Ok(Data(b\"2\"))"),
            ("read data/b", "Ok(Data(b\"1\"))"),
            ("remove data/a", "Ok(Done)"),
            ("read data/a", "Err(NotFound { path: \"data/a\" })"),
            ("append data/a 3", "Ok(Done)"),
            ("read data/a", "Ok(Data(b\"3\"))"),
            ("create_dir data/d", "Ok(Done)"),
            ("append data/d/f 4", "Ok(Done)"),
            ("rename data/d data/e", "Ok(Done)"),
            ("read data/d/f", "Err(NotFound { path: \"data/d/f\" })"),
            ("read data/e/f", "Ok(Data(b\"4\"))"),
            ("remove_dir data/e", "Ok(Done)"),
            ("len data/e/f", "Err(NotFound { path: \"data/e/f\" })"),
            ("list data", "Ok(Names([\"a\", \"b\"]))"),
        ] {
            assert_eq!(client.ask(request).await, answer, "{request}");
        }
    });
}

#[test]
fn every_disk_operation_is_performed_and_every_error_told() {
    served(|server| async move {
        let mut client = server.client().await;
        for (request, answer) in [
            ("write data/f hello", "Ok(Done)"),
            ("write data/f bye", "Ok(Done)"),
            ("sync data/f", "Ok(Done)"),
            ("sync_dir data", "Ok(Done)"),
            ("truncate data/f 2", "Ok(Done)"),
            ("read data/f", "Ok(Data(b\"by\"))"),
            ("list data/none", "Ok(Names([]))"),
            ("remove data/none", "Ok(Done)"),
            ("remove_dir data/none", "Ok(Done)"),
            ("truncate data/none 0", "Err(NotFound { path: \"data/none\" })"),
            ("sync data/none", "Err(NotFound { path: \"data/none\" })"),
            ("rename data/none data/some", "Err(NotFound { path: \"data/none\" })"),
            ("append none/f x", "Err(NotFound { path: \"none/f\" })"),
        ] {
            assert_eq!(client.ask(request).await, answer, "{request}");
        }
        let answer = client.ask("append data x").await;
        assert!(answer.starts_with("Err(Io { path: \"data\""), "{answer}");
    });
}

#[test]
fn requests_to_one_node_keep_their_order_and_are_all_answered() {
    served(|server| async move {
        let other = start(&server.env).await;
        let mut client = server.client().await;
        let texts: Vec<String> = (0..50).map(|n| format!("echo {n}")).collect();
        let answers: Vec<String> = (0..50).map(|n| n.to_string()).collect();
        // The connection is opened for the first round and there for the second.
        for _ in 0..2 {
            let request = format!("send 127.0.0.1 {} 10000 {}", other.address.port, texts.join("|"));
            assert_eq!(client.ask(&request).await, answers.join("|"));
        }
    });
}

#[test]
fn a_request_that_cannot_be_answered_ends_in_its_error_and_the_next_one_connects_anew() {
    served(|server| async move {
        let other = start(&server.env).await;
        let port = other.address.port;
        let mut client = server.client().await;
        let free = server.env.net.listen(Address::new("127.0.0.1", 0)).await.unwrap().address().port;
        assert_eq!(client.ask(&format!("send 127.0.0.1 {free} 10000 a|b")).await, "NotConnected|NotConnected");
        assert_eq!(client.ask(&format!("send 127.0.0.1 {port} 10000 echo a")).await, "a");
        assert_eq!(client.ask(&format!("send 127.0.0.1 {port} 20 park")).await, "TimedOut");
        assert_eq!(client.ask(&format!("send 127.0.0.1 {port} 10000 close")).await, "Disconnected");
        assert_eq!(client.ask(&format!("send 127.0.0.1 {port} 10000 echo b")).await, "b");
    });
}

#[test]
fn deadlines_are_told_in_time_and_an_earlier_one_overtakes() {
    served(|server| async move {
        let (mut slow, mut quick) = (server.client().await, server.client().await);
        let start = server.env.clock.mono_ns();
        slow.put(&["late 60000"]).await;
        quick.until("counts", "parked 0 gone 0").await;
        assert_eq!(quick.ask("late 20").await, "late");
        assert_eq!(quick.ask("late 0").await, "late");
        let took_ms = (server.env.clock.mono_ns() - start) / 1_000_000;
        assert!((20..20_000).contains(&took_ms), "{took_ms} ms");
    });
}

#[test]
fn frames_of_any_legal_size_pass_both_ways() {
    served(|server| async move {
        let mut client = server.client().await;
        for size in [0, 1, 1000, 32 << 10, (32 << 10) + 1, 5_000_000] {
            assert_eq!(client.ask(&format!("size {size}")).await.len(), size);
            let text = "y".repeat(size);
            assert_eq!(client.ask(&format!("echo {text}")).await, text);
        }
    });
}

#[test]
fn hostile_bytes_end_their_own_connection_only() {
    served(|server| async move {
        let mut good = server.client().await;
        for bytes in [&i32::MAX.to_be_bytes()[..], &(-1i32).to_be_bytes(), &[0, 152, 150, 129], &[0, 0, 0, 2, 1, 2]] {
            let mut hostile = server.client().await;
            hostile.stream.write_all(bytes).await.unwrap();
            assert!(hostile.is_closed().await, "{bytes:?}");
            assert_eq!(good.ask("echo still here").await, "still here");
        }
        good.put(&["close"]).await;
        assert!(good.is_closed().await);
    });
}

#[test]
fn a_stop_ends_in_good_order_and_closes_every_connection() {
    served(|server| async move {
        let (mut idle, mut parked) = (server.client().await, server.client().await);
        idle.ask("echo 1").await;
        parked.put(&["park"]).await;
        idle.until("counts", "parked 1 gone 0").await;
        let Server { env, stop, end, .. } = server;
        stop.send(()).unwrap();
        assert!(matches!(end.await.unwrap(), Ok(())));
        assert!(idle.is_closed().await);
        assert!(parked.is_closed().await);
        assert_eq!(env.disk.list("data").await.unwrap(), ["stopped"], "the disk served the stop");
    });
}

#[test]
fn a_node_that_cannot_go_on_ends_the_run_with_its_message() {
    served(|server| async move {
        let mut client = server.client().await;
        client.put(&["fatal"]).await;
        let error = server.ended().await.unwrap_err();
        assert_eq!(error.to_string(), "told to");
        assert!(client.is_closed().await);
    });
}

#[test]
fn a_port_that_is_taken_is_an_error_that_names_it() {
    served(|server| async move {
        let mut taken = config();
        taken.listen.port = server.address.port;
        let observe = Observe::nobody(Source::Node(NodeId(1)));
        let never = Box::pin(std::future::pending());
        let error = run(server.env.clone(), taken, Guards::default(), observe, |_| (), never).await.unwrap_err();
        assert!(matches!(error, ServerError::Listen { .. }));
        assert!(error.to_string().contains(&server.address.to_string()), "{error}");
    });
}

#[test]
fn many_connections_at_once_are_each_served_in_full() {
    served(|server| async move {
        let mut ends = vec![];
        for client in 0..20 {
            let (tell, told) = oneshot::channel();
            let mut connection = server.client().await;
            let work = async move {
                for n in 0..50 {
                    assert_eq!(connection.ask(&format!("append data/c{client} {n},")).await, "Ok(Done)");
                }
                tell.send(connection.ask(&format!("len data/c{client}")).await).unwrap();
            };
            server.env.tasks.spawn("client", Box::pin(work));
            ends.push(told);
        }
        for end in ends {
            assert_eq!(end.await.unwrap(), "Ok(Len(140))");
        }
    });
}
