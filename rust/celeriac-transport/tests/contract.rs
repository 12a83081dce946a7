//! What a producer and a consumer promise each other, on a file and in memory.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use celeriac_protocol::Settlement;
use celeriac_transport::contract::{Cycle, Event, TransportError};
use celeriac_transport::{Options, open};
use support::{PATIENCE, Worker, bound, depth, end, message, now_ms, producer, queue, result, results, text};

/// Runs `test` with the URL of a fresh store of each kind.
fn everywhere(test: impl Fn(&str)) {
    let folder = tempfile::tempdir().unwrap();
    test(&format!("sqlite:///{}/broker.db", folder.path().display()));
    test(&format!("memory://{}", folder.path().file_name().unwrap().to_str().unwrap()));
}

#[test]
fn messages_come_in_order_and_once() {
    everywhere(|url| {
        let broker = producer(url);
        let sent: Vec<String> = (0..50).map(|n| format!("m{n}")).collect();
        for text in &sent[..10] {
            assert_eq!(broker.publish(&[message("a", text)]).unwrap(), 1);
        }
        let rest: Vec<_> = sent[10..].iter().map(|text| message("a", text)).collect();
        assert_eq!(broker.publish(&rest).unwrap(), 40);
        let mut worker = Worker::start(url, &["a"]);
        assert_eq!(worker.drain(7), sent[..7]);
        assert_eq!(worker.drain(43), sent[7..]);
        assert_eq!(depth(&*broker, "a"), (0, 0, 0));
        worker.stop();
    });
}

#[test]
fn a_window_is_never_overrun_and_a_waiting_worker_is_woken() {
    everywhere(|url| {
        let broker = producer(url);
        let mut worker = Worker::start(url, &["a"]);
        worker.cycle(2, vec![]);
        for n in 0..5 {
            broker.publish(&[message("a", &format!("{n}"))]).unwrap();
        }
        let first = worker.deliveries(2);
        assert_eq!(depth(&*broker, "a"), (3, 0, 2));
        worker.cycle(1, vec![end(first[0].tag, Settlement::Ack)]);
        assert_eq!(text(&worker.deliveries(1)[0]), "2");
        assert_eq!(depth(&*broker, "a"), (2, 0, 2));
        worker.stop();
        assert_eq!(depth(&*broker, "a"), (4, 0, 0));
    });
}

#[test]
fn urgent_messages_come_first() {
    everywhere(|url| {
        let broker = producer(url);
        for (text, priority) in [("a9", 9), ("b0", 0), ("c5", 5), ("d0", 0)] {
            broker.publish(&[celeriac_protocol::Publication { priority, ..message("a", text) }]).unwrap();
        }
        assert_eq!(Worker::start(url, &["a"]).texts(4), ["b0", "d0", "c5", "a9"]);
    });
}

#[test]
fn no_queue_starves_beside_a_long_one() {
    everywhere(|url| {
        let broker = producer(url);
        broker.publish(&vec![message("long", "l"); 500]).unwrap();
        broker.publish(&vec![message("short", "s"); 3]).unwrap();
        let mut worker = Worker::start(url, &["long", "short"]);
        let texts: Vec<String> = (0..8).flat_map(|_| worker.texts(1)).collect();
        assert_eq!(texts.iter().filter(|text| *text == "s").count(), 3, "{texts:?}");
        let batch = worker.texts(100);
        assert_eq!(batch.len(), 100);
    });
}

#[test]
fn no_queue_starves_when_every_other_cycle_claims_nothing() {
    everywhere(|url| {
        let broker = producer(url);
        broker.publish(&vec![message("a", "a"); 20]).unwrap();
        broker.publish(&vec![message("b", "b"); 20]).unwrap();
        let mut worker = Worker::start(url, &["a", "b"]);
        let mut texts = Vec::new();
        for _ in 0..8 {
            texts.extend(worker.texts(1));
            worker.cycle(0, vec![]);
        }
        assert_eq!(texts.iter().filter(|text| *text == "a").count(), 4, "{texts:?}");
    });
}

