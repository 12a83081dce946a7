//! The hub with child processes, of which only the pid is real: a `sleep` has it. What a child says, the test says.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::Instant;

use celeriac_engine::window::Prefetch;
use celeriac_engine::{Outcome, Verdict};
use celeriac_hub::{Hub, Job, Next, Port, ProcessConfig};
use celeriac_protocol::delivery::reasons;
use celeriac_protocol::{ResultWrite, Settlement};
use rustix::io::IoSliceMut;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketFlags, SocketType,
};

use crate::support::{Broker, LONG, batch, run_all, scripted, stopped, succeed};

const KILLED: i32 = 9;

/// The test's end of a zygote.
struct Zygote(OwnedFd);

impl Zygote {
    fn pair() -> (Self, OwnedFd) {
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        rustix::net::sockopt::set_socket_timeout(&ours, rustix::net::sockopt::Timeout::Recv, Some(LONG)).unwrap();
        (Self(ours), theirs)
    }

    /// The next request: its three numbers and its descriptors.
    fn asked(&self) -> ([u32; 3], Vec<OwnedFd>) {
        let mut bytes = [0; 12];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut pieces = [IoSliceMut::new(&mut bytes)];
        let came = rustix::net::recvmsg(&self.0, &mut pieces, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
        assert_eq!(came.bytes, 12, "the hub has closed the zygote's socket");
        let fds = control.drain().flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => fds.collect::<Vec<_>>(),
            _ => Vec::new(),
        });
        let fds = fds.collect();
        let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        ([word(0), word(4), word(8)], fds)
    }

    fn say(&self, kind: u32, first: u32, second: i32) {
        let bytes = [kind.to_ne_bytes(), first.to_ne_bytes(), second.to_ne_bytes()].concat();
        rustix::net::send(&self.0, &bytes, SendFlags::empty()).unwrap();
    }

    /// Makes the child that is asked for next; it has not said that it is there.
    fn fork(&self) -> Process {
        let ([kind, number, _], mut fds) = self.asked();
        assert_eq!((kind, fds.len()), (1, 3), "a child is asked for");
        let body = Command::new("sleep").arg("60").process_group(0).spawn().unwrap();
        self.say(1, number, body.id().cast_signed());
        let lifeline = fds.pop().unwrap();
        let page = fds.pop().unwrap();
        Process { body, socket: fds.pop(), page, _lifeline: lifeline }
    }

    /// That child has ended, by itself or as it is killed now.
    fn bury(&self, process: &mut Process, status: i32) {
        process.body.kill().unwrap();
        process.body.wait().unwrap();
        self.say(3, process.body.id(), status);
    }
}

struct Process {
    body: Child,
    socket: Option<OwnedFd>,
    page: OwnedFd,
    _lifeline: OwnedFd,
}

impl Process {
    fn port(&mut self) -> Port {
        Port::of_process(self.socket.take().unwrap(), &self.page, false).unwrap()
    }

    /// Waits until the hub has killed it.
    fn dies(&mut self) {
        let deadline = Instant::now() + LONG;
        while self.body.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "it should have been killed");
            std::thread::sleep(std::time::Duration::from_millis(1)); // no event tells of another process's end
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.body.kill());
        drop(self.body.wait());
    }
}

fn start(width: usize) -> (Broker, Hub, Zygote, Zygote) {
    start_with(width, 60_000_000)
}

fn start_with(width: usize, start_patience_us: u64) -> (Broker, Hub, Zygote, Zygote) {
    let (broker, config) = scripted(width, Prefetch::Fixed(1_000));
    let ((first, socket), (second, other)) = (Zygote::pair(), Zygote::pair());
    let processes = ProcessConfig {
        zygotes: vec![(socket, 0), (other, 0)],
        width,
        max_tasks: None,
        max_memory_kib: None,
        patience_us: 60_000_000,
        start_patience_us,
    };
    let hub = Hub::with_processes(broker.consumer(), config, processes).unwrap();
    hub.start().unwrap();
    (broker, hub, first, second)
}

/// Run times are known after this: what follows is sent in batches.
fn warm_up(broker: &Broker, port: &Port, tag: u64, task: &str) {
    broker.next();
    broker.deliver([tag], task);
    let jobs = batch(port);
    assert!(jobs[0].start() && succeed(&jobs[0]));
    broker.ends(1);
}

fn tags(jobs: &[Job]) -> Vec<String> {
    let id = |job: &Job| {
        let message = &job.delivery().message;
        message.text(&message.head.as_ref().unwrap().id).to_owned()
    };
    jobs.iter().map(id).collect()
}

/// A child knows no delivery's tag: results are named by the task's id.
fn run_with_own_ids(port: &Port) {
    loop {
        match port.wait_next(LONG) {
            Next::Batch(jobs) => {
                for job in jobs {
                    let id = tags(std::slice::from_ref(&job)).remove(0);
                    let (key, value) = (id.into(), bytes::Bytes::from_static(b"{}"));
                    let result = ResultWrite { key, value, expires_ms: None, success: true };
                    assert!(job.start() && job.finish(Outcome::Success, vec![result], Vec::new(), None));
                }
            }
            Next::Nothing => panic!("the hub neither gave work nor ended"),
            Next::End => return,
        }
    }
}

