//! Several processes on one file: death, standstill, and wake-ups between them.
//!
//! The other processes are this test binary again, told by an environment variable which part to play.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking; kill(2)")]

mod support;

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use celeriac_protocol::Settlement;
use celeriac_transport::contract::{Cycle, Event, Results};
use support::{PATIENCE, Worker, depth, end, message, producer, result, results, text};

/// Another process; killed at the end of the test.
struct Player {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Player {
    fn start(part: &str, url: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "play_a_part", "--nocapture", "--test-threads=1"])
            .env("CELERIAC_PART", part)
            .env("CELERIAC_URL", url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output }
    }

    /// The next line that the player itself wrote.
    fn line(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            // The test runner writes to the same pipe, and its `test play_a_part ... ` has no line end.
            if let Some((_, said)) = line.trim_end().rsplit_once("> ") {
                return Some(said.to_owned());
            }
        }
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    fn signal(&self, signal: i32) {
        // SAFETY: a plain system call on the pid of a child that has not been reaped.
        unsafe { libc::kill(self.child.id().cast_signed(), signal) };
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn say(text: &str) {
    println!("> {text}");
}

#[test]
#[ignore = "run by the other tests in a process of its own"]
fn play_a_part() {
    let (part, url) = (std::env::var("CELERIAC_PART").unwrap(), std::env::var("CELERIAC_URL").unwrap());
    let mut orders = std::io::stdin().lines();
    match part.as_str() {
        // Takes four messages, begins two of them, and on order ends them all.
        "hold" => {
            let mut worker = Worker::start(&url, &["q"]);
            let taken = worker.take(4);
            let started = taken[..2].iter().map(|one| one.tag).collect();
            worker.submit(Cycle { started, ..Cycle::default() });
            say("held");
            orders.next();
            let mut ends: Vec<_> = taken.iter().map(|one| end(one.tag, Settlement::Ack)).collect();
            ends[0].results = vec![result("k", "from the one that stood still", true)];
            ends[0].publish = vec![message("q", "from the one that stood still")];
            say(&worker.cycle(0, ends).len().to_string());
            orders.next();
        }
        // Takes two messages and does nothing with them, but for one that was delivered before: that begins.
        "sit" => {
            let mut worker = Worker::start(&url, &["q"]);
            let taken = worker.take(2);
            let started = taken.iter().filter(|one| one.redelivered).map(|one| one.tag).take(1).collect();
            worker.submit(Cycle { started, ..Cycle::default() });
            worker.cycle(2, vec![]);
            say("held");
            orders.next();
        }
        // Answers every message with a result under its own text.
        "answer" => {
            let mut worker = Worker::start(&url, &["q"]);
            worker.cycle(1_000_000, vec![]);
            say("ready");
            loop {
                let taken = worker.wait(|event| match event.take() {
                    Some(Event::Deliveries(some)) => Some(some),
                    _ => None,
                });
                for delivery in taken {
                    let mut one = end(delivery.tag, Settlement::Ack);
                    one.results = vec![result(&text(&delivery), "v", true)];
                    worker.cycle(0, vec![one]);
                }
            }
        }
        "publish" => {
            let broker = producer(&url);
            for number in 0.. {
                let name = format!("{}-{number}", std::process::id());
                broker.publish(&[message("q", &name), message("q", &format!("{name}+"))]).unwrap();
                say(&name);
            }
        }
        other => panic!("no part {other}"),
    }
}

fn url_in(folder: &tempfile::TempDir, options: &str) -> String {
    format!("sqlite:///{}/broker.db{options}", folder.path().display())
}

#[test]
fn what_a_killed_worker_held_returns_at_once_and_only_what_it_began_counts_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let url = url_in(&folder, "?lease=3600");
    let broker = producer(&url);
    broker.publish(&["a", "b", "c", "d", "e"].map(|text| message("q", text))).unwrap();
    let mut first = Player::start("hold", &url);
    assert_eq!(first.line().unwrap(), "held");
    assert_eq!(depth(&*broker, "q"), (1, 0, 4));
    let mut second = Worker::start(&url, &["q"]);
    first.kill();
    let killed = Instant::now();
    let taken = second.take(5);
    // "e" was free all the time; the others come back in order, in front of nobody.
    let mut found: Vec<_> = taken.iter().map(|one| (text(one), one.redelivered, one.crashes)).collect();
    found.sort();
    let expected = [("a", true, 1), ("b", true, 1), ("c", true, 0), ("d", true, 0), ("e", false, 0)];
    assert_eq!(found, expected.map(|(text, redelivered, crashes)| (text.to_owned(), redelivered, crashes)));
    assert!(killed.elapsed() < Duration::from_secs(2), "{:?}", killed.elapsed());
}

#[test]
fn the_first_death_around_a_message_counts_once_a_later_one_is_its_doing() {
    let folder = tempfile::tempdir().unwrap();
    let url = url_in(&folder, "");
    producer(&url).publish(&[message("q", "poison"), message("q", "innocent")]).unwrap();
    for crashes in [0, 2, 3, 4] {
        let mut player = Player::start("sit", &url);
        assert_eq!(player.line().unwrap(), "held");
        player.kill();
        let mut worker = Worker::start(&url, &["q"]);
        let found: Vec<_> = worker.take(2).iter().map(|one| (text(one), one.redelivered, one.crashes)).collect();
        assert_eq!(found, [("poison".into(), true, crashes), ("innocent".into(), true, 0)]);
        worker.stop(); // in order: nobody is blamed for that
    }
}