#[test]
fn delayed_messages_wait_in_the_store_and_come_in_the_order_of_their_time() {
    everywhere(|url| {
        let broker = producer(url);
        let now = now_ms();
        for (text, delay) in [("late", 600), ("soon", 300), ("never", 3_600_000)] {
            let due_ms = Some(now + delay);
            broker.publish(&[celeriac_protocol::Publication { due_ms, ..message("a", text) }]).unwrap();
        }
        broker.publish(&[celeriac_protocol::Publication { due_ms: Some(now - 5), ..message("a", "past") }]).unwrap();
        let mut worker = Worker::start(url, &["a"]);
        assert_eq!(depth(&*broker, "a"), (1, 3, 0));
        assert_eq!(worker.texts(3), ["past", "soon", "late"]);
        assert!(now_ms() >= now + 600);
        assert_eq!(depth(&*broker, "a"), (0, 1, 3));
        assert_eq!(broker.purge("a").unwrap(), 1);
    });
}

#[test]
fn a_delayed_message_that_is_sooner_than_all_others_is_not_slept_through() {
    everywhere(|url| {
        let broker = producer(url);
        let mut worker = Worker::start(url, &["a"]);
        worker.cycle(1, vec![]);
        let due = now_ms() + 100;
        broker.publish(&[celeriac_protocol::Publication { due_ms: Some(due), ..message("a", "x") }]).unwrap();
        worker.deliveries(1);
        let late = now_ms() - due;
        assert!((0..250).contains(&late), "{late} ms late");
    });
}

#[test]
fn an_end_stores_result_continuation_and_settlement_together() {
    everywhere(|url| {
        let (broker, store) = (producer(url), results(url));
        broker.publish(&[message("a", "first")]).unwrap();
        let mut worker = Worker::start(url, &["a"]);
        let taken = worker.take(1);
        let mut one = end(taken[0].tag, Settlement::Ack);
        one.results = vec![result("k", "started", false), result("k", "done", true), result("k", "late", false)];
        one.publish = vec![message("b", "next")];
        assert_eq!(worker.cycle(0, vec![one]), []);
        assert_eq!(store.get(&["k", "none"]).unwrap(), [Some("done".into()), None]);
        assert_eq!(depth(&*broker, "a"), (0, 0, 0));
        assert_eq!(depth(&*broker, "b"), (1, 0, 0));
    });
}

#[test]
fn a_settled_or_unknown_tag_is_refused_with_all_that_comes_with_it() {
    everywhere(|url| {
        let (broker, store) = (producer(url), results(url));
        broker.publish(&[message("a", "x")]).unwrap();
        let mut worker = Worker::start(url, &["a"]);
        let tag = worker.take(1)[0].tag;
        assert_eq!(worker.cycle(0, vec![end(tag, Settlement::Ack)]), []);
        let mut again = end(tag, Settlement::Ack);
        again.results = vec![result("again", "v", true)];
        again.publish = vec![message("a", "again")];
        assert_eq!(worker.cycle(0, vec![again]), [tag]);
        assert_eq!(store.get(&["again"]).unwrap(), [None]);
        assert_eq!(depth(&*broker, "a"), (0, 0, 0));
    });
}

#[test]
fn requeue_front_and_back_park_and_dead() {
    everywhere(|url| {
        let broker = producer(url);
        broker.publish(&["a", "b", "c", "d", "e"].map(|text| message("q", text))).unwrap();
        let mut worker = Worker::start(url, &["q"]);
        let t = worker.take(4);
        let ends = vec![
            end(t[0].tag, Settlement::Requeue { front: false, crashed: false }),
            end(t[1].tag, Settlement::Requeue { front: true, crashed: true }),
            end(t[2].tag, Settlement::Park { until_ms: now_ms() + 300 }),
            end(t[3].tag, Settlement::Dead { reason: "rejected", detail: "why".into() }),
        ];
        assert_eq!(worker.cycle(0, ends), []);
        assert_eq!(depth(&*broker, "q"), (3, 1, 0));
        let again = worker.take(4);
        assert_eq!(again.iter().map(text).collect::<Vec<_>>(), ["b", "e", "a", "c"]);
        assert_eq!(
            again.iter().map(|one| (one.redelivered, one.crashes)).collect::<Vec<_>>(),
            [(true, 1), (false, 0), (true, 0), (false, 0)]
        );
        let dead = broker.dead_list(10, None).unwrap();
        assert_eq!((&*dead[0].payload, &*dead[0].reason, &*dead[0].queue), (&b"d"[..], "rejected", "q"));
        assert_eq!(broker.dead_get(dead[0].id).unwrap().unwrap().detail, "why");
        assert_eq!(broker.dead_replay(None).unwrap(), 1);
        assert_eq!(worker.texts(1), ["d"]);
        assert_eq!(broker.dead_list(10, None).unwrap().len(), 0);
    });
}

