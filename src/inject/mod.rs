//! Which headers take the session keys upstream? Pure edits of the `Cookie` header and the address;
//! whatever is not cut stays byte for byte and in its order.

mod cookies;
mod target;

pub use cookies::write_upstream_cookies;
pub use target::{carries_key, write_upstream_target};
