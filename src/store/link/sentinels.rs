//! Those who know which server is the primary.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use redis::Value;
use tokio::time::timeout;

use super::terms::{Access, Address};
use super::trouble::Trouble;
use super::way::Way;
use super::wire::{Wire, outage};
use crate::store::StoreOutage;

/// Longest time that one of them is waited for, however long the store itself may take.
const ASK_WITHIN: Duration = Duration::from_secs(2);
/// How long the others are waited for when most have answered.
const GRACE: Duration = Duration::from_millis(50);

/// The Sentinels. All are asked at once, because one that is cut off from the others does not know that they have
/// made another server the primary, and goes on naming the old one; whoever believed it would write to a server of
/// which nobody else hears.
#[derive(Default)]
pub(super) struct Sentinels {
    known: Mutex<HashMap<Address, Arc<Wire>>>,
}

/// What one of them says.
struct Said {
    primary: Address,
    /// Grows with every failover; 0 where we may not ask for that.
    epoch: u64,
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

    /// Where the primary is, by the latest that any of them knows.
    pub async fn find(&self, way: &Way) -> Result<Address, StoreOutage> {
        let access = Arc::clone(&way.access());
        let addresses = &way.terms.addresses;
        let mut answers: FuturesUnordered<_> =
            addresses.iter().map(|address| self.ask(&access, address, &way.terms.sentinel_name)).collect();
        let (mut said, mut last) = (Vec::new(), StoreOutage::Unreachable("no Sentinel answers".to_owned()));
        loop {
            // A failover is agreed upon by most of them.
            let is_enough = said.len() > addresses.len() / 2;
            let next = timeout(if is_enough { GRACE } else { Duration::MAX }, answers.next()).await;
            match next {
                Ok(Some(Ok(answer))) => said.push(answer),
                Ok(Some(Err(outage))) => last = outage,
                Ok(None) | Err(_) => break,
            }
        }
        said.into_iter().max_by_key(|said| said.epoch).map(|said| said.primary).ok_or(last)
    }

    async fn ask(&self, access: &Access, address: &Address, name: &str) -> Result<Said, StoreOutage> {
        let known = self.known.lock().get(address).filter(|wire| !wire.has_ended()).cloned();
        let asking = async {
            let wire = match known {
                Some(wire) => wire,
                None => Wire::dial(access, address, &access.sentinel_login, 0).await?,
            };
            let said = Said { primary: primary(&wire, name).await?, epoch: epoch(&wire, name).await };
            Ok((wire, said))
        };
        let answer = timeout(access.timeout.min(ASK_WITHIN), asking).await.unwrap_or(Err(StoreOutage::TimedOut));
        let mut known = self.known.lock();
        match answer {
            Ok((wire, said)) => {
                known.insert(address.clone(), wire);
                Ok(said)
            }
            Err(outage) => {
                known.remove(address);
                Err(outage)
            }
        }
    }
}

async fn primary(wire: &Wire, name: &str) -> Result<Address, StoreOutage> {
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

/// How new it is what a Sentinel says. It is asked for apart: in the middle of a failover this answer still has the
/// old address.
async fn epoch(wire: &Wire, name: &str) -> u64 {
    let mut command = redis::cmd("SENTINEL");
    command.arg("MASTER").arg(name);
    let Ok(Value::Array(fields)) = wire.ask(&command, false).await else { return 0 };
    let epoch = fields.chunks_exact(2).find(|field| text(&field[0]).as_deref() == Some("config-epoch"));
    epoch.and_then(|field| text(&field[1])?.parse().ok()).unwrap_or(0)
}

/// A text that a server answered.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::config::Section;
    use crate::observe::Metrics;
    use crate::store::StorePlan;

    /// What a Sentinel says: the port of the primary, and its epoch if we may ask for that. Nothing: it hangs.
    type Words = Option<(u16, Option<u64>)>;

    /// Listens like one, and gives back where.
    async fn sentinel(words: Words) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(speak(stream, words));
            }
        });
        address
    }

    async fn speak(mut stream: TcpStream, words: Words) {
        let mut bytes = [0; 512];
        while let Ok(length @ 1..) = stream.read(&mut bytes).await {
            let Some((port, epoch)) = words else { continue };
            let asked = String::from_utf8_lossy(&bytes[..length]).into_owned();
            let answer = if asked.contains("GET-MASTER-ADDR-BY-NAME") {
                format!("*2\r\n+127.0.0.1\r\n+{port}\r\n")
            } else if asked.contains("MASTER") {
                epoch.map_or("-NOPERM no\r\n".to_owned(), |epoch| {
                    format!("*4\r\n+name\r\n+m\r\n+config-epoch\r\n+{epoch}\r\n")
                })
            } else {
                "+PONG\r\n".to_owned()
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    }

    async fn find(words: &[Words], timeout: &str) -> Result<Address, StoreOutage> {
        let mut addresses = Vec::new();
        for words in words {
            addresses.push(sentinel(*words).await);
        }
        let text = format!(
            "kind = \"redis\"\nmode = \"sentinel\"\naddresses = {addresses:?}\nsentinel_name = \"m\"\n\
             timeout = \"{timeout}\"\nnames_secret = \"names names names names names 32!\"\n\
             [[key]]\nid = \"k\"\nsecret = \"seals seals seals seals seals 32!\"\n"
        );
        let StorePlan { terms, access, .. } = StorePlan::read(Section::from_toml(&text).unwrap()).unwrap();
        let way = Way::new(terms, access, Metrics::new().store());
        let sentinels = Sentinels::default();
        let found = sentinels.find(&way).await;
        // By what is connected already.
        assert_eq!(sentinels.find(&way).await, found);
        found
    }

    fn at(port: u16) -> Result<Address, StoreOutage> {
        Ok(Address::Tcp { host: "127.0.0.1".to_owned(), port })
    }

    #[tokio::test]
    async fn whoever_knows_of_the_last_failover_is_believed() {
        for (words, port) in [
            ([Some((1, Some(4))), Some((2, Some(5))), Some((2, Some(5)))], 2),
            ([Some((2, Some(5))), Some((1, Some(4))), None], 2),
            ([Some((1, Some(4))), None, Some((2, Some(5)))], 2),
            ([Some((1, Some(4))), None, None], 1),
            ([Some((3, None)), Some((3, None)), None], 3),
        ] {
            assert_eq!(find(&words, "500ms").await, at(port), "{words:?}");
        }
    }

    #[tokio::test]
    async fn those_that_hang_keep_nobody_from_the_others() {
        let found = timeout(Duration::from_secs(60), find(&[None, None, Some((7, Some(1)))], "1h"));
        assert_eq!(found.await, Ok(at(7)));
        assert_eq!(find(&[None], "100ms").await, Err(StoreOutage::TimedOut));
    }
}
