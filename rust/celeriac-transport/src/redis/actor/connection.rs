//! The connection, from its beginning to its end.

use std::time::{Duration, Instant};

use super::Actor;
use crate::contract::{Event, TransportError};
use crate::redis::back;
use crate::redis::clock::wall_ms;
use crate::redis::fault::Fault;
use crate::redis::line::{Line, about};

/// Longest pause between two attempts to connect; the first follows at once.
const MOST_PAUSE: Duration = Duration::from_secs(1);

impl Actor {
    pub(super) fn connect(&mut self) -> Result<(), Fault> {
        let mut line = Line::open(&self.settings, Instant::now() + self.timeout)?;
        line.set_timeout(Some(self.timeout))?;
        check_version(&mut line)?;
        line.end(&self.old_client)?;
        let (_, now_ms, _) = back::lease(&mut line, &self.keys, &self.worker, Some(self.settings.lease))?;
        self.old_client = line.client().clone();
        self.line = Some(line);
        self.renewed = Instant::now();
        self.skew(now_ms);
        self.declare()?;
        if let Some(carry) = self.carry.take() {
            self.drive(carry, false);
        }
        if self.line.is_none() {
            return Ok(());
        }
        self.verify()?;
        self.recover = true;
        self.hungry = true;
        self.pause = Duration::ZERO;
        if self.line.is_some() && std::mem::take(&mut self.down) {
            (self.sink)(Event::Up);
        }
        Ok(())
    }

    /// Peers compare the server's time with their own.
    pub(super) fn skew(&mut self, server_ms: i64) {
        self.memory.ahead_ms = server_ms - wall_ms();
        let skew = Duration::from_millis(self.memory.ahead_ms.unsigned_abs());
        if skew > self.settings.visibility / 10 && !std::mem::replace(&mut self.skewed, true) {
            let text = format!(
                "the clock of Redis and this machine's differ by {} s, more than a tenth of visibility_timeout: workers of \
                 Celery may take messages from others too early",
                skew.as_secs()
            );
            (self.sink)(Event::Notice(text));
        }
    }

    pub(super) fn broke(&mut self, fault: Fault) {
        self.line = None;
        self.retry_at = Instant::now() + self.pause;
        self.pause = (self.pause * 2).clamp(Duration::from_millis(50), MOST_PAUSE);
        if !std::mem::replace(&mut self.down, true) {
            (self.sink)(Event::Down(fault.into_error()));
        }
    }
}

fn check_version(line: &mut Line) -> Result<(), Fault> {
    let info = line.identify()?;
    let version = about(&info, "redis_version");
    let mut numbers = version.unwrap_or_default().split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    if let (Some(version), Some(major), Some(minor)) = (version, numbers.next(), numbers.next())
        && (major, minor) < (6, 2)
    {
        return Err(Fault::Ours(TransportError::Config(format!(
            "Redis at {} is version {version}: 6.2 or later is needed",
            line.place()
        ))));
    }
    Ok(())
}
