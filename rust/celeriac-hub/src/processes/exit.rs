//! How a process ended, in words.

/// A wait status in words; `None`: nobody knows it.
pub(crate) fn words(status: Option<i32>) -> String {
    let Some(status) = status else { return "cause unknown: its zygote was gone".to_owned() };
    match signal(status) {
        Some(signal) => format!("signal {signal} ({})", name(signal)),
        None => format!("exitcode {}", status >> 8 & 0xff),
    }
}

/// It ended by itself, and says that all is well.
pub(crate) fn is_success(status: Option<i32>) -> bool {
    status.is_none_or(|status| status == 0)
}

fn signal(status: i32) -> Option<i32> {
    Some(status & 0x7f).filter(|signal| *signal != 0)
}

fn name(signal: i32) -> &'static str {
    match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        10 => "SIGUSR1",
        11 => "SIGSEGV",
        12 => "SIGUSR2",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => "another signal",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_is_told_with_its_signal_or_its_code() {
        assert_eq!(words(Some(9)), "signal 9 (SIGKILL)");
        assert_eq!(words(Some(0x80 | 11)), "signal 11 (SIGSEGV)");
        assert_eq!(words(Some(3 << 8)), "exitcode 3");
        assert!(is_success(Some(0)) && !is_success(Some(256)));
    }
}
