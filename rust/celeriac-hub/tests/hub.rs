//! The hub with a scripted broker and scripted children: no Python, no server.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails should say where")]

#[cfg(unix)]
#[path = "hub/processes.rs"]
mod processes;
mod support;

use std::time::Duration;

use celeriac_engine::Verdict;
use celeriac_engine::window::Prefetch;
use celeriac_hub::Next;
use celeriac_protocol::delivery::reasons;
use celeriac_protocol::{DeliveryTag, Settlement};
use celeriac_transport::contract::{Event, TransportError};
use support::{LONG, batch, run_all, start, start_with, stopped, succeed};

const QUIET: Duration = Duration::from_millis(60);

fn unavailable() -> TransportError {
    TransportError::Unavailable("the disk is away".to_owned())
}

#[test]
fn every_delivery_is_settled_once_with_its_result() {
    let (broker, hub) = start(2);
    let children: Vec<_> =
        (0..2).map(|child| hub.port(child).unwrap()).map(|port| std::thread::spawn(|| run_all(port))).collect();
    assert_eq!(broker.next().credit_total, 1_000);
    broker.deliver(1..=500, "late");
    let (ends, _) = broker.ends(500);
    let mut tags: Vec<_> = ends.iter().map(|end| end.tag.0).collect();
    tags.sort_unstable();
    assert_eq!(tags, (1..=500).collect::<Vec<_>>());
    assert!(
        ends.iter().all(|end| end.settlement == Settlement::Ack && *end.results[0].key == *format!("id-{}", end.tag.0))
    );
    hub.stop(false);
    assert_eq!(stopped(&hub), None);
    let ran: usize = children.into_iter().map(|child| child.join().unwrap().len()).sum();
    assert_eq!((ran, hub.stats().engine.held), (500, 0));
}

#[test]
fn a_failed_cycle_is_submitted_again_and_nothing_of_it_is_lost() {
    let (broker, hub) = start(1);
    let port = hub.port(0).unwrap();
    broker.next();
    broker.with(|state| state.failures = vec![unavailable(), TransportError::Full("no room".to_owned())]);
    broker.deliver([1], "late");
    let jobs = batch(&port);
    assert!(jobs[0].start() && succeed(&jobs[0]));
    let (ends, _) = broker.ends(1);
    assert_eq!((ends[0].tag, ends[0].results.len()), (DeliveryTag(1), 1));
    assert_eq!(hub.stats().engine.failed_cycles, 2);
}

#[test]
fn a_refused_end_is_found_and_its_message_kept_in_the_dead_letter_store() {
    let (broker, hub) = start(1);
    let port = hub.port(0).unwrap();
    broker.next();
    broker.with(|state| state.hold = true);
    broker.deliver([1], "late");
    let jobs = batch(&port);
    assert!(jobs[0].start() && succeed(&jobs[0]));
    port.flush();
    while hub.stats().engine.ended < 1 {
        std::thread::yield_now();
    }
    broker.with(|state| state.failures = vec![TransportError::Refused("result too large".to_owned())]);
    broker.release();
    let (ends, _) = broker.ends(1);
    let Settlement::Dead { reason, detail } = &ends[0].settlement else { panic!("not dead: {:?}", ends[0]) };
    assert_eq!((*reason, ends[0].results.len()), (reasons::REJECTED, 0));
    assert!(detail.contains("result too large"), "{detail}");
}

#[test]
fn while_the_broker_is_away_outcomes_wait() {
    let (broker, hub) = start(1);
    let port = hub.port(0).unwrap();
    broker.next();
    broker.deliver([1], "late");
    let jobs = batch(&port);
    assert!(jobs[0].start());
    broker.say(Event::Down(unavailable()));
    assert!(succeed(&jobs[0]));
    assert!(broker.is_quiet(QUIET));
    broker.say(Event::Up);
    assert_eq!(broker.ends(1).0[0].tag, DeliveryTag(1));
}

