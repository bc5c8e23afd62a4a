use super::Kind;
pub const KIND: Kind = Kind { name: "axigen", build: |_, _| unreachable!() };
