use std::sync::LazyLock;
use std::time::Duration;

use redis::{Cmd, FromRedisValue};

use crate::store::link::Link;
use crate::store::{Place, Script, StoreOutage};

/// The stream of events, and what stands: a sorted set, by its end in Unix seconds. In it, with an endless score, is
/// also the mark of the stream's last entry, so that a set that was lost or is older tells so.
pub(super) const KEYS: &[&str] = &["journal", "standing"];

/// Looks where the journal is, and what the server's time is: seconds, microseconds, the last entry's mark and id,
/// and the server's words if it is not one to write to. A server that has become another's replica would go on
/// answering when it is cut off.
const LOOK: &str = "local time = redis.call('TIME')
    local tried = redis.pcall('ZREM', KEYS[2], '')
    local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')
    local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
    return {time[1], time[2], last[2] == 'inf' and last[1] or '', newest[1] and newest[1][1] or '0-0',
        type(tried) == 'table' and tried.err or ''}";

/// Some of what stands, by its ends: what follows this member with this end, at most so many. Should that be gone,
/// some are seen twice. Every server has the same order, so it does not matter which one answers the next time.
const PAGE: &str = "local from = 0
    if ARGV[1] ~= '' then
        local rank = redis.call('ZRANK', KEYS[2], ARGV[1])
        from = rank and rank + 1 or redis.call('ZCOUNT', KEYS[2], '-inf', '(' .. ARGV[2])
    end
    return redis.call('ZRANGE', KEYS[2], from, from + ARGV[3] - 1, 'WITHSCORES')";

/// Asks for the time alone.
pub(super) static TIME: LazyLock<Script> = LazyLock::new(|| Script::new(KEYS, "return redis.call('TIME')"));

/// Tells events: who tells, for how many seconds beyond its end something is kept, how long the stream may be in
/// entries and in milliseconds; then for each event its mark, its end or nothing, and what is sealed. Answers for
/// each whether it was written: what stands already is not.
///
/// A full server refuses a script at its first step that could need memory, not later. So another step comes first,
/// which changes nothing: others must hear of a sign-out above all, and what is told takes little, and not for long.
///
/// What has ended is dropped a little at a time, but quicker than it comes: a million that end at once must not stop
/// the server. That the stream goes when nobody tells anything for long is no loss, since the mark stays.
pub(super) static TELL: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        KEYS,
        "redis.call('ZREM', KEYS[2], '')
        local time = redis.call('TIME')
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

/// Where the journal is.
pub(super) struct Look {
    /// The server's time, in milliseconds since 1970.
    pub time: u64,
    /// The last entry's mark; empty where there never was one.
    pub mark: Vec<u8>,
    /// Its id, or one before all others where the stream is empty.
    pub newest: String,
    /// Whether this server only repeats what another says.
    pub is_replica: bool,
}

/// An entry of the stream as it came: its id, and fields with their values.
pub(super) type Entry = (String, Vec<Vec<u8>>);

/// Asks on the reader's own connection: while it waits for events, nothing else can be asked there.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    pub link: &'a Link,
    pub house: &'a Place,
}

impl Line<'_> {
    pub(super) async fn look(self) -> Result<Look, StoreOutage> {
        let (seconds, micros, mark, newest, refusal): (u64, u64, Vec<u8>, String, String) =
            self.ask(self.script(LOOK), Duration::ZERO).await?;
        Ok(Look { time: millis(seconds, micros), mark, newest, is_replica: refusal.contains("READONLY") })
    }

    /// Has the server say itself that it is not one to write to, so that the connection is given up.
    pub(super) async fn leave_replica(self) -> Result<(), StoreOutage> {
        let mut command = redis::cmd("ZREM");
        command.arg(self.key(1)).arg("");
        self.ask(command, Duration::ZERO).await
    }

    /// What follows this entry, at most so many. Where nothing does, waits until something comes, or for so long.
    pub(super) async fn follow(self, id: &str, most: usize, wait: Option<Duration>) -> Result<Vec<Entry>, StoreOutage> {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(most);
        if let Some(wait) = wait {
            // Zero would be for ever.
            command.arg("BLOCK").arg(wait.as_millis().max(1) as u64);
        }
        command.arg("STREAMS").arg(self.key(0)).arg(id);
        let streams: Option<Vec<(Vec<u8>, Vec<Entry>)>> = self.ask(command, wait.unwrap_or_default()).await?;
        Ok(streams.into_iter().flatten().flat_map(|(_, entries)| entries).collect())
    }

    /// What stands behind this member, each with its end; nothing at the end of all.
    pub(super) async fn standing(
        self,
        after: &(Vec<u8>, String),
        most: usize,
    ) -> Result<Vec<(Vec<u8>, String)>, StoreOutage> {
        let mut command = self.script(PAGE);
        command.arg(&after.0).arg(&after.1).arg(most);
        self.ask(command, Duration::ZERO).await
    }

    fn key(self, index: usize) -> String {
        self.link.key(self.house, KEYS[index])
    }

    fn script(self, code: &str) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(code).arg(KEYS.len()).arg(self.key(0)).arg(self.key(1));
        command
    }

    async fn ask<T: FromRedisValue>(self, command: Cmd, wait: Duration) -> Result<T, StoreOutage> {
        let value = self.link.blocking(self.house, command, wait).await?;
        redis::from_redis_value(value).map_err(|_| StoreOutage::Unable("something that was not asked".to_owned()))
    }
}

/// A time as the server tells it.
pub(super) const fn millis(seconds: u64, micros: u64) -> u64 {
    seconds.saturating_mul(1000).saturating_add(micros / 1000)
}
