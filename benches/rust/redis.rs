//! What a task costs on Redis, in CPU time of the server and of this process: publish, claim, end.
//!
//! Starts a `redis-server` of its own on a free port. Prints µs of CPU a task; wall time would say more about the
//! machine's other guests. `cargo bench -p celeriac-transport --bench redis`
#![expect(clippy::print_stdout, clippy::expect_used, clippy::unwrap_used, reason = "a program for the desk")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use celeriac_protocol::{Delivery, End, Publication, ResultWrite, Settlement};
use celeriac_transport::contract::{Cycle, Event, QueueSpec};
use celeriac_transport::{Options, open};

const TASKS: usize = 20_000;
const PARKED: usize = 200_000;
const TIMEOUT: Duration = Duration::from_secs(10);

struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--loglevel", "warning"])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let server = Self { child, port };
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    fn ask(&self, command: &str) -> String {
        let mut line = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        line.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).unwrap();
        let mut said = String::new();
        line.read_to_string(&mut said).unwrap();
        said
    }

    /// CPU seconds of the server.
    fn cpu(&self) -> f64 {
        let said = self.ask("INFO cpu");
        let number = |name: &str| -> f64 {
            said.lines().find_map(|line| line.strip_prefix(name)).and_then(|text| text.trim().parse().ok()).unwrap()
        };
        number("used_cpu_sys:") + number("used_cpu_user:")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU seconds of this process.
fn own_cpu() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let sum: f64 = tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok())
        .filter_map(|text| text.split(' ').next()?.parse::<f64>().ok())
        .sum();
    sum / 1e9
}

fn message(number: usize) -> Publication {
    let body =
        "W1tdLCB7fSwgeyJjYWxsYmFja3MiOiBudWxsLCAiZXJyYmFja3MiOiBudWxsLCAiY2hhaW4iOiBudWxsLCAiY2hvcmQiOiBudWxsfV0=";
    let id = format!("0a1b2c3d-4e5f-6071-8293-{number:012}");
    let payload = format!(
        "{{\"body\": \"{body}\", \"content-encoding\": \"utf-8\", \"content-type\": \"application/json\", \"headers\": {{\"lang\": \
         \"py\", \"task\": \"proj.add\", \"id\": \"{id}\", \"shadow\": null, \"eta\": null, \"expires\": null, \"group\": null, \
         \"group_index\": null, \"retries\": 0, \"timelimit\": [null, null], \"root_id\": \"{id}\", \"parent_id\": null, \
         \"argsrepr\": \"()\", \"kwargsrepr\": \"{{}}\", \"origin\": \"gen1@host\", \"ignore_result\": false, \
         \"replaced_task_nesting\": 0, \"stamped_headers\": null, \"stamps\": {{}}}}, \"properties\": {{\"correlation_id\": \
         \"{id}\", \"reply_to\": \"5c1b2c3d-4e5f-6071-8293-000000000001\", \"delivery_mode\": 2, \"delivery_info\": \
         {{\"exchange\": \"\", \"routing_key\": \"jobs\"}}, \"priority\": 0, \"body_encoding\": \"base64\", \"delivery_tag\": \
         \"{id}\"}}}}"
    );
    Publication { exchange: "".into(), routing_key: "jobs".into(), priority: 0, due_ms: None, payload: payload.into() }
}

struct Cost {
    server: f64,
    own: f64,
    wall: f64,
}

fn measured(server: &Server, tasks: usize, work: impl FnOnce()) -> Cost {
    let (cpu, own, start) = (server.cpu(), own_cpu(), Instant::now());
    work();
    let each = |seconds: f64| seconds * 1e6 / f64::from(u32::try_from(tasks).unwrap());
    Cost { own: each(own_cpu() - own), wall: each(start.elapsed().as_secs_f64()), server: each(server.cpu() - cpu) }
}

fn show(name: &str, cost: &Cost) {
    println!(
        "{name:<34} server {:6.2} µs  client {:6.2} µs  wall {:6.2} µs  {:8.0}/s",
        cost.server,
        cost.own,
        cost.wall,
        1e6 / cost.wall
    );
}

fn deliveries(events: &Receiver<Event>, want: usize) -> Vec<Delivery> {
    let mut all = Vec::new();
    while all.len() < want {
        if let Event::Deliveries(batch) = events.recv_timeout(TIMEOUT).expect("deliveries in time") {
            all.extend(batch);
        }
    }
    all
}

fn jobs() -> QueueSpec {
    QueueSpec::new("jobs")
}

/// The end of a task that returned something.
fn end(delivery: &Delivery, results: bool) -> End {
    let id = delivery.message.head.as_ref().map(|head| delivery.message.text(&head.id)).unwrap();
    let value = format!(
        "{{\"status\": \"SUCCESS\", \"result\": 3, \"traceback\": null, \"children\": [], \"date_done\": \
         \"2026-11-24T10:00:00.123456+00:00\", \"task_id\": \"{id}\"}}"
    );
    let result = ResultWrite {
        key: format!("celery-task-meta-{id}").into(),
        value: Bytes::from(value),
        expires_ms: Some(4_102_444_800_000),
        success: true,
    };
    let results = if results { vec![result] } else { Vec::new() };
    End { tag: delivery.tag, settlement: Settlement::Ack, results, publish: Vec::new() }
}

