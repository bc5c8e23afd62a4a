use std::sync::LazyLock;

use crate::store::Script;

/// The hash of a portal session's entries, the mark of its end, and what was just taken out.
const KEYS: &[&str] = &["e", "r", "x"];

/// A script that knows entries.
macro_rules! on_entries {
    ($($name:ident = $file:literal)*) => {$(
        pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(KEYS, concat!(include_str!("lua/entry.lua"), include_str!($file))));
    )*};
}

on_entries! {
    CLAIM = "lua/claim.lua"
    COMMIT = "lua/commit.lua"
    GIVE_UP = "lua/give_up.lua"
    TEND = "lua/tend.lua"
    CONFIRM = "lua/confirm.lua"
    HAND_BACK = "lua/hand_back.lua"
    TAKE = "lua/take.lua"
    TAKE_IDLE = "lua/take_idle.lua"
    END = "lua/end.lua"
    OF_SESSION = "lua/of_session.lua"
    FIND = "lua/find.lua"
}

/// One part of the list of what is due.
const DUE_KEYS: &[&str] = &["due"];

pub(super) static DUE: LazyLock<Script> = LazyLock::new(|| Script::new(DUE_KEYS, include_str!("lua/due.lua")));
pub(super) static OVERDUE: LazyLock<Script> = LazyLock::new(|| Script::new(DUE_KEYS, include_str!("lua/overdue.lua")));
pub(super) static NOT_DUE: LazyLock<Script> = LazyLock::new(|| Script::new(DUE_KEYS, include_str!("lua/not_due.lua")));

pub(super) static SAID: LazyLock<Script> =
    LazyLock::new(|| Script::new(&["v"], "return {redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])}"));
pub(super) static UNSAY: LazyLock<Script> =
    LazyLock::new(|| Script::new(&["v"], "return {redis.call('DEL', KEYS[1])}"));
