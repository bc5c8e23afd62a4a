/// x
pub struct Wire;
