//! Single stories that random schedules reach too seldom, or that the model of `engine_props.rs` does not tell apart.

#![expect(clippy::unwrap_used, reason = "a test that fails should say where")]

mod support;

use bytes::Bytes;
use celeriac_engine::window::Prefetch;
use celeriac_engine::{
    Cycle, Engine, EngineConfig, Failure, Loss, Notice, Now, Outcome, Report, Stopping, TaskPolicy, Verdict, Work,
};
use celeriac_protocol::delivery::reasons;
use celeriac_protocol::{DeliveryTag, ResultWrite, Settlement};
use support::{DAY_MS, Spec, delivery};

const LONG_US: u64 = 5_000;

fn at(mono_us: u64) -> Now {
    Now { mono_us, wall_ms: DAY_MS }
}

/// One child, and tasks `early`, `late` and `careful` (late, again when its child dies). Its first cycle is stored.
fn engine() -> Engine {
    let early = TaskPolicy::default();
    let late = TaskPolicy { acks_late: true, ..early };
    let tasks = [("early", early), ("late", late), ("careful", TaskPolicy { reject_on_worker_lost: true, ..late })];
    let mut engine = Engine::new(&EngineConfig {
        prefetch: Prefetch::Fixed(10),
        tasks: tasks.map(|(name, policy)| (name.to_owned(), policy)).into(),
        ..EngineConfig::default()
    });
    engine.child_up(0);
    let cycle = engine.next_cycle(at(0)).unwrap();
    engine.cycled(cycle.id, &[], []);
    engine
}

fn give(engine: &mut Engine, tag: u64, task: &str) {
    give_crashed(engine, tag, task, 0);
}

fn give_crashed(engine: &mut Engine, tag: u64, task: &str, crashes: u32) {
    let message = Spec::new(format!("id-{tag}"), task).envelope();
    engine.deliveries(vec![delivery(tag, message, false, crashes)], at(0));
    dispatch(engine);
}

fn dispatch(engine: &mut Engine) {
    engine.dispatch(at(0));
    while let Some(work) = engine.next_work() {
        assert!(matches!(work, Work::Dispatch { .. }));
    }
}

fn state(tag: u64, value: &'static str) -> ResultWrite {
    ResultWrite {
        key: format!("id-{tag}").into(),
        value: Bytes::from_static(value.as_bytes()),
        expires_ms: None,
        success: false,
    }
}

fn report(tag: u64, outcome: Outcome, value: &'static str) -> Report {
    Report {
        tag: DeliveryTag(tag),
        outcome,
        results: vec![state(tag, value)],
        publish: Vec::new(),
        detail: None,
        run_ns: Some(LONG_US * 1000),
    }
}

fn values(results: &[ResultWrite]) -> Vec<&str> {
    results.iter().map(|write| std::str::from_utf8(&write.value).unwrap()).collect()
}

#[test]
fn the_result_of_an_early_acked_task_is_refused_when_its_delivery_was_lost_before_the_ack() {
    for told_by_cycle in [true, false] {
        let mut engine = engine();
        give(&mut engine, 1, "early");
        engine.looked(0, Some((DeliveryTag(1), 0)), at(LONG_US));
        if told_by_cycle {
            let cycle = engine.next_cycle(at(LONG_US)).unwrap();
            assert_eq!(cycle.ends.len(), 1, "its ack");
            engine.cycled(cycle.id, &[DeliveryTag(1)], []);
        } else {
            engine.lost(&[DeliveryTag(1)], at(LONG_US));
        }
        engine.outcome(0, report(1, Outcome::Success, "mine"), at(2 * LONG_US));
        let stored = engine.next_cycle(at(2 * LONG_US)).map_or(0, |cycle| cycle.results.len());
        assert_eq!((stored, engine.stats().refused), (0, 1), "told by cycle: {told_by_cycle}");
    }
}

