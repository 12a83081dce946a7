//! How a process ended, in words.

use rustix::process::Signal;

/// The end of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// With that wait status.
    Status(i32),
    /// Its zygote was gone or did not answer, so nobody could ask.
    Unknown,
    /// It was never made: the number of the system's error.
    Refused(i32),
}

impl Exit {
    pub(crate) fn words(self) -> String {
        let status = match self {
            Self::Status(status) => status,
            Self::Unknown => return "cause unknown: its zygote was gone".to_owned(),
            Self::Refused(number) => return std::io::Error::from_raw_os_error(number).to_string(),
        };
        match signal(status) {
            Some(signal) => format!("signal {signal} ({})", name(signal)),
            None => format!("exitcode {}", status >> 8 & 0xff),
        }
    }

    /// Nothing says that it was not well.
    pub(crate) fn is_success(self) -> bool {
        matches!(self, Self::Status(0) | Self::Unknown)
    }

    pub(crate) fn status(self) -> Option<i32> {
        match self {
            Self::Status(status) => Some(status),
            Self::Unknown | Self::Refused(_) => None,
        }
    }
}

fn signal(status: i32) -> Option<i32> {
    Some(status & 0x7f).filter(|signal| *signal != 0)
}

/// Their numbers differ between systems.
const NAMES: [(Signal, &str); 17] = [
    (Signal::HUP, "SIGHUP"),
    (Signal::INT, "SIGINT"),
    (Signal::QUIT, "SIGQUIT"),
    (Signal::ILL, "SIGILL"),
    (Signal::ABORT, "SIGABRT"),
    (Signal::BUS, "SIGBUS"),
    (Signal::FPE, "SIGFPE"),
    (Signal::KILL, "SIGKILL"),
    (Signal::USR1, "SIGUSR1"),
    (Signal::SEGV, "SIGSEGV"),
    (Signal::USR2, "SIGUSR2"),
    (Signal::PIPE, "SIGPIPE"),
    (Signal::ALARM, "SIGALRM"),
    (Signal::TERM, "SIGTERM"),
    (Signal::XCPU, "SIGXCPU"),
    (Signal::XFSZ, "SIGXFSZ"),
    (Signal::SYS, "SIGSYS"),
];

fn name(signal: i32) -> &'static str {
    NAMES.iter().find(|(known, _)| known.as_raw() == signal).map_or("another signal", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_is_told_with_its_signal_or_its_code() {
        assert_eq!(Exit::Status(9).words(), "signal 9 (SIGKILL)");
        assert_eq!(Exit::Status(0x8b).words(), "signal 11 (SIGSEGV)");
        assert!(Exit::Refused(12).words().contains("memory"));
        assert_eq!(Exit::Status(3 << 8).words(), "exitcode 3");
        assert!(Exit::Status(0).is_success() && !Exit::Status(256).is_success());
    }
}
