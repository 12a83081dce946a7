//! SQLite's errors as the contract's: what failed, on which file, and what to do.

use rusqlite::ErrorCode;
use rusqlite::ffi;

use crate::contract::TransportError;

/// An error on the way out of a transaction.
#[derive(Debug)]
pub(crate) enum Fault {
    /// From SQLite.
    Sql(rusqlite::Error),
    /// Ours: the request itself is wrong.
    Ours(TransportError),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<TransportError> for Fault {
    fn from(error: TransportError) -> Self {
        Self::Ours(error)
    }
}

impl Fault {
    /// The contract's error. `system` is errno of the failed call, 0 if there was none; `place` names the store.
    pub(crate) fn named(self, place: &str, system: i32) -> TransportError {
        let error = match self {
            Self::Ours(error) => return error,
            Self::Sql(error) => error,
        };
        let Some(code) = error.sqlite_error() else {
            return TransportError::Corrupt(format!(
                "broker file '{place}' holds what celeriac did not write: {error}"
            ));
        };
        let os = if system == 0 { String::new() } else { format!(": {}", std::io::Error::from_raw_os_error(system)) };
        let said = format!("{error} (SQLite code {}){os}", code.extended_code);
        if matches!(system, libc::ENOSPC | libc::EDQUOT | libc::EFBIG) {
            return TransportError::Full(full(place, &said));
        }
        match code.code {
            ErrorCode::DiskFull | ErrorCode::OutOfMemory => TransportError::Full(full(place, &said)),
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => {
                TransportError::Unavailable(format!(
                    "broker file '{place}' stayed locked by another process until the deadline; nothing was stored: {said}"
                ))
            }
            ErrorCode::DatabaseCorrupt => TransportError::Corrupt(format!(
                "broker file '{place}' is damaged: {said}; stop everything that uses it, keep a copy, and put back a \
                 backup or let 'sqlite3 {place} .recover' save what it can"
            )),
            ErrorCode::NotADatabase => TransportError::Corrupt(format!(
                "'{place}' is not a celeriac broker file: {said}; name another file, it is left untouched"
            )),
            ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied
            | ErrorCode::ReadOnly
            | ErrorCode::AuthorizationForStatementDenied => TransportError::Config(format!(
                "cannot write broker file '{place}': {said}; its folder must exist, and the file and folder must be \
                     writable for this user (SQLite keeps '-wal' and '-shm' files beside it)"
            )),
            ErrorCode::TooBig => TransportError::Refused(format!("too large for broker file '{place}': {said}")),
            ErrorCode::SystemIoFailure if code.extended_code == ffi::SQLITE_IOERR_SHMSIZE => {
                TransportError::Full(full(place, &said))
            }
            _ => TransportError::Unavailable(format!("broker file '{place}' failed: {said}")),
        }
    }
}

fn full(place: &str, said: &str) -> String {
    format!("no room for broker file '{place}'; nothing was stored: {said}; free space on its disk or raise the quota")
}