#[test]
fn a_task_that_was_named_as_begun_in_a_refused_cycle_is_named_again() {
    let mut engine = engine();
    give(&mut engine, 1, "late");
    engine.looked(0, Some((DeliveryTag(1), 0)), at(LONG_US));
    engine.progress(DeliveryTag(1), vec![state(1, "too large")]);
    let cycle = engine.next_cycle(at(LONG_US)).unwrap();
    assert_eq!(cycle.started, [DeliveryTag(1)]);
    engine.failed(cycle, Failure::Refused, "too large", at(LONG_US)).unwrap();
    let cycle = engine.next_cycle(at(LONG_US)).unwrap();
    assert_eq!((cycle.started, cycle.results.len()), (vec![DeliveryTag(1)], 0));
}

#[test]
fn an_end_that_is_refused_beside_others_becomes_a_dead_letter_and_is_given_up_if_that_is_refused_too() {
    let mut engine = engine();
    for tag in 1..=3 {
        give(&mut engine, tag, "late");
        engine.outcome(0, report(tag, Outcome::Failure, "value"), at(0));
    }
    let refused = |engine: &mut Engine, tags: &[u64]| {
        let cycle = engine.next_cycle(at(0)).unwrap();
        assert_eq!(cycle.ends.iter().map(|end| end.tag.0).collect::<Vec<_>>(), tags);
        engine.cycled(cycle.id, &[], [(Some(DeliveryTag(2)), "another type".to_owned())]);
        cycle
    };
    refused(&mut engine, &[1, 2, 3]);
    let dead = refused(&mut engine, &[2]);
    assert!(dead.ends[0].results.is_empty());
    assert!(matches!(&dead.ends[0].settlement, Settlement::Dead { reason: reasons::REJECTED, detail }
        if detail.contains("another type")));
    assert!(engine.next_cycle(at(0)).is_none_or(|cycle| cycle.ends.is_empty()));
}

#[test]
fn an_end_that_is_refused_after_its_delivery_was_lost_is_left_to_who_has_it() {
    let mut engine = engine();
    give(&mut engine, 1, "late");
    engine.outcome(0, report(1, Outcome::Failure, "value"), at(0));
    let cycle = engine.next_cycle(at(0)).unwrap();
    engine.lost(&[DeliveryTag(1)], at(0));
    engine.cycled(cycle.id, &[], [(Some(DeliveryTag(1)), "another type".to_owned())]);
    assert!(engine.next_cycle(at(0)).is_none_or(|cycle| cycle.ends.is_empty()));
}

#[test]
fn an_end_is_not_blamed_for_a_refusal_that_a_lost_one_may_have_caused() {
    let mut engine = engine();
    let nonsense = Bytes::from_static(b"{}");
    give(&mut engine, 1, "late");
    engine.outcome(0, report(1, Outcome::Success, "too large"), at(0));
    engine.deliveries(vec![delivery(2, nonsense, false, 0)], at(0));
    let cycle = engine.next_cycle(at(0)).unwrap();
    assert_eq!(cycle.ends.len(), 2);
    engine.lost(&[DeliveryTag(1)], at(0));
    engine.failed(cycle, Failure::Refused, "too large", at(0)).unwrap();
    let cycle = engine.next_cycle(at(0)).unwrap();
    assert_eq!(cycle.ends.iter().map(|end| end.tag).collect::<Vec<_>>(), [DeliveryTag(2)]);
}

/// Tags that go to children now.
fn given(engine: &mut Engine, now: Now) -> Vec<u64> {
    engine.dispatch(now);
    let mut tags = Vec::new();
    while let Some(work) = engine.next_work() {
        let Work::Dispatch { batch, .. } = work else { panic!("{work:?}") };
        tags.extend(batch.iter().map(|one| one.delivery.tag.0));
    }
    tags
}

fn give_again(engine: &mut Engine, tag: u64) {
    let message = Spec::new(format!("id-{tag}"), "late").envelope();
    engine.deliveries(vec![delivery(tag, message, true, 0)], at(0));
}

fn stored(engine: &mut Engine, now: Now) -> Cycle {
    let cycle = engine.next_cycle(now).unwrap();
    engine.cycled(cycle.id, &[], []);
    cycle
}