#[test]
fn the_result_of_a_lost_delivery_is_refused() {
    let (broker, hub) = start(1);
    let port = hub.port(0).unwrap();
    broker.next();
    broker.deliver([1, 2], "late");
    let jobs = batch(&port);
    assert!(jobs[0].start());
    broker.lose(1);
    while hub.stats().engine.lost < 1 {
        std::thread::yield_now();
    }
    succeed(&jobs[0]);
    let jobs = batch(&port);
    assert!(jobs[0].start() && succeed(&jobs[0]));
    let (ends, results) = broker.ends(1);
    assert_eq!(ends.iter().map(|end| end.tag.0).collect::<Vec<_>>(), [2]);
    assert!(results.is_empty());
    assert_eq!(hub.stats().engine.refused, 1);
}

#[test]
fn what_waits_behind_a_long_task_runs_on_another_child() {
    let (broker, hub) = start(2);
    let stuck = hub.port(0).unwrap();
    broker.next();
    // A run time has to be known before tasks are sent in batches.
    broker.deliver([1], "late");
    let first = batch(&stuck);
    assert!(first[0].start() && succeed(&first[0]));
    broker.ends(1);
    broker.deliver(2..=9, "late");
    let jobs = batch(&stuck);
    assert_eq!(jobs.len(), 8, "short tasks come in one batch");
    assert!(jobs[0].start());
    let other = hub.port(1).unwrap();
    let helper = std::thread::spawn(move || run_all(other));
    let (ends, _) = broker.ends(7);
    assert!(ends.iter().all(|end| end.tag != DeliveryTag(2)));
    assert!(succeed(&jobs[0]));
    assert!(jobs[1..].iter().all(|job| !job.start()), "they were taken back");
    assert_eq!(broker.ends(1).0[0].tag, DeliveryTag(2));
    assert_eq!(hub.stats().engine.recalled, 7);
    hub.stop(false);
    assert_eq!(stopped(&hub), None);
    assert_eq!(helper.join().unwrap(), (3..=9).collect::<Vec<_>>());
}

#[test]
fn a_long_task_is_acked_early_and_its_result_follows() {
    let (broker, hub) = start(1);
    let port = hub.port(0).unwrap();
    broker.next();
    broker.deliver([1], "early");
    let jobs = batch(&port);
    assert!(jobs[0].start());
    let (ends, results) = broker.ends(1);
    assert_eq!((&ends[0].settlement, ends[0].results.len(), results.len()), (&Settlement::Ack, 0, 0));
    assert!(succeed(&jobs[0]));
    let cycle = broker.next();
    assert_eq!((cycle.ends.len(), &*cycle.results[0].key), (0, "id-1"));
}

#[test]
fn a_short_early_acked_task_needs_one_cycle_only() {
    let (broker, hub) = start(1);
    let port = hub.port(0).unwrap();
    broker.next();
    broker.with(|state| state.hold = true);
    broker.deliver([1], "early");
    let jobs = batch(&port);
    assert!(jobs[0].start() && succeed(&jobs[0]));
    broker.release();
    let (ends, _) = broker.ends(1);
    assert_eq!((&ends[0].settlement, ends[0].results.len()), (&Settlement::Ack, 1));
    assert!(broker.is_quiet(QUIET));
}

#[test]
fn a_long_late_acked_task_is_named_so_that_a_crash_is_blamed_on_it() {
    let (broker, hub) = start(1);
    let port = hub.port(0).unwrap();
    broker.next();
    broker.deliver([1], "late");
    let jobs = batch(&port);
    assert!(jobs[0].start());
    assert_eq!(broker.next().started, [DeliveryTag(1)]);
    assert!(broker.is_quiet(QUIET), "once is enough");
}

#[test]
fn an_outcome_does_not_wait_for_the_long_task_behind_it() {
    let (broker, hub) = start(1);
    let port = hub.port(0).unwrap();
    broker.next();
    broker.deliver([1], "late");
    let first = batch(&port);
    assert!(first[0].start() && succeed(&first[0]));
    broker.ends(1);
    broker.deliver([2, 3], "late");
    let jobs = batch(&port);
    assert_eq!(jobs.len(), 2);
    assert!(jobs[0].start() && succeed(&jobs[0]) && jobs[1].start());
    assert_eq!(broker.ends(1).0[0].tag, DeliveryTag(2));
}

