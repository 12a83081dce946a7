//! The scripts that run inside the server. Each has its keys, arguments and answer at the head of its file.

use std::sync::OnceLock;

/// A script and the name that the server knows it by.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) text: &'static str,
    sha: OnceLock<String>,
}

impl Script {
    const fn new(text: &'static str) -> Self {
        Self { text, sha: OnceLock::new() }
    }

    /// Hex digest of the text.
    pub(crate) fn sha(&self) -> &str {
        self.sha.get_or_init(|| sha1_smol::Sha1::from(self.text).digest().to_string())
    }
}

/// Takes messages.
pub(crate) static CLAIM: Script = Script::new(concat!(include_str!("lua/due.lua"), include_str!("lua/claim.lua")));
/// Carries out ends of tasks.
pub(crate) static ENDS: Script = Script::new(concat!(include_str!("lua/success.lua"), include_str!("lua/ends.lua")));
/// Renews a worker's lease and names dead workers.
pub(crate) static LEASE: Script = Script::new(include_str!("lua/lease.lua"));
/// Moves the scores of held messages forward.
pub(crate) static REFRESH: Script = Script::new(include_str!("lua/refresh.lua"));
/// Puts held messages back into their lists.
pub(crate) static RETURN: Script = Script::new(include_str!("lua/return.lua"));
/// Forgets a worker that holds nothing any more.
pub(crate) static FORGET: Script = Script::new(include_str!("lua/forget.lua"));
/// Puts a message back that another program claimed too long ago.
pub(crate) static RESTORE: Script = Script::new(include_str!("lua/restore.lua"));
/// Puts dead letters back into their queues.
pub(crate) static REPLAY: Script = Script::new(include_str!("lua/replay.lua"));
/// Stores a state unless a success is stored.
pub(crate) static SOFT: Script = Script::new(concat!(include_str!("lua/success.lua"), include_str!("lua/soft.lua")));