#[test]
fn a_careful_start_is_stored_first_and_the_child_is_free_for_others_once_the_end_is() {
    let mut engine = engine();
    give_again(&mut engine, 1);
    give_again(&mut engine, 2);
    engine.deliveries(vec![delivery(3, Spec::new("id-3", "late").envelope(), false, 0)], at(0));
    assert_eq!(given(&mut engine, at(0)), [0; 0]);
    assert_eq!(stored(&mut engine, at(0)).started, [DeliveryTag(1)], "not of what is merely held");
    assert_eq!(given(&mut engine, at(0)), [1]);
    engine.looked(0, Some((DeliveryTag(1), 0)), at(LONG_US));
    engine.outcome(0, report(1, Outcome::Success, "done"), at(LONG_US));
    assert_eq!(given(&mut engine, at(LONG_US)), [0; 0], "its end is not stored");
    let cycle = stored(&mut engine, at(LONG_US));
    assert_eq!((cycle.ends.len(), cycle.started.len()), (1, 0), "it was named once");
    assert_eq!(given(&mut engine, at(LONG_US)), [0; 0]);
    assert_eq!(stored(&mut engine, at(LONG_US)).started, [DeliveryTag(2)]);
    assert_eq!(given(&mut engine, at(LONG_US)), [2]);
    engine.outcome(0, report(2, Outcome::Success, "done"), at(LONG_US));
    stored(&mut engine, at(LONG_US));
    assert_eq!(given(&mut engine, at(LONG_US)), [3]);
}

#[test]
fn a_careful_task_of_early_ack_leaves_its_child_free_though_it_has_nothing_to_store() {
    let mut engine = engine();
    let message = Spec::new("id-1", "early").envelope();
    engine.deliveries(vec![delivery(1, message, true, 0)], at(0));
    assert_eq!(given(&mut engine, at(0)), [0; 0]);
    stored(&mut engine, at(0));
    assert_eq!(given(&mut engine, at(0)), [1]);
    engine.looked(0, Some((DeliveryTag(1), 0)), at(LONG_US));
    assert_eq!(stored(&mut engine, at(LONG_US)).ends.len(), 1, "its ack");
    engine.outcome(0, Report { results: Vec::new(), ..report(1, Outcome::Ignore, "") }, at(LONG_US));
    engine.deliveries(vec![delivery(2, Spec::new("id-2", "late").envelope(), false, 0)], at(LONG_US));
    assert_eq!(given(&mut engine, at(LONG_US)), [2]);
}

#[test]
fn others_go_on_while_no_start_can_be_stored() {
    let mut engine = engine();
    give_again(&mut engine, 1);
    assert_eq!(given(&mut engine, at(0)), [0; 0]);
    let cycle = engine.next_cycle(at(0)).unwrap();
    engine.failed(cycle, Failure::Transient, "away", at(0)).unwrap();
    engine.deliveries(vec![delivery(2, Spec::new("id-2", "late").envelope(), false, 0)], at(0));
    assert_eq!(given(&mut engine, at(0)), [2]);
    engine.outcome(0, report(2, Outcome::Success, "done"), at(LONG_US));
    assert_eq!(given(&mut engine, at(10_000_000)), [0; 0]);
    engine.down();
    engine.up();
    assert_eq!(given(&mut engine, at(10_000_000)), [0; 0]);
    assert_eq!(stored(&mut engine, at(10_000_000)).started, [DeliveryTag(1)]);
    assert_eq!(given(&mut engine, at(10_000_000)), [1]);
}

