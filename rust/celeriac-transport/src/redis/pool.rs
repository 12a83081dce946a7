//! A producer's calls: each on a connection of its own, and again where that helps.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::fault::Fault;
use super::line::Line;
use super::pack::Pack;
use super::settings::Settings;
use crate::contract::TransportError;
use crate::slots::Slots;

/// First and longest wait before a server that cannot serve now is asked again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));

/// See the module.
pub(crate) struct Pool {
    pub(crate) settings: Settings,
    timeout: Duration,
    slots: Slots<Line>,
    /// Queues whose names are known to be stored.
    named: Mutex<(u32, HashSet<String>)>,
}

impl Pool {
    /// `timeout` bounds each call, with everything that it takes.
    pub(crate) fn new(settings: Settings, timeout: Duration) -> Self {
        Self { timeout, slots: Slots::new(settings.max_connections), named: Mutex::default(), settings }
    }

    /// Runs `work` on a connection; again, if what failed may be over by then.
    pub(crate) fn with<T>(&self, mut work: impl FnMut(&mut Line) -> Result<T, Fault>) -> Result<T, TransportError> {
        let deadline = Instant::now() + self.timeout;
        let mut pause = PAUSE.0;
        let mut stale = true;
        loop {
            let kept = if stale { self.slots.take() } else { None };
            let fresh = kept.is_none();
            let done = kept.map_or_else(|| Line::open(&self.settings, deadline), Ok).and_then(|mut line| {
                let done = self.run(&mut line, fresh, deadline, &mut work);
                if line.is_sound() && !matches!(done, Err(Fault::Later(_, true))) {
                    self.slots.keep(line);
                }
                done
            });
            match done {
                Ok(value) => return Ok(value),
                // It may have been closed while nobody used it: the server was restarted, or a firewall forgot it.
                Err(Fault::Broken(_)) if !fresh && Instant::now() < deadline => stale = false,
                Err(Fault::Later(_, reconnect)) if Instant::now() + pause < deadline => {
                    stale = !reconnect;
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(PAUSE.1);
                }
                Err(fault) => return Err(fault.into_error()),
            }
        }
    }

    fn run<T>(
        &self,
        line: &mut Line,
        fresh: bool,
        deadline: Instant,
        work: &mut impl FnMut(&mut Line) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let left = deadline.saturating_duration_since(Instant::now());
        let patience = self.settings.socket_timeout.map_or(left, |timeout| timeout.min(left));
        // Each change is a system call; a fresh deadline differs from the last one by less than anybody notices.
        let whole = self.settings.socket_timeout.map_or(self.timeout, |timeout| timeout.min(self.timeout));
        let near = whole.saturating_sub(patience) < Duration::from_millis(100);
        line.set_timeout(Some(if near { whole } else { patience }))?;
        let rested = line.used.elapsed();
        if !fresh && !self.settings.health_check.is_zero() && rested >= self.settings.health_check {
            let mut ping = Pack::default();
            line.ask(ping.words(&["PING"]))?;
        }
        work(line)
    }

    /// Those of `queues` whose names this process did not store before.
    pub(crate) fn unnamed<'q>(&self, queues: impl Iterator<Item = &'q str>) -> Vec<&'q str> {
        let Ok(named) = self.named.try_lock() else { return queues.collect() };
        let known = named.0 == std::process::id();
        let mut fresh: Vec<&str> = queues.filter(|queue| !known || !named.1.contains(*queue)).collect();
        fresh.sort_unstable();
        fresh.dedup();
        fresh
    }

    /// Remembers that the names of `queues` are stored.
    pub(crate) fn name(&self, queues: &[&str]) {
        let Ok(mut named) = self.named.try_lock() else { return };
        if named.0 != std::process::id() || named.1.len() > 4096 {
            *named = (std::process::id(), HashSet::new());
        }
        named.1.extend(queues.iter().map(|queue| (*queue).to_owned()));
    }
}
