/// x
pub struct BackendId(u64);
/// x
pub struct Guarded;