#[test]
fn a_careful_start_waits_for_a_busy_child_which_is_not_fed_meanwhile() {
    let mut engine = engine();
    for tag in 1..=3 {
        give(&mut engine, tag, "late"); // one runs, one is queued: nothing is known of their length
    }
    give_again(&mut engine, 4);
    give(&mut engine, 5, "late");
    let mut order = Vec::new();
    for tag in 1..=3 {
        engine.outcome(0, Report { run_ns: Some(1000), ..report(tag, Outcome::Success, "done") }, at(0));
        order.extend(given(&mut engine, at(0)));
        if tag == 3 {
            assert_eq!(stored(&mut engine, at(0)).started, [DeliveryTag(4)]);
            order.extend(given(&mut engine, at(0)));
        }
    }
    assert_eq!(order, [2, 3, 4]);
}

#[test]
fn states_are_stored_in_their_order_after_a_failed_cycle() {
    let mut engine = engine();
    give(&mut engine, 1, "late");
    engine.progress(DeliveryTag(1), vec![state(1, "started")]);
    let cycle = engine.next_cycle(at(0)).unwrap();
    engine.progress(DeliveryTag(1), vec![state(1, "half")]);
    engine.failed(cycle, Failure::Transient, "away", at(0)).unwrap();
    let cycle = engine.next_cycle(at(10_000_000)).unwrap();
    assert_eq!(values(&cycle.results), ["started", "half"]);
}

#[test]
fn of_many_states_of_a_task_between_two_cycles_only_the_last_is_stored() {
    let mut engine = engine();
    give(&mut engine, 1, "late");
    give(&mut engine, 2, "late");
    for done in ["10 %", "20 %", "30 %"] {
        engine.progress(DeliveryTag(1), vec![state(1, done)]);
        engine.progress(DeliveryTag(2), vec![state(2, done)]);
    }
    let cycle = engine.next_cycle(at(0)).unwrap();
    assert_eq!(values(&cycle.results), ["30 %", "30 %"]);
}

#[test]
fn a_success_that_a_task_stored_for_another_is_not_replaced_by_a_later_state() {
    let mut engine = engine();
    give(&mut engine, 1, "late");
    let success = ResultWrite { success: true, ..state(7, "done") };
    engine.progress(DeliveryTag(1), vec![success]);
    engine.progress(DeliveryTag(1), vec![state(7, "half")]);
    let cycle = engine.next_cycle(at(0)).unwrap();
    assert_eq!(values(&cycle.results), ["done"]);
}

#[test]
fn an_older_state_of_a_refused_cycle_is_stored_before_the_end_of_its_task() {
    let mut engine = engine();
    give(&mut engine, 1, "late");
    engine.progress(DeliveryTag(1), vec![state(1, "started")]);
    let cycle = engine.next_cycle(at(0)).unwrap();
    engine.outcome(0, report(1, Outcome::Failure, "failed"), at(0));
    engine.failed(cycle, Failure::Transient, "away", at(0)).unwrap();
    let cycle = engine.next_cycle(at(10_000_000)).unwrap();
    assert_eq!((cycle.ends.len(), cycle.results.len()), (1, 1));
    engine.failed(cycle, Failure::Refused, "something is too large", at(10_000_000)).unwrap();
    let mut stored = Vec::new();
    while let Some(Cycle { id, ends, results, .. }) = engine.next_cycle(at(20_000_000)) {
        stored.extend(results);
        stored.extend(ends.into_iter().flat_map(|end| end.results));
        engine.cycled(id, &[], []);
    }
    assert_eq!(values(&stored), ["started", "failed"]);
}

#[test]
fn an_early_acked_task_whose_child_died_at_once_does_not_run_again() {
    let mut engine = engine();
    give(&mut engine, 1, "early");
    engine.dropped(0, DeliveryTag(1), true, at(1));
    engine.stop(Stopping::Cold, at(1));
    let cycle = engine.next_cycle(at(1)).unwrap();
    assert_eq!(cycle.ends.into_iter().map(|end| end.settlement).collect::<Vec<_>>(), [Settlement::Ack]);
}

