//! Real applications that only tests start; those that the demo starts as well are in `keyward::demo`.
#![allow(
    dead_code,
    unused_imports,
    reason = "every test file uses another part, so that nothing can be expected of all of them"
)]

pub mod keycloak;
pub mod redis;
pub mod slapd;
pub mod sogo;
