//! Those who know which server is the primary.

use std::sync::Arc;

use parking_lot::Mutex;
use redis::Value;
use tokio::time::timeout;

use super::terms::Address;
use super::trouble::Trouble;
use super::way::Way;
use super::wire::{Wire, outage};
use crate::store::StoreOutage;

/// The Sentinels. They are asked one after the other, first the one that answered last.
#[derive(Default)]
pub(super) struct Sentinels {
    known: Mutex<Option<Arc<Wire>>>,
}

impl Sentinels {
    /// Makes a connection to the primary.
    pub async fn dial(&self, way: &Way) -> Result<Arc<Wire>, StoreOutage> {
        let wire = way.dial(&self.find(way).await?).await?;
        // For a moment the Sentinels name a server that is none any more, or not yet.
        match wire.ask(&redis::cmd("ROLE"), false).await {
            Ok(Value::Array(role)) if role.first().and_then(text).as_deref() != Some("master") => {
                Err(StoreOutage::Unable("READONLY".to_owned()))
            }
            Err(Trouble::Outage(StoreOutage::Unreachable(cause))) => Err(StoreOutage::Unreachable(cause)),
            // Or whoever we are may not ask for that.
            Ok(_) | Err(_) => Ok(wire),
        }
    }

    /// Where the primary is.
    pub async fn find(&self, way: &Way) -> Result<Address, StoreOutage> {
        let access = Arc::clone(&way.access());
        let known = self.known.lock().take();
        if let Some(wire) = known
            && let Ok(Ok(address)) = timeout(access.timeout, ask(&wire, &way.terms.sentinel_name)).await
        {
            *self.known.lock() = Some(wire);
            return Ok(address);
        }
        let mut last = StoreOutage::Unreachable("no Sentinel answers".to_owned());
        for address in &way.terms.addresses {
            let asking = async {
                let wire = Wire::dial(&access, address, &access.sentinel_login, 0).await?;
                let found = ask(&wire, &way.terms.sentinel_name).await?;
                Ok((wire, found))
            };
            match timeout(access.timeout, asking).await {
                Ok(Ok((wire, found))) => {
                    *self.known.lock() = Some(wire);
                    return Ok(found);
                }
                Ok(Err(outage)) => last = outage,
                Err(_) => last = StoreOutage::TimedOut,
            }
        }
        Err(last)
    }
}

async fn ask(wire: &Wire, name: &str) -> Result<Address, StoreOutage> {
    let mut command = redis::cmd("SENTINEL");
    command.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
    let unknown = || StoreOutage::Unreachable("a Sentinel knows no primary of that name".to_owned());
    match wire.ask(&command, false).await.map_err(outage)? {
        Value::Array(parts) => match parts.iter().map(text).collect::<Option<Vec<String>>>().as_deref() {
            Some([host, port]) => {
                let port = port.parse().map_err(|_| unknown())?;
                Ok(Address::Tcp { host: host.clone(), port })
            }
            _ => Err(unknown()),
        },
        _ => Err(unknown()),
    }
}

/// A text that a server answered.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    }
}