#[test]
fn a_worker_that_stood_still_for_longer_than_its_lease_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let url = url_in(&folder, "?lease=0.6");
    let broker = producer(&url);
    broker.publish(&["a", "b", "c", "d"].map(|text| message("q", text))).unwrap();
    let mut first = Player::start("hold", &url);
    assert_eq!(first.line().unwrap(), "held");
    let mut second = Worker::start(&url, &["q"]);
    second.cycle(4, vec![]);
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(depth(&*broker, "q"), (0, 0, 4), "it lives and renews its lease, so it keeps them");
    first.signal(libc::SIGSTOP);
    let taken = second.deliveries(4);
    first.signal(libc::SIGCONT);
    first.tell("end them");
    assert_eq!(first.line().unwrap(), "4");
    assert_eq!(results(&url).get(&["k"]).unwrap(), [None]);
    assert_eq!(depth(&*broker, "q"), (0, 0, 4));
    let ends = taken.iter().map(|one| end(one.tag, Settlement::Ack)).collect();
    assert_eq!(second.cycle(0, ends), []);
    assert_eq!(depth(&*broker, "q"), (0, 0, 0));
}

#[test]
fn producers_killed_at_any_moment_leave_whole_batches_and_all_they_were_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let url = url_in(&folder, "");
    let mut told = HashSet::new();
    for round in 0..12 {
        let mut pair = [Player::start("publish", &url), Player::start("publish", &url)];
        let first = pair[0].line().unwrap();
        std::thread::sleep(Duration::from_millis(5 + round * 3));
        told.insert(first);
        for player in &mut pair {
            player.child.kill().unwrap();
            while let Some(line) = player.line() {
                told.insert(line);
            }
        }
    }
    let broker = producer(&url);
    let (ready, _, held) = depth(&*broker, "q");
    assert_eq!(held, 0);
    let mut worker = Worker::start(&url, &["q"]);
    let count = usize::try_from(ready).unwrap();
    let found = worker.drain(count);
    let distinct: HashSet<&String> = found.iter().collect();
    assert_eq!(distinct.len(), found.len(), "none twice");
    for name in &told {
        assert!(distinct.contains(name), "{name} was accepted");
    }
    for name in found.iter().filter(|name| !name.ends_with('+')) {
        assert!(distinct.contains(&format!("{name}+")), "half of a batch");
    }
    assert!(told.len() > 12);
}

#[test]
fn a_result_reaches_another_process_without_polling() {
    let folder = tempfile::tempdir().unwrap();
    let url = url_in(&folder, "");
    let mut player = Player::start("answer", &url);
    assert_eq!(player.line().unwrap(), "ready");
    let (broker, store) = (producer(&url), results(&url));
    let mut times: Vec<Duration> = (0..100).map(|round| round_trip(&*broker, &*store, &format!("k{round}"))).collect();
    times.sort();
    // A quarter of a second would be the slow poll. The figure to quote is the bench's.
    assert!(times[50] < Duration::from_millis(50), "{times:?}");
    say(&format!("p50 {:?}, p99 {:?}", times[50], times[98]));
}

fn round_trip(broker: &dyn celeriac_transport::contract::Producer, store: &dyn Results, key: &str) -> Duration {
    let begin = Instant::now();
    broker.publish(&[message("q", key)]).unwrap();
    loop {
        let seen = store.generation().unwrap();
        if store.get(&[key]).unwrap()[0].is_some() {
            return begin.elapsed();
        }
        assert!(begin.elapsed() < PATIENCE);
        store.wait_change(seen, PATIENCE).unwrap();
    }
}

#[test]
fn a_process_with_a_consumer_may_fork_and_both_sides_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let url = url_in(&folder, "");
    let broker = producer(&url);
    let mut worker = Worker::start(&url, &["q"]);
    worker.cycle(100, vec![]);
    for round in 0..10 {
        // SAFETY: the child only uses the transport, whose fork handlers make that possible, and ends without unwinding.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let stored = broker.publish(&[message("q", &format!("child {round}"))]);
            worker.consumer.stop(); // not this process's consumer: does nothing
            // SAFETY: ends the process at once.
            unsafe { libc::_exit(i32::from(stored.is_err())) };
        }
        broker.publish(&[message("q", &format!("parent {round}"))]).unwrap();
        let mut status = -1;
        // SAFETY: waits for the child just made.
        unsafe { libc::waitpid(pid, &raw mut status, 0) };
        assert_eq!(status, 0);
        let taken = worker.deliveries(2);
        let ends = taken.iter().map(|one| end(one.tag, Settlement::Ack)).collect();
        assert_eq!(worker.cycle(0, ends), []);
    }
    assert_eq!(depth(&*broker, "q"), (0, 0, 0));
}
