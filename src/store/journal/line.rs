use std::sync::LazyLock;
use std::time::Duration;

use redis::{Cmd, FromRedisValue};
use tokio::sync::watch;

use crate::store::link::Link;
use crate::store::{Answer, Place, Script, StoreOutage};

/// The stream of events, and what stands: a sorted set, by its end in Unix seconds. In it, with an endless score, is
/// also the mark of the stream's last entry, so that a set that was lost or is older tells so.
pub(super) const KEYS: &[&str] = &["journal", "standing"];

/// Looks where the journal is, and what the server's time is: seconds, microseconds, the last entry's mark and id,
/// and the server's words if it is not one to write to. A replica of the server's would go on answering after it
/// has been cut off.
pub(super) static LOOK: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        KEYS,
        "local time = redis.call('TIME')
        local tried = redis.pcall('ZREM', KEYS[2], '')
        local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')
        local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
        return {time[1], time[2], last[2] == 'inf' and last[1] or '', newest[1] and newest[1][1] or '0-0',
            type(tried) == 'table' and tried.err or ''}",
    )
});

/// Tells events: who tells, for how many seconds beyond its end something is kept, how long the stream may be in
/// entries and in milliseconds; then for each event its mark, its end or nothing, and what is sealed. Answers for
/// each whether it was written: what stands already is not.
///
/// What has ended is dropped a little at a time, but quicker than it comes: a million that end at once must not stop
/// the server. That the stream goes when nobody tells anything for long is no loss, since the mark stays.
pub(super) static TELL: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        KEYS,
        "local time = redis.call('TIME')
        local ended = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', time[1] - ARGV[2], 'LIMIT', 0, 200)
        if #ended > 0 then redis.call('ZREM', KEYS[2], unpack(ended)) end
        local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')
        local first = last[2] == 'inf' and last[1] or ''
        local before, written = first, {}
        for at = 5, #ARGV, 3 do
            local mark, stands, sealed = ARGV[at], ARGV[at + 1], ARGV[at + 2]
            if stands == '' or redis.call('ZADD', KEYS[2], stands, sealed) == 1 then
                redis.call('XADD', KEYS[1], '*', 'o', ARGV[1], 'p', before, 'm', mark, 'e', sealed)
                before = mark
                written[#written + 1] = 1
            else
                written[#written + 1] = 0
            end
        end
        if before ~= first then
            redis.call('ZADD', KEYS[2], 'inf', before)
            redis.call('ZREM', KEYS[2], first)
            redis.call('XTRIM', KEYS[1], 'MINID', '~', string.format('%.0f', time[1] * 1000 - ARGV[4]))
            redis.call('XTRIM', KEYS[1], 'MAXLEN', '~', ARGV[3])
            redis.call('PEXPIRE', KEYS[1], 2 * ARGV[4])
        end
        return written",
    )
});

/// What [`LOOK`] answers.
pub(super) struct Look {
    /// In milliseconds since 1970.
    pub time: u64,
    pub mark: Vec<u8>,
    pub newest: String,
    /// Whether this server only repeats what another says.
    pub is_replica: bool,
}

impl Look {
    pub(super) fn read(answer: &Answer) -> Option<Self> {
        Some(Self {
            time: answer.number(0)?.saturating_mul(1000).saturating_add(answer.number(1)? / 1000),
            mark: answer.bytes(2)?.to_vec(),
            newest: answer.word(3).to_owned(),
            is_replica: answer.word(4).contains("READONLY"),
        })
    }
}

/// An entry of the stream as it came: its id, and fields with their values.
pub(super) type Entry = (String, Vec<Vec<u8>>);

/// What the reader reads, on a connection of its own: while it waits for events, nothing else can be asked there.
/// It ends with the server's connection, since the server may be another one afterwards.
pub(super) struct Line<'a> {
    link: &'a Link,
    house: &'a Place,
    changes: watch::Receiver<u64>,
}

impl<'a> Line<'a> {
    pub(super) fn open(link: &'a Link, house: &'a Place) -> Self {
        let mut changes = link.changes();
        changes.mark_unchanged();
        Self { link, house, changes }
    }

    pub(super) async fn look(&mut self) -> Result<Look, StoreOutage> {
        let answer = self.link.run(&LOOK, self.house, &[]).await?;
        self.is_the_same()?;
        Look::read(&answer).ok_or_else(unexpected)
    }

    /// What follows this entry, at most so many. Where nothing does, waits until something comes, or for so long.
    pub(super) async fn follow(
        &mut self,
        id: &str,
        most: usize,
        wait: Option<Duration>,
    ) -> Result<Vec<Entry>, StoreOutage> {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(most);
        if let Some(wait) = wait {
            command.arg("BLOCK").arg(wait.as_millis().max(1) as u64);
        }
        command.arg("STREAMS").arg(self.link.key(self.house, KEYS[0])).arg(id);
        let streams: Option<Vec<(Vec<u8>, Vec<Entry>)>> = self.ask(command, wait.unwrap_or_default()).await?;
        Ok(streams.into_iter().flatten().flat_map(|(_, entries)| entries).collect())
    }

    /// Some of what stands, and where to go on; at zero everything was seen that stood all the while. Holds for this
    /// line alone: another server has another order.
    pub(super) async fn standing(&mut self, cursor: u64, most: usize) -> Result<(u64, Vec<Vec<u8>>), StoreOutage> {
        let mut command = redis::cmd("ZSCAN");
        command.arg(self.link.key(self.house, KEYS[1])).arg(cursor).arg("COUNT").arg(most);
        let (next, members): (u64, Vec<Vec<u8>>) = self.ask(command, Duration::ZERO).await?;
        Ok((next, members.into_iter().step_by(2).collect()))
    }

    async fn ask<T: FromRedisValue>(&mut self, command: Cmd, wait: Duration) -> Result<T, StoreOutage> {
        let value = self.link.blocking(self.house, command, wait).await?;
        self.is_the_same()?;
        T::from_redis_value(value).map_err(|_| unexpected())
    }

    fn is_the_same(&self) -> Result<(), StoreOutage> {
        match self.changes.has_changed() {
            Ok(false) => Ok(()),
            _ => Err(StoreOutage::Unreachable("another connection was made".to_owned())),
        }
    }
}

fn unexpected() -> StoreOutage {
    StoreOutage::Unreachable("the answer was not understood".to_owned())
}
