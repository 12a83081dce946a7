//! Taking messages: the first ones of each queue by priority and order, queues in turn.

use bytes::Bytes;

use super::connection::Db;
use super::enqueue::{Slot, promote};
use super::fault::Fault;
use super::notify::Wakes;

/// Most payload bytes taken in one transaction, beyond the first message.
const MOST_BYTES: usize = 8 << 20;
/// Most delayed messages made ready in one transaction for one queue.
const MOST_PROMOTED: i64 = 1000;

/// A message taken.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) slot: Slot,
    pub(crate) crashes: u32,
    pub(crate) redelivered: bool,
    pub(crate) payload: Bytes,
}

/// Takes at most `most` messages for `owner` from `queues`: each gets an equal share, in the given order, and what one
/// leaves goes to the others. So no queue starves, and a single busy one gets all.
pub(crate) fn claim(
    db: &mut Db,
    wakes: &mut Wakes,
    owner: i64,
    queues: &[i64],
    most: usize,
) -> Result<Vec<Taken>, Fault> {
    for &queue in queues {
        promote(db, wakes, queue, MOST_PROMOTED)?;
    }
    let mut taken = Vec::new();
    let mut bytes = 0;
    let mut open: Vec<i64> = queues.to_vec();
    while taken.len() < most && bytes < MOST_BYTES && !open.is_empty() {
        let share = (most - taken.len()).div_ceil(open.len());
        let mut full = Vec::new();
        for &queue in &open {
            let want = share.min(most - taken.len());
            if want == 0 || bytes >= MOST_BYTES {
                full.push(queue);
                continue;
            }
            let before = taken.len();
            take(db, owner, queue, want, &mut bytes, &mut taken)?;
            if taken.len() - before == want {
                full.push(queue);
            }
        }
        open = full;
    }
    Ok(taken)
}

/// Takes the first `most` messages of one queue.
fn take(
    db: &mut Db,
    owner: i64,
    queue: i64,
    most: usize,
    bytes: &mut usize,
    taken: &mut Vec<Taken>,
) -> Result<(), Fault> {
    let first = taken.len();
    let mut select = db.sql.prepare_cached(
        "SELECT r.priority, r.seq, r.message, m.crashes, m.redelivered, m.payload \
         FROM ready r CROSS JOIN message m ON m.id = r.message WHERE r.queue = ?1 ORDER BY r.priority, r.seq, r.message LIMIT ?2",
    )?;
    let mut rows = select.query((queue, i64::try_from(most).unwrap_or(i64::MAX)))?;
    while let Some(row) = rows.next()? {
        let payload: Vec<u8> = row.get(5)?;
        *bytes += payload.len();
        taken.push(Taken {
            slot: Slot { message: row.get(2)?, queue, priority: row.get(0)?, seq: row.get(1)? },
            crashes: row.get(3)?,
            redelivered: row.get(4)?,
            payload: Bytes::from(payload),
        });
        if *bytes >= MOST_BYTES {
            break;
        }
    }
    drop(rows);
    drop(select);
    let Some(last) = taken[first..].last().map(|taken| taken.slot) else { return Ok(()) };
    // Those read are exactly those up to the last one: one statement for all instead of one each.
    let mut hold = db.sql.prepare_cached(
        "INSERT INTO held (message, owner, queue, priority, seq) SELECT message, ?5, queue, priority, seq FROM ready \
         WHERE queue = ?1 AND (priority, seq, message) <= (?2, ?3, ?4)",
    )?;
    hold.execute((queue, last.priority, last.seq, last.message, owner))?;
    let mut delete =
        db.sql.prepare_cached("DELETE FROM ready WHERE queue = ?1 AND (priority, seq, message) <= (?2, ?3, ?4)")?;
    delete.execute((queue, last.priority, last.seq, last.message))?;
    Ok(())
}

/// Whether a message is ready in one of `queues`.
pub(crate) fn any_ready(db: &Db, queues: &[i64]) -> Result<bool, Fault> {
    let mut find = db.sql.prepare_cached("SELECT 1 FROM ready WHERE queue = ?1 LIMIT 1")?;
    for queue in queues {
        if find.exists([queue])? {
            return Ok(true);
        }
    }
    Ok(false)
}
