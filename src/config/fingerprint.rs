use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use config::{Value, ValueKind};

/// Stands for everything that is written in a table: equal tables have equal fingerprints. Within one process.
pub(super) fn fingerprint(entries: &BTreeMap<String, Value>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (key, value) in entries {
        hash_entry(key, value, &mut hasher);
    }
    hasher.finish()
}

/// What a file holds that is named here counts as if it stood here, so that an exchanged secret is noticed.
fn hash_entry(key: &str, value: &Value, hasher: &mut DefaultHasher) {
    key.hash(hasher);
    if let (true, ValueKind::String(path)) = (key.ends_with("_file"), &value.kind) {
        std::fs::read(path).ok().hash(hasher);
    }
    hash_value(value, hasher);
}

fn hash_value(value: &Value, hasher: &mut DefaultHasher) {
    match &value.kind {
        ValueKind::Table(table) => {
            let sorted: BTreeMap<&String, &Value> = table.iter().collect();
            for (key, value) in sorted {
                hash_entry(key, value, hasher);
            }
        }
        ValueKind::Array(items) => {
            items.len().hash(hasher);
            for item in items {
                hash_value(item, hasher);
            }
        }
        other => format!("{other:?}").hash(hasher),
    }
}
