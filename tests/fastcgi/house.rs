//! The usual house, with a FastCGI door.

use crate::peer::Peer;
use crate::support::{Address, Answer, House, Setup};

pub struct FastcgiHouse {
    pub house: House,
    pub address: Address,
}

impl FastcgiHouse {
    pub async fn start() -> Self {
        Self::with("", |setup| setup).await
    }

    /// With more lines in the configuration, and the set-up changed.
    pub async fn with(more: &str, change: impl FnOnce(Setup) -> Setup) -> Self {
        let house = House::with(more, change).await;
        let address = Address::Tcp(house.keyward.fastcgi);
        Self { house, address }
    }

    pub async fn connect(&self) -> Peer {
        Peer::connect(&self.address).await
    }

    /// Asks on a connection of its own, which must end with the answer.
    pub async fn ask(&self, request: impl AsRef<[u8]>) -> Answer {
        let mut peer = self.connect().await;
        let answer = peer.ask(request).await;
        peer.assert_closed().await;
        answer
    }

    pub async fn decisions(&self, decision: &str, reason: &str) -> f64 {
        let labels = format!("decision=\"{decision}\",door=\"fastcgi\",reason=\"{reason}\"");
        self.house.keyward.metric(&format!("keyward_decisions_total{{{labels}}}")).await
    }
}
