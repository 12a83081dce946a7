//! The tasks that are registered here: each one's policy and run time.

use std::collections::HashMap;

use crate::TaskPolicy;
use crate::policy::RunTime;

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TaskRow(u32);

#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) policy: TaskPolicy,
    pub(crate) time: RunTime,
}

#[derive(Debug)]
pub(crate) struct Tasks {
    rows: Vec<Task>,
    index: HashMap<Box<str>, TaskRow>,
    /// Over all tasks: what the prefetch window goes by.
    pub(crate) overall: RunTime,
}

impl Tasks {
    pub(crate) fn new(tasks: &HashMap<String, TaskPolicy>) -> Self {
        let mut table = Self { rows: Vec::new(), index: HashMap::new(), overall: RunTime::default() };
        for (row, (name, &policy)) in (0..).zip(tasks) {
            table.rows.push(Task { policy, time: RunTime::default() });
            table.index.insert(name.as_str().into(), TaskRow(row));
        }
        table
    }

    pub(crate) fn find(&self, name: &str) -> Option<TaskRow> {
        self.index.get(name).copied()
    }

    pub(crate) fn policy(&self, row: Option<TaskRow>) -> TaskPolicy {
        row.and_then(|row| self.rows.get(row.0 as usize)).map_or_else(TaskPolicy::default, |task| task.policy)
    }

    pub(crate) fn share_us(&self, row: Option<TaskRow>) -> u64 {
        row.and_then(|row| self.rows.get(row.0 as usize)).map_or(1, |task| task.time.share_us())
    }

    pub(crate) fn observe(&mut self, row: Option<TaskRow>, run_ns: u64) {
        self.overall.observe(run_ns);
        if let Some(task) = row.and_then(|row| self.rows.get_mut(row.0 as usize)) {
            task.time.observe(run_ns);
        }
    }

    /// A task has run for so long that the window must not be what short ones made it.
    pub(crate) fn long(&mut self, run_ns: u64) {
        self.overall.at_least(run_ns);
    }

    pub(crate) fn at_least(&mut self, row: Option<TaskRow>, run_ns: u64) {
        if let Some(task) = row.and_then(|row| self.rows.get_mut(row.0 as usize)) {
            task.time.at_least(run_ns);
        }
    }
}