#[test]
fn a_warm_stop_hands_back_what_has_not_started_and_waits_for_the_rest() {
    let (broker, hub) = start(1);
    let port = hub.port(0).unwrap();
    broker.next();
    broker.deliver(1..=5, "late");
    let jobs = batch(&port);
    assert!(jobs[0].start());
    hub.stop(false);
    let (ends, _) = broker.ends(4);
    let back: Vec<_> = ends.iter().map(|end| end.tag.0).collect();
    assert_eq!(back, [5, 4, 3, 2], "each goes to the head, so the first ends up there");
    assert!(ends.iter().all(|end| end.settlement == Settlement::Requeue { front: true, crashed: false }));
    assert!(!hub.join(QUIET) && !broker.with(|state| state.stopped), "a task runs");
    assert!(succeed(&jobs[0]));
    assert_eq!(broker.ends(1).0[0].settlement, Settlement::Ack);
    assert_eq!(stopped(&hub), None);
    assert!(matches!(port.wait_next(LONG), Next::End));
}

#[test]
fn a_cold_stop_hands_back_what_runs_and_refuses_its_result() {
    let (broker, hub) = start(1);
    let port = hub.port(0).unwrap();
    broker.next();
    broker.deliver([1], "late");
    let jobs = batch(&port);
    assert!(jobs[0].start());
    hub.stop(false);
    hub.stop(true);
    let (ends, _) = broker.ends(1);
    assert_eq!(ends[0].settlement, Settlement::Requeue { front: true, crashed: false });
    assert_eq!(stopped(&hub), None);
    succeed(&jobs[0]);
    assert!(broker.is_quiet(QUIET));
}

#[test]
fn a_cold_stop_hands_back_nothing_that_was_acked_early_or_has_ended() {
    let (broker, hub) = start(1);
    let port = hub.port(0).unwrap();
    broker.next();
    broker.deliver([9], "early");
    let first = batch(&port);
    assert!(first[0].start() && succeed(&first[0]), "so the hub learns that it is quick, and sends batches");
    port.flush();
    broker.ends(1);
    broker.deliver(1..=4, "early");
    let jobs = batch(&port);
    assert_eq!(jobs.len(), 4);
    assert!(jobs[0].start() && succeed(&jobs[0]), "not told yet: the batch goes on");
    assert!(jobs[1].start());
    hub.stop(true);
    let (mut ends, _) = broker.ends(4);
    ends.sort_by_key(|end| end.tag.0);
    let back = Settlement::Requeue { front: true, crashed: false };
    let settled: Vec<_> = ends.iter().map(|end| end.settlement.clone()).collect();
    assert_eq!(settled, [Settlement::Ack, Settlement::Ack, back.clone(), back]);
    assert_eq!(ends[0].results.len(), 1, "its result is kept");
    assert_eq!(stopped(&hub), None);
    assert!(!jobs[2].start());
}

#[test]
fn a_cold_stop_does_not_wait_for_a_broker_that_is_away() {
    let (broker, hub) = start(1);
    let port = hub.port(0).unwrap();
    broker.next();
    broker.deliver([1], "late");
    assert!(batch(&port)[0].start()); // and is dropped
    broker.say(Event::Down(unavailable()));
    hub.stop(false);
    assert!(!hub.join(QUIET));
    hub.stop(true);
    assert_eq!(stopped(&hub), None);
}

#[test]
fn a_child_that_dies_with_a_task_is_blamed_and_its_others_are_not() {
    let (broker, hub) = start(1);
    let port = hub.port(0).unwrap();
    broker.next();
    broker.deliver([1], "careful");
    let first = batch(&port);
    assert!(first[0].start() && succeed(&first[0]));
    broker.ends(1);
    broker.deliver([2, 3], "careful");
    let jobs = batch(&port);
    assert_eq!(jobs.len(), 2);
    assert!(jobs[0].start());
    drop(port);
    drop(jobs);
    let (ends, _) = broker.ends(1);
    assert_eq!((ends[0].tag.0, &ends[0].settlement), (2, &Settlement::Requeue { front: true, crashed: true }));
    let port = hub.port(0).unwrap();
    let jobs = batch(&port);
    assert_eq!(jobs[0].delivery().tag.0, 3);
    assert!(jobs[0].start() && succeed(&jobs[0]));
    assert_eq!(broker.ends(1).0[0].settlement, Settlement::Ack);
}