#[test]
fn the_answer_for_a_task_whose_child_died_follows_its_settings() {
    let answer = |task, crashes| {
        let mut engine = engine();
        give_crashed(&mut engine, 1, task, crashes);
        engine.dropped(0, DeliveryTag(1), true, at(1));
        dispatch(&mut engine);
        engine.outcome(0, report(1, Outcome::Failure, "WorkerLostError"), at(2));
        let cycle = engine.next_cycle(at(2)).unwrap();
        let stored = cycle.results.len() + cycle.ends[0].results.len();
        (cycle.ends[0].settlement.clone(), stored)
    };
    assert_eq!(answer("early", 0), (Settlement::Ack, 1));
    assert_eq!(answer("late", 0), (Settlement::Ack, 1));
    assert_eq!(answer("careful", 0), (Settlement::Requeue { front: true, crashed: true }, 0));
    let (Settlement::Dead { reason, detail }, 1) = answer("careful", 2) else { panic!("not dead") };
    assert!(reason == reasons::CRASHED && detail.starts_with("3 processes"), "{reason}: {detail}");
}

/// Three children of which one is up, and a task `timed` with both limits.
fn limited(acks_late: bool) -> Engine {
    let (soft, hard) = (Some(100_000), Some(300_000));
    let timed = TaskPolicy { acks_late, soft_limit_us: soft, hard_limit_us: hard, ..TaskPolicy::default() };
    let mut engine = Engine::new(&EngineConfig {
        prefetch: Prefetch::Fixed(10),
        tasks: [("timed".to_owned(), timed), ("early".to_owned(), TaskPolicy::default())].into(),
        limits: true,
        ..EngineConfig::default()
    });
    engine.child_up(0);
    let cycle = engine.next_cycle(at(0)).unwrap();
    engine.cycled(cycle.id, &[], []);
    engine
}

#[test]
fn limits_are_looked_after_at_their_time_and_asked_for_once() {
    let mut engine = limited(false);
    give(&mut engine, 1, "timed");
    let runs = Some((DeliveryTag(1), 0));
    engine.looked(0, runs, at(2_000));
    assert_eq!(engine.next_wake_us(), Some(100_000));
    engine.looked(0, runs, at(100_000));
    assert!(matches!(engine.next_work(), Some(Work::Interrupt { child: 0, tag: DeliveryTag(1) })));
    assert_eq!(engine.next_wake_us(), Some(300_000));
    engine.looked(0, runs, at(299_999));
    assert!(engine.next_work().is_none());
    engine.looked(0, runs, at(300_000));
    let Some(Work::Kill { child: 0, tag: DeliveryTag(1), limit }) = engine.next_work() else { panic!("not killed") };
    assert_eq!(limit, "0.3");
    engine.looked(0, runs, at(300_001));
    assert!(engine.next_work().is_none());
}

#[test]
fn limits_hold_for_a_task_whose_delivery_was_lost() {
    for (acks_late, begun) in [(true, false), (false, false), (false, true)] {
        let mut engine = limited(acks_late);
        give(&mut engine, 1, "timed");
        let runs = Some((DeliveryTag(1), 0));
        if begun {
            engine.looked(0, runs, at(2_000));
        }
        engine.lost(&[DeliveryTag(1)], at(3_000));
        while engine.next_work().is_some() {}
        engine.looked(0, runs, at(4_000));
        assert_eq!(engine.next_wake_us(), Some(100_000), "{acks_late} {begun}");
        engine.looked(0, runs, at(100_000));
        assert!(matches!(engine.next_work(), Some(Work::Interrupt { child: 0, tag: DeliveryTag(1) })));
        engine.looked(0, runs, at(300_000));
        assert!(matches!(engine.next_work(), Some(Work::Kill { child: 0, tag: DeliveryTag(1), .. })));
        // Whoever has the message now tells its end.
        engine.child_lost(0, Some(DeliveryTag(1)), &Loss::TimeLimit("0.3".to_owned()), at(300_001));
        engine.child_up(0);
        engine.dispatch(at(300_002));
        assert!(engine.next_work().is_none());
        assert!(engine.next_cycle(at(300_003)).is_none_or(|cycle| cycle.ends.is_empty()));
    }
}