fn drain(server: &Server, batch: usize, results: bool) -> Cost {
    let mut consumer = open::consumer(&server.url(), &Options::new(), TIMEOUT).unwrap();
    let (sender, events) = channel();
    let tasks = if batch == 1 { TASKS / 10 } else { TASKS };
    consumer.start(vec![jobs()], Arc::new(move |event| drop(sender.send(event)))).unwrap();
    let cost = measured(server, tasks, || {
        let mut credit = batch as u64;
        let mut ended = 0;
        consumer.submit(Cycle { id: 1, credit_total: credit, ..Cycle::default() });
        while ended < tasks {
            let got = deliveries(&events, batch.min(tasks - ended));
            ended += got.len();
            credit += got.len() as u64;
            let ends = got.iter().map(|delivery| end(delivery, results)).collect();
            consumer.submit(Cycle { id: 2, ends, credit_total: credit, ..Cycle::default() });
        }
    });
    consumer.stop();
    consumer.join();
    cost
}

/// As `message`, for a day that is far off.
fn later(number: usize) -> Publication {
    let plain = message(number);
    let text = std::str::from_utf8(&plain.payload).unwrap();
    let payload = text.replace("\"eta\": null", "\"eta\": \"2100-01-01T00:00:00+00:00\"").into();
    Publication { payload, ..plain }
}

/// A worker meets nothing but messages for later.
fn park(server: &Server) -> Cost {
    let mut consumer = open::consumer(&server.url(), &Options::new(), TIMEOUT).unwrap();
    let (sender, events) = channel();
    consumer.start(vec![jobs()], Arc::new(move |event| drop(sender.send(event)))).unwrap();
    let cost = measured(server, PARKED, || {
        let mut credit = 16;
        consumer.submit(Cycle { id: 1, credit_total: credit, ..Cycle::default() });
        while !server.ask("ZCARD celeriac.parked.jobs").starts_with(&format!(":{PARKED}\r")) {
            let Ok(Event::Deliveries(got)) = events.recv_timeout(Duration::from_millis(5)) else { continue };
            credit += got.len() as u64;
            let until_ms = 4_102_444_800_000;
            let end = |one: &Delivery| End { settlement: Settlement::Park { until_ms }, ..end(one, false) };
            let ends = got.iter().map(end).collect();
            consumer.submit(Cycle { id: 2, ends, credit_total: credit, ..Cycle::default() });
        }
    });
    consumer.stop();
    consumer.join();
    cost
}

/// Median µs from a publish to its delivery, and to its stored end, with a worker that waits.
fn latency(server: &Server) -> (f64, f64) {
    let producer = open::producer(&server.url(), &Options::new(), TIMEOUT).unwrap();
    let mut consumer = open::consumer(&server.url(), &Options::new(), TIMEOUT).unwrap();
    let (sender, events) = channel();
    consumer.start(vec![jobs()], Arc::new(move |event| drop(sender.send(event)))).unwrap();
    let (mut given, mut stored) = (Vec::new(), Vec::new());
    consumer.submit(Cycle { id: 0, credit_total: 8, ..Cycle::default() });
    for number in 0..500 {
        std::thread::sleep(Duration::from_millis(2));
        let start = Instant::now();
        producer.publish(&[message(number)]).unwrap();
        let got = deliveries(&events, 1);
        given.push(start.elapsed());
        let ends = got.into_iter().map(|delivery| end(&delivery, true)).collect();
        consumer.submit(Cycle { id: 1, ends, credit_total: number as u64 + 9, ..Cycle::default() });
        while !matches!(events.recv_timeout(TIMEOUT), Ok(Event::Cycled { id: 1, .. })) {}
        stored.push(start.elapsed());
    }
    consumer.stop();
    consumer.join();
    let median = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1e6
    };
    (median(&mut given), median(&mut stored))
}

fn main() {
    let server = Server::start();
    let producer = open::producer(&server.url(), &Options::new(), TIMEOUT).unwrap();
    let messages: Vec<Publication> = (0..TASKS).map(message).collect();
    println!("message: {} bytes", messages[0].payload.len());
    producer.publish(&messages[..1]).unwrap();
    let one = measured(&server, TASKS / 4, || {
        for message in &messages[..TASKS / 4] {
            producer.publish(std::slice::from_ref(message)).unwrap();
        }
    });
    show("publish one by one", &one);
    let bulk = measured(&server, TASKS, || {
        for chunk in messages.chunks(1000) {
            producer.publish(chunk).unwrap();
        }
    });
    show("publish 1000 at a time", &bulk);
    for batch in [1, 16, 64, 256] {
        for results in [false, true] {
            server.ask("FLUSHALL");
            producer.publish(&messages).unwrap();
            let name = format!("claim and end, batch {batch}{}", if results { ", results" } else { "" });
            show(&name, &drain(&server, batch, results));
        }
    }
    server.ask("FLUSHALL");
    for from in (0..PARKED).step_by(1000) {
        producer.publish(&(from..from + 1000).map(later).collect::<Vec<_>>()).unwrap();
    }
    show("park what is for later", &park(&server));
    server.ask("FLUSHALL");
    let (given, stored) = latency(&server);
    println!("idle worker, median: publish to delivery {given:.0} µs, to stored result {stored:.0} µs");
}