#[test]
fn a_revoke_reaches_what_a_child_has_not_started() {
    let (broker, hub) = start(1);
    let port = hub.port(0).unwrap();
    broker.next();
    broker.deliver([1], "late");
    let first = batch(&port);
    assert!(first[0].start() && succeed(&first[0]));
    broker.ends(1);
    broker.deliver([2, 3], "late");
    let jobs = batch(&port);
    assert!(jobs[0].start());
    hub.revoke(vec!["id-3".to_owned()]);
    while hub.stats().engine.recalled < 1 {
        std::thread::yield_now();
    }
    assert!(succeed(&jobs[0]) && !jobs[1].start());
    let jobs = batch(&port);
    assert_eq!((jobs[0].delivery().tag.0, jobs[0].verdict()), (3, Verdict::Revoked));
}

#[test]
fn an_adaptive_window_gives_back_what_waits_behind_long_tasks() {
    let (broker, hub) = start_with(1, Prefetch::Adaptive);
    let port = hub.port(0).unwrap();
    assert_eq!(broker.next().credit_total, 4, "nothing is known about the tasks");
    broker.deliver([1], "late");
    let first = batch(&port);
    assert!(first[0].start() && succeed(&first[0]));
    broker.ends(1);
    broker.deliver(2..=101, "late");
    let jobs = batch(&port);
    assert!(jobs[0].start());
    let (ends, _) = broker.ends(95);
    let back: Vec<_> = ends.iter().map(|end| end.tag.0).collect();
    assert_eq!(back, (7..=101).rev().collect::<Vec<_>>(), "the youngest, in an order that restores the queue's");
    assert!(ends.iter().all(|end| end.settlement == Settlement::Requeue { front: true, crashed: false }));
}

#[test]
fn a_port_is_held_by_one_at_a_time() {
    let (_broker, hub) = start(1);
    let port = hub.port(0).unwrap();
    assert!(hub.port(0).is_err() && hub.port(1).is_err());
    drop(port);
    assert!(hub.port(0).is_ok());
}

#[test]
fn a_panic_ends_the_hub_with_a_reason_and_leaves_deliveries_to_their_leases() {
    let (broker, hub) = start(1);
    let port = hub.port(0).unwrap();
    broker.next();
    broker.deliver([1], "late");
    let jobs = batch(&port);
    assert!(jobs[0].start());
    hub.panic_for_test();
    let why = stopped(&hub).expect("a reason");
    assert!(why.contains("asked for by a test"), "{why}");
    assert!(matches!(port.wait_next(LONG), Next::End));
    assert!(!broker.with(|state| state.stopped), "a stop would hand back what may still run here");
}

#[test]
fn a_broker_that_is_damaged_ends_the_hub_with_a_reason() {
    let (broker, hub) = start(1);
    broker.with(|state| state.failures = vec![TransportError::Corrupt("page 7 is garbage".to_owned())]);
    let _port = hub.port(0).unwrap();
    assert!(stopped(&hub).expect("a reason").contains("page 7"));
}

#[test]
fn the_hub_sleeps_while_the_broker_is_away_with_a_cycle_to_try_again() {
    let (broker, hub) = start(1);
    let port = hub.port(0).unwrap();
    broker.next();
    broker.with(|state| state.hold = true);
    broker.deliver([1], "late");
    let jobs = batch(&port);
    assert!(jobs[0].start() && succeed(&jobs[0]));
    port.flush();
    while hub.stats().engine.ended < 1 {
        std::thread::yield_now();
    }
    broker.say(Event::Down(unavailable()));
    broker.with(|state| state.failures = vec![unavailable()]);
    broker.release();
    std::thread::sleep(Duration::from_millis(150)); // past the time of the next try
    let before = hub.stats().turns;
    std::thread::sleep(Duration::from_millis(50));
    let turns = hub.stats().turns - before;
    assert!(turns < 20, "{turns} turns in 50 ms with nothing to do");
    broker.say(Event::Up);
    assert_eq!(broker.ends(1).0[0].settlement, Settlement::Ack);
}