#[test]
fn a_task_that_was_killed_is_told_of_by_another_child_and_its_neighbours_run_in_order() {
    for (acks_late, loss, verdict) in [
        (false, Loss::TimeLimit("0.3".to_owned()), Verdict::TimeLimit),
        (true, Loss::TimeLimit("0.3".to_owned()), Verdict::TimeLimit),
        (true, Loss::Died("signal 9".to_owned()), Verdict::Lost),
    ] {
        let mut engine = limited(acks_late);
        // Their run time has to be known before they are sent together.
        give(&mut engine, 1, "timed");
        engine.outcome(0, Report { run_ns: Some(1_000), ..report(1, Outcome::Success, "x") }, at(1));
        for tag in 2..6 {
            give(&mut engine, tag, "timed");
        }
        engine.child_lost(0, Some(DeliveryTag(3)), &loss, at(300_000));
        engine.child_up(0);
        engine.dispatch(at(300_001));
        let mut given = Vec::new();
        while let Some(Work::Dispatch { batch, .. }) = engine.next_work() {
            given.extend(batch.iter().map(|one| (one.delivery.tag.0, one.verdict, one.cause.is_some())));
        }
        let run = Verdict::Run;
        assert_eq!(given, [(2, run, false), (3, verdict, true), (4, run, false), (5, run, false)]);
    }
}

/// What a child that is started while the engine stops is to tell: tags and verdicts.
fn to_tell(engine: &mut Engine) -> Vec<(u64, Verdict)> {
    engine.child_up(1);
    engine.dispatch(at(400_000));
    let mut given = Vec::new();
    while let Some(work) = engine.next_work() {
        if let Work::Dispatch { child, batch } = work {
            assert_eq!(child, 1);
            given.extend(batch.iter().map(|one| (one.delivery.tag.0, one.verdict)));
        }
    }
    given
}

/// `timed` has begun, is acked if it is to be early, and dies while the engine stops, or before that.
fn dies_in_a_stop(acks_late: bool, before: bool) -> Engine {
    let mut engine = limited(acks_late);
    engine.add_child();
    give(&mut engine, 1, "timed");
    engine.looked(0, Some((DeliveryTag(1), 0)), at(2_000));
    stored(&mut engine, at(2_000));
    let die = |engine: &mut Engine| {
        engine.child_lost(0, Some(DeliveryTag(1)), &Loss::TimeLimit("0.3".to_owned()), at(300_000));
    };
    if before {
        die(&mut engine);
    }
    engine.stop(Stopping::Warm, at(300_000));
    if !before {
        die(&mut engine);
    }
    engine
}

#[test]
fn what_dies_in_a_warm_stop_is_told_by_a_child_that_is_started_for_it() {
    for (acks_late, before) in [(true, false), (false, false), (true, true), (false, true)] {
        let mut engine = dies_in_a_stop(acks_late, before);
        assert!(engine.has_to_tell() && !engine.is_drained(), "{acks_late} {before}");
        assert_eq!(to_tell(&mut engine), [(1, Verdict::TimeLimit)]);
        // The one that tells dies as well: the end stays what it was.
        engine.child_lost(1, Some(DeliveryTag(1)), &Loss::Died("signal 9".to_owned()), at(400_000));
        assert!(engine.has_to_tell() && !engine.is_drained());
        assert_eq!(to_tell(&mut engine), [(1, Verdict::TimeLimit)]);
        assert!(!engine.has_to_tell() && !engine.is_drained());
        engine.outcome(1, report(1, Outcome::Failure, "TimeLimitExceeded"), at(500_000));
        let cycle = stored(&mut engine, at(500_000));
        let results = cycle.results.iter().chain(cycle.ends.iter().flat_map(|end| &end.results));
        assert_eq!(values(&results.cloned().collect::<Vec<_>>()), ["TimeLimitExceeded"]);
        assert_eq!(cycle.ends.len(), usize::from(acks_late));
        assert!(engine.is_drained());
    }
}