#[test]
fn tasks_run_over_sockets_and_their_ends_come_back() {
    let (broker, hub, zygote, _other) = start(2);
    let (mut one, mut two) = (zygote.fork(), zygote.fork());
    let threads = [one.port(), two.port()].map(|port| std::thread::spawn(move || run_with_own_ids(&port)));
    broker.next();
    broker.deliver(1..=500, "late");
    let (ends, _) = broker.ends(500);
    for end in &ends {
        assert_eq!(*end.results[0].key, *format!("id-{}", end.tag.0), "a child's answer is for the job that it had");
    }
    hub.stop(false);
    for thread in threads {
        thread.join().unwrap(); // its socket was closed
    }
    zygote.bury(&mut one, 0);
    zygote.bury(&mut two, 0);
    assert_eq!(stopped(&hub), None);
}

#[test]
fn a_child_that_takes_too_long_to_start_is_killed_although_its_zygote_is_patient() {
    let (_broker, hub, zygote, _other) = start_with(1, 1_000);
    let mut slow = zygote.fork();
    slow.dies();
    zygote.bury(&mut slow, KILLED);
    drop(zygote.fork()); // another is asked for
    hub.stop(true);
}

#[test]
fn a_dead_child_takes_along_the_task_that_it_ran_and_nothing_else() {
    let (broker, hub, zygote, _other) = start(1);
    let mut first = zygote.fork();
    let port = first.port();
    warm_up(&broker, &port, 1, "late");
    broker.deliver(2..=7, "late");
    let jobs = batch(&port);
    assert_eq!(jobs.len(), 6);
    for job in &jobs[..2] {
        assert!(job.start() && succeed(job)); // in the ring; nobody was told
    }
    assert!(jobs[2].start());
    std::mem::forget((jobs, port)); // killed: it says nothing more
    zygote.bury(&mut first, KILLED);
    let (ends, _) = broker.ends(2);
    assert_eq!(ends.iter().map(|end| end.tag.0).collect::<Vec<_>>(), [2, 3]);
    let mut second = zygote.fork();
    let port = second.port();
    let mut seen = Vec::new();
    while seen.len() < 4 {
        for job in batch(&port) {
            seen.push((tags(std::slice::from_ref(&job)).remove(0), job.verdict(), job.cause().map(str::to_owned)));
            if job.verdict() == Verdict::Run {
                assert!(job.start());
            }
            succeed(&job);
        }
    }
    let run = |tag: u64| (format!("id-{tag}"), Verdict::Run, None);
    let lost = ("id-4".to_owned(), Verdict::Lost, Some("signal 9 (SIGKILL)".to_owned()));
    assert_eq!(seen, [lost, run(5), run(6), run(7)]);
    let (ends, _) = broker.ends(4);
    assert!(ends.iter().all(|end| end.settlement == Settlement::Ack));
    drop(port);
    hub.stop(true);
}

#[test]
fn a_task_that_takes_down_three_children_is_a_dead_letter() {
    let (broker, hub, zygote, _other) = start(1);
    let mut child = zygote.fork();
    let mut port = child.port();
    broker.next();
    for crashes in 0..3 {
        let delivery =
            celeriac_protocol::Delivery { crashes, ..crate::support::delivery(u64::from(crashes) + 1, "careful") };
        broker.say(celeriac_transport::contract::Event::Deliveries(vec![delivery]));
        let jobs = batch(&port);
        assert!(jobs[0].start());
        std::mem::forget((jobs, port));
        zygote.bury(&mut child, 11);
        child = zygote.fork();
        port = child.port();
        if crashes < 2 {
            let (ends, _) = broker.ends(1);
            assert_eq!(ends[0].settlement, Settlement::Requeue { front: true, crashed: true });
        }
    }
    let jobs = batch(&port);
    assert_eq!((jobs[0].verdict(), jobs[0].cause()), (Verdict::Crashed, Some("signal 11 (SIGSEGV)")));
    succeed(&jobs[0]);
    let (ends, _) = broker.ends(1);
    assert!(matches!(ends[0].settlement, Settlement::Dead { reason: reasons::CRASHED, .. }));
    hub.stop(true);
}

#[test]
fn the_other_zygote_takes_over_and_orphans_go_on() {
    let (broker, hub, zygote, other) = start(1);
    let mut orphan = zygote.fork();
    let socket = orphan.socket.as_ref().unwrap().try_clone().unwrap();
    let port = orphan.port();
    warm_up(&broker, &port, 1, "late");
    drop(zygote);
    let (request, fds) = other.asked();
    assert_eq!((request[0], fds.len()), (2, 2), "another one to stand by");
    broker.deliver([2], "late");
    let jobs = batch(&port);
    assert!(jobs[0].start() && succeed(&jobs[0]));
    broker.ends(1);
    // Its end is known by its socket alone.
    broker.deliver([3], "late");
    let jobs = batch(&port);
    assert!(jobs[0].start());
    std::mem::forget((jobs, port));
    rustix::net::shutdown(&socket, rustix::net::Shutdown::Both).unwrap();
    let mut successor = other.fork();
    let port = successor.port();
    let jobs = batch(&port);
    assert_eq!(jobs[0].verdict(), Verdict::Lost);
    assert!(jobs[0].cause().unwrap().contains("zygote"));
    succeed(&jobs[0]);
    broker.ends(1);
    hub.stop(true);
}

