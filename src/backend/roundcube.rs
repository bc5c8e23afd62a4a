use super::Kind;
pub const KIND: Kind = Kind { name: "roundcube", build: |_, _| unreachable!() };