#[test]
fn what_nobody_can_tell_in_a_warm_stop_is_settled_and_said() {
    for (acks_late, given) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut engine = dies_in_a_stop(acks_late, false);
        if given {
            to_tell(&mut engine);
        }
        engine.leave_untold(at(400_000));
        if given {
            engine.child_lost(1, None, &Loss::Died("signal 9".to_owned()), at(400_000));
        }
        let cycle = engine.next_cycle(at(400_000));
        let ends = cycle.as_ref().map_or(&[][..], |cycle| &cycle.ends);
        let ends: Vec<_> = ends.iter().map(|end| (end.settlement.clone(), end.results.len())).collect();
        assert_eq!(ends, if acks_late { vec![(Settlement::Ack, 0)] } else { vec![] }, "{given}");
        if let Some(cycle) = cycle {
            engine.cycled(cycle.id, &[], []);
        }
        assert!(engine.is_drained());
        let said = |notice: &Notice| matches!(notice, Notice::Error(text) if text.contains("timed[id-1] was lost"));
        assert_eq!(engine.take_notices().iter().filter(|notice| said(notice)).count(), 1);
    }
}

#[test]
fn a_cold_stop_hands_back_what_was_to_be_told() {
    let mut engine = dies_in_a_stop(true, false);
    engine.stop(Stopping::Cold, at(400_000));
    assert!(!engine.has_to_tell());
    let ends = engine.next_cycle(at(400_000)).unwrap().ends;
    let again = Settlement::Requeue { front: true, crashed: false };
    assert_eq!(ends.into_iter().map(|end| end.settlement).collect::<Vec<_>>(), [again]);
}

#[test]
fn a_child_gets_no_more_tasks_than_it_may_run() {
    let mut engine = limited(false);
    engine.child_up_for(0, Some(3));
    give(&mut engine, 1, "early");
    engine.outcome(0, Report { run_ns: Some(1_000), ..report(1, Outcome::Success, "x") }, at(1));
    let messages = (2..8).map(|tag| delivery(tag, Spec::new(format!("id-{tag}"), "early").envelope(), false, 0));
    engine.deliveries(messages.collect(), at(2));
    engine.dispatch(at(2));
    let Some(Work::Dispatch { batch, .. }) = engine.next_work() else { panic!("nothing was given") };
    assert_eq!(batch.len(), 2);
    assert!(matches!(engine.next_work(), Some(Work::Retire { child: 0 })));
    assert!(engine.next_work().is_none());
    assert_eq!(engine.add_child(), 1);
    engine.child_up_for(1, None);
    engine.dispatch(at(3));
    let Some(Work::Dispatch { child: 1, batch }) = engine.next_work() else { panic!("nothing was given") };
    assert_eq!(batch.len(), 4);
}

#[test]
fn what_a_child_does_not_start_goes_to_another_and_the_child_is_tried_again_later() {
    let mut engine = limited(false);
    give(&mut engine, 1, "early");
    let mut now = 2_000;
    let recall = loop {
        engine.looked(0, None, at(now));
        match engine.next_work() {
            Some(work) => break work,
            None => now = engine.next_wake_us().unwrap(),
        }
        assert!(now < 1_000_000, "it stays with the child");
    };
    assert!(matches!(recall, Work::Recall { child: 0 }));
    assert!(now >= 250_000);
    engine.recalled(0, vec![DeliveryTag(1)], at(now));
    engine.dispatch(at(now));
    assert!(engine.next_work().is_none(), "the child has just been asked");
    let other = engine.add_child();
    engine.child_up(other);
    engine.dispatch(at(now));
    assert!(matches!(engine.next_work(), Some(Work::Dispatch { child: 1, .. })));
    let later = engine.next_wake_us().unwrap().max(now + 250_000);
    engine.looked(0, None, at(later));
    engine.deliveries(vec![delivery(2, Spec::new("id-2".to_owned(), "early").envelope(), false, 0)], at(later));
    engine.dispatch(at(later));
    assert!(matches!(engine.next_work(), Some(Work::Dispatch { child: 0, .. })));
}