#[test]
fn a_child_that_talks_nonsense_is_killed_and_replaced() {
    let (broker, hub, zygote, _other) = start(1);
    let mut wild = zygote.fork();
    let socket = wild.socket.take().unwrap();
    rustix::net::send(&socket, &[3, 0, 0, 0, 99, 99, 99], SendFlags::empty()).unwrap();
    wild.dies();
    zygote.bury(&mut wild, KILLED);
    let mut sane = zygote.fork();
    let port = sane.port();
    warm_up(&broker, &port, 1, "late");
    hub.stop(true);
}

#[test]
fn a_child_that_reads_nothing_holds_up_nobody() {
    let (broker, hub, zygote, _other) = start(2);
    let (mut deaf, mut good) = (zygote.fork(), zygote.fork());
    let deaf_port = deaf.port(); // it never asks for anything
    let port = good.port();
    broker.next();
    let large = |tag: u64| {
        let delivery = crate::support::delivery(tag, "late");
        let raw = String::from_utf8(delivery.message.raw.to_vec()).unwrap();
        let padded = raw.replacen("\"lang\"", &format!("\"pad\": \"{}\", \"lang\"", "x".repeat(2_000_000)), 1);
        let message = celeriac_protocol::Message::scan(bytes::Bytes::from(padded));
        celeriac_protocol::Delivery { message, ..delivery }
    };
    broker.say(celeriac_transport::contract::Event::Deliveries((1..=4).map(large).collect()));
    let child = std::thread::spawn(move || run_all(port));
    broker.deliver(5..=300, "late");
    broker.ends(300); // those that it was given, too
    drop(deaf_port);
    hub.stop(true);
    drop(child.join());
}

#[test]
fn a_cold_stop_kills_children_and_hands_back_what_they_ran() {
    let (broker, hub, zygote, _other) = start(1);
    let mut child = zygote.fork();
    let port = child.port();
    warm_up(&broker, &port, 1, "late");
    broker.deliver([2], "late");
    let jobs = batch(&port);
    assert!(jobs[0].start());
    hub.stop(true);
    child.dies();
    let (ends, _) = broker.ends(1);
    assert_eq!(ends[0].settlement, Settlement::Requeue { front: true, crashed: false });
    std::mem::forget((jobs, port));
    zygote.bury(&mut child, KILLED);
    assert_eq!(stopped(&hub), None);
}

#[test]
fn in_a_warm_stop_a_child_is_started_to_tell_of_one_that_died_if_there_is_a_zygote() {
    for tells in [true, false] {
        let (broker, hub, zygote, other) = start(1);
        let mut child = zygote.fork();
        let socket = child.socket.as_ref().unwrap().try_clone().unwrap();
        let port = child.port();
        warm_up(&broker, &port, 1, "late");
        broker.deliver([2], "late");
        let jobs = batch(&port);
        assert!(jobs[0].start());
        hub.stop(false);
        std::mem::forget((jobs, port));
        if tells {
            zygote.bury(&mut child, KILLED);
            let mut teller = zygote.fork();
            let port = teller.port();
            let jobs = batch(&port);
            assert_eq!((jobs[0].verdict(), jobs[0].cause()), (Verdict::Lost, Some("signal 9 (SIGKILL)")));
            succeed(&jobs[0]);
            let (ends, _) = broker.ends(1);
            assert_eq!((&ends[0].settlement, ends[0].results.len()), (&Settlement::Ack, 1));
            assert!(matches!(port.wait_next(LONG), Next::End), "it is needed no more");
            drop(port);
            zygote.bury(&mut teller, 0);
        } else {
            drop((zygote, other));
            rustix::net::shutdown(&socket, rustix::net::Shutdown::Both).unwrap();
            let (ends, _) = broker.ends(1);
            assert_eq!((&ends[0].settlement, ends[0].results.len()), (&Settlement::Ack, 0));
        }
        assert_eq!(stopped(&hub), None);
    }
}

#[test]
fn a_warm_stop_gives_up_telling_when_children_that_should_die_at_their_start() {
    let (broker, hub, zygote, _other) = start(1);
    let mut child = zygote.fork();
    let port = child.port();
    warm_up(&broker, &port, 1, "late");
    broker.deliver([2], "late");
    let jobs = batch(&port);
    assert!(jobs[0].start());
    hub.stop(false);
    std::mem::forget((jobs, port));
    zygote.bury(&mut child, KILLED);
    for _ in 0..3 {
        zygote.bury(&mut zygote.fork(), KILLED);
    }
    let (ends, _) = broker.ends(1);
    assert_eq!((&ends[0].settlement, ends[0].results.len()), (&Settlement::Ack, 0));
    assert_eq!(stopped(&hub), None);
}