#[test]
fn exchanges_route_by_their_type() {
    everywhere(|url| {
        let broker = producer(url);
        for spec in [
            bound("d1", "direct", "direct", "k"),
            bound("d2", "direct", "direct", "k"),
            bound("t1", "topic", "topic", "a.*"),
            bound("t2", "topic", "topic", "#"),
            bound("f1", "fan", "fanout", ""),
            bound("f2", "fan", "fanout", "ignored"),
        ] {
            broker.declare(&spec).unwrap();
            broker.declare(&spec).unwrap();
        }
        let to = |exchange: &str, key: &str| {
            let routed = celeriac_protocol::Publication { exchange: exchange.into(), ..message(key, "x") };
            broker.publish(&[routed]).unwrap()
        };
        assert_eq!(to("direct", "k"), 2);
        assert_eq!(to("direct", "other"), 0);
        assert_eq!(to("topic", "a.b"), 2);
        assert_eq!(to("topic", "z"), 1);
        assert_eq!(to("fan", "whatever"), 2);
        assert_eq!(to("unknown", "k"), 0);
        assert_eq!(depth(&*broker, "t2"), (2, 0, 0));
        // A binding made by somebody else counts from the next message on.
        broker.declare(&bound("d3", "direct", "direct", "k")).unwrap();
        assert_eq!(to("direct", "k"), 3);
        let wrong = broker.declare(&bound("d1", "direct", "topic", "k"));
        assert!(
            matches!(wrong, Err(TransportError::Refused(text)) if text.contains("'direct'") && text.contains("'topic'"))
        );
    });
}

#[test]
fn broadcasts_reach_those_who_listen_now() {
    everywhere(|url| {
        let broker = producer(url);
        broker.broadcast("ctl", "", b"too early").unwrap();
        let worker = Worker::with(url, vec![queue("a"), bound("", "ctl", "fanout", "")]);
        broker.broadcast("ctl", "key", b"hello").unwrap();
        broker.broadcast("other", "key", b"not for us").unwrap();
        broker.broadcast("ctl", "key", b"bye").unwrap();
        for expected in ["hello", "bye"] {
            let heard = worker.wait(|event| match event {
                Some(Event::Broadcast { exchange, routing_key, payload }) => {
                    assert_eq!((&**exchange, &**routing_key), ("ctl", "key"));
                    Some(payload.clone())
                }
                _ => None,
            });
            assert_eq!(heard, expected.as_bytes());
        }
    });
}

#[test]
fn a_change_of_queues_loses_no_broadcast() {
    everywhere(|url| {
        let broker = producer(url);
        let mut worker = Worker::with(url, vec![queue("a"), bound("", "ctl", "fanout", "")]);
        worker.cycle(0, vec![]);
        broker.broadcast("ctl", "", b"hello").unwrap();
        worker.consumer.set_consuming(queue("b"), true);
        worker.wait(|event| matches!(event, Some(Event::Broadcast { .. })).then_some(()));
    });
}

#[test]
fn a_queue_that_cannot_be_consumed_stops_no_other() {
    everywhere(|url| {
        let broker = producer(url);
        broker.declare(&bound("d", "exchange", "direct", "k")).unwrap();
        broker.publish(&[message("a", "x")]).unwrap();
        let mut worker = Worker::start(url, &["a"]);
        let taken = worker.take(1);
        worker.consumer.set_consuming(bound("t", "exchange", "topic", "k"), true);
        assert_eq!(worker.cycle(0, vec![end(taken[0].tag, Settlement::Ack)]), []);
        assert_eq!(depth(&*broker, "a"), (0, 0, 0));
        let notice = worker.wait(|event| match event {
            Some(Event::Notice(text)) => Some(text.clone()),
            _ => None,
        });
        assert!(notice.contains("'t'") && notice.contains("'direct'"), "{notice}");
        worker.stop();
    });
}

