/// x
pub struct Document;
