//! The usual house, with a door for Envoy.

use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use keyward::demo::process::free_address;
use tonic::transport::{Channel, Endpoint};

use crate::envoy::{self, Question, Verdict};
use crate::support::{Address, Answer, Connection, House, Setup, until};

pub struct GrpcHouse {
    pub house: House,
    pub address: Address,
    pub envoy: AuthorizationClient<Channel>,
    url: String,
}

impl GrpcHouse {
    pub async fn start() -> Self {
        Self::with("", |setup| setup).await
    }

    /// With more lines in the configuration, and the set-up changed.
    pub async fn with(more: &str, change: impl FnOnce(Setup) -> Setup) -> Self {
        let address = free_address().unwrap();
        let url = format!("http://{address}");
        let listen = |setup: Setup| setup.environment("KEYWARD__LISTEN__GRPC", &address.to_string());
        let house = House::with(more, |setup| change(listen(setup))).await;
        Self { house, address: Address::Tcp(address), envoy: connect(&url).await, url }
    }

    /// A connection of its own.
    pub async fn connect_again(&self) -> AuthorizationClient<Channel> {
        connect(&self.url).await
    }

    pub async fn ask(&self, question: &Question) -> Verdict {
        envoy::ask(&self.envoy, question).await
    }

    /// Asks about the same request over HTTP.
    pub async fn ask_over_http(&self, question: &Question) -> Answer {
        let mut connection = Connection::open(&self.house.keyward.auth).await;
        connection.send(question.over_http()).await;
        if question.http.method == "HEAD" { connection.answer_to_head().await } else { connection.answer().await }
    }

    pub async fn decisions(&self, decision: &str, reason: &str) -> f64 {
        let labels = format!("decision=\"{decision}\",door=\"grpc\",reason=\"{reason}\"");
        self.house.keyward.metric(&format!("keyward_decisions_total{{{labels}}}")).await
    }
}

/// A connection, as soon as there is somebody to be connected to.
pub async fn connect(url: &str) -> AuthorizationClient<Channel> {
    let endpoint = Endpoint::from_shared(url.to_owned()).unwrap();
    until("the listener", || async { endpoint.connect().await.is_ok() }).await;
    AuthorizationClient::new(endpoint.connect().await.unwrap())
}