#[test]
fn a_consumer_that_fails_says_that_it_has_stopped() {
    everywhere(|url| {
        let (sender, events) = std::sync::mpsc::channel();
        let mut consumer = open::consumer(url, &Options::new(), PATIENCE).unwrap();
        let sink = move |event| {
            assert!(!matches!(event, Event::Cycled { .. }), "as a defect would");
            drop(sender.send(event));
        };
        consumer.start(vec![queue("a")], std::sync::Arc::new(sink)).unwrap();
        consumer.submit(Cycle::default());
        let last = events.recv_timeout(PATIENCE);
        assert!(matches!(last, Ok(Event::Stopped)), "{last:?}");
        consumer.join();
    });
}

#[test]
fn consuming_can_begin_and_end_for_one_queue() {
    everywhere(|url| {
        let broker = producer(url);
        let mut worker = Worker::start(url, &["a"]);
        worker.cycle(10, vec![]);
        worker.consumer.set_consuming(queue("b"), true);
        broker.publish(&[message("b", "b1")]).unwrap();
        assert_eq!(text(&worker.deliveries(1)[0]), "b1");
        worker.consumer.set_consuming(queue("b"), false);
        worker.submit(Cycle::default());
        broker.publish(&[message("b", "b2"), message("a", "a1")]).unwrap();
        assert_eq!(text(&worker.deliveries(1)[0]), "a1");
        assert_eq!(depth(&*broker, "b"), (1, 0, 1));
    });
}

#[test]
fn held_messages_return_in_order_when_a_worker_stops() {
    everywhere(|url| {
        let broker = producer(url);
        broker.publish(&["a", "b", "c", "d"].map(|text| message("q", text))).unwrap();
        let mut first = Worker::start(url, &["q"]);
        first.take(3);
        first.stop();
        let mut second = Worker::start(url, &["q"]);
        let taken = second.take(4);
        assert_eq!(taken.iter().map(text).collect::<Vec<_>>(), ["a", "b", "c", "d"]);
        assert_eq!(taken.iter().map(|one| one.crashes).sum::<u32>(), 0);
        assert!(taken[0].redelivered && !taken[3].redelivered);
    });
}

#[test]
fn results_expire_and_successes_stay() {
    everywhere(|url| {
        let store = results(url);
        let expired = celeriac_protocol::ResultWrite { expires_ms: Some(now_ms() - 1), ..result("old", "v", true) };
        assert_eq!(store.put(&[expired]).unwrap(), 1);
        assert_eq!(store.get(&["old"]).unwrap(), [None]);
        assert_eq!(store.put(&[result("k", "1", false), result("k", "2", true)]).unwrap(), 2);
        assert_eq!(store.put(&[result("k", "3", false)]).unwrap(), 0);
        assert_eq!(store.get(&["k"]).unwrap(), [Some("2".into())]);
        assert_eq!(store.cleanup().unwrap(), 1);
        assert_eq!(store.put(&[result("old", "new", false)]).unwrap(), 1);
        assert_eq!(store.delete(&["k", "old", "none"]).unwrap(), 2);
    });
}

#[test]
fn a_result_stored_by_a_worker_wakes_every_waiting_thread() {
    everywhere(|url| {
        let broker = producer(url);
        broker.publish(&[message("a", "x")]).unwrap();
        let mut worker = Worker::start(url, &["a"]);
        let taken = worker.take(1);
        let store = results(url);
        std::thread::scope(|scope| {
            let waits: Vec<_> = (0..4)
                .map(|_| {
                    let store = &store;
                    scope.spawn(move || {
                        loop {
                            let seen = store.generation().unwrap();
                            if store.get(&["k"]).unwrap()[0].is_some() {
                                return;
                            }
                            store.wait_change(seen, PATIENCE).unwrap();
                        }
                    })
                })
                .collect();
            let mut one = end(taken[0].tag, Settlement::Ack);
            one.results = vec![result("k", "v", true)];
            worker.cycle(0, vec![one]);
            for wait in waits {
                wait.join().unwrap();
            }
        });
    });
}
